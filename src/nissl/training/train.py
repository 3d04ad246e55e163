"""Train a small model: one loop, the same for the same seed, cached by everything it depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from nissl.errors import NisslError, UnknownName
from nissl.progress import progress_bar
from nissl.training.keeping import Keeper, State, configuration_hash, keeper
from nissl.training.trained import Trained

__all__ = ["train"]

Loss: TypeAlias = Callable[[nn.Module, Any], Tensor]
OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
SCHEDULES = ("constant", "linear", "cosine")


def train(
    model: nn.Module,
    batches: Callable[[int], Any],
    *,
    loss: Loss,
    steps: int,
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw",
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    schedule: Literal["constant", "linear", "cosine"] = "constant",
    warmup: int = 0,
    clip: float | None = 1.0,
    seed: int = 0,
    checkpoints: Iterable[int] = (),
    cache: bool = True,
    key: str = "",
    device: str | None = None,
    progress: bool = True,
) -> Trained:
    """Train a model, or open what was trained before in the same way.

    Parameters
    ----------
    model : nn.Module
        With its first weights; it is trained in place.
    batches : Batches or callable
        ``batches(step)`` returns the batch of a step, counted from 0: a function of its step alone,
        so that training that was interrupted goes on as if it had not been.
    loss : callable
        ``loss(model, batch)`` returns a scalar to be made small.
    steps : int
        Updates.
    optimiser : {"adamw", "adam", "sgd"}
        The rule of the updates.
    learning_rate, weight_decay : float
        As in torch.
    betas : tuple of two floats
        As in torch; the first is the momentum of ``"sgd"``.
    schedule : {"constant", "linear", "cosine"}
        How the learning rate goes after `warmup`: it stays, or goes to zero at the end.
    warmup : int
        Steps over which it rises from zero.
    clip : float, optional
        The largest norm of the gradient; of models that train side by side in a ``ModuleList``,
        of each one's.
    seed : int
        Of dropout and anything else random within a step.
    checkpoints : iterable of int
        Steps whose weights are kept: 0 is before training; the last step is always kept.
    cache : bool
        Keep it under ``trained`` in the cache, by a hash of the first weights, the architecture,
        the data, the source of `loss` and every option. A function `batches` that is not a
        `Batches` is cached only with a `key`.
    key : str
        What else the result depends on: the data of a function, what `loss` closes over.
    device : str, optional
        Where to train; by default where the model is.
    progress : bool
        Show a bar.

    Returns
    -------
    Trained
        The model after the last step, the loss of every step, and the checkpoints.

    Raises
    ------
    NisslError
        An option cannot be, or the loss is not finite.

    Notes
    -----
    Where ``torch.distributed`` is initialised, each process takes its share of every batch, and
    gradients are averaged: of a loss that is a mean over the batch the result is that of one
    process. It is not cached.

    Examples
    --------
    >>> from nissl.training import Batches
    >>> x = torch.linspace(-1, 1, 16).unsqueeze(1)
    >>> done = train(nn.Linear(1, 1), Batches(x, 3 * x, batch_size=16), steps=200, cache=False,
    ...              loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
    ...              learning_rate=0.1, progress=False)
    >>> round(done.model.weight.item(), 2)
    3.0
    """
    how = _How(optimiser, learning_rate, weight_decay, betas, schedule, warmup, clip, steps)
    kept = tuple(sorted({*map(int, checkpoints), steps}))
    _check(model, how, kept)
    model = model if device is None else model.to(device)
    hashed = None
    if cache and not _processes()[1] > 1 and (key or hasattr(batches, "fingerprint")):
        options = {**asdict(how), "seed": seed, "checkpoints": kept, "key": key}
        hashed = configuration_hash(model, batches, loss, options)
    with keeper(hashed) as keep:
        losses = keep.finished(kept)
        if losses is None:
            losses = _loop(model, batches, loss, how, seed, kept, keep, progress)
        model.load_state_dict(keep.weights(steps))
    return Trained(model.eval(), losses, kept, keep.folder, keep.weights)


@dataclass(frozen=True)
class _How:
    optimiser: str
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    schedule: str
    warmup: int
    clip: float | None
    steps: int

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimiser == "sgd":
            options["momentum"] = self.betas[0]
        else:
            options["betas"] = self.betas
        wanted = [p for p in model.parameters() if p.requires_grad]
        made: torch.optim.Optimizer = OPTIMISERS[self.optimiser](wanted, **options)
        return made

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        gone = (step - self.warmup) / max(self.steps - self.warmup, 1)
        left = {"constant": 1.0, "linear": 1 - gone, "cosine": (1 + math.cos(math.pi * gone)) / 2}
        return self.learning_rate * left[self.schedule]


def _check(model: nn.Module, how: _How, checkpoints: tuple[int, ...]) -> None:
    if how.optimiser not in OPTIMISERS:
        raise UnknownName("optimiser", how.optimiser, OPTIMISERS, do=", ".join(OPTIMISERS))
    if how.schedule not in SCHEDULES:
        raise UnknownName("schedule", how.schedule, SCHEDULES, do=", ".join(SCHEDULES))
    if how.steps < 1 or how.learning_rate <= 0:
        raise NisslError(
            f"{how.steps} steps at a learning rate of {how.learning_rate} train nothing",
            do="give steps=1 or more, and a learning_rate above 0",
        )
    if checkpoints[0] < 0 or checkpoints[-1] > how.steps:
        raise NisslError(
            f"checkpoints from {checkpoints[0]} to {checkpoints[-1]} are not within training",
            do=f"give steps from 0 to {how.steps}",
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise NisslError("the model has no parameter that can be trained")


def _loop(
    model: nn.Module,
    batches: Callable[[int], Any],
    loss: Loss,
    how: _How,
    seed: int,
    kept: tuple[int, ...],
    keep: Keeper,
    progress: bool,
) -> np.ndarray[Any, Any]:
    optimiser = how.optimiser_of(model)
    state = State(model, optimiser, losses=[])
    keep.resume(state, kept)
    device = next(model.parameters()).device
    cuda = [device] if device.type == "cuda" else []
    name = f"Training {type(model).__name__}"
    with (
        torch.random.fork_rng(devices=cuda),
        progress_bar(name, total=how.steps, unit="steps", progress=progress) as advance,
    ):
        advance(state.step)
        for step in range(state.step, how.steps + 1):
            if step in kept:
                keep.checkpoint(state)
            if step == how.steps:
                break
            # Anew in each step, so that one resumed draws what it would have drawn.
            torch.manual_seed(seed * 1_000_003 + step)
            batch = _moved(_own(batches(step)), device)
            state.losses.append(_update(model, batch, loss, optimiser, how, step))
            keep.progress(state)
            advance(1)
    return keep.finish(state)


def _update(
    model: nn.Module,
    batch: Any,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    how: _How,
    step: int,
) -> float:
    """Take one step; return the loss before it."""
    model.train()
    for group in optimiser.param_groups:
        group["lr"] = how.rate(step)
    optimiser.zero_grad(set_to_none=True)
    value = loss(model, batch)
    if not bool(torch.isfinite(value)):
        raise NisslError(
            f"the loss is {float(value.detach())}",
            where=f"step {step}",
            do="give a smaller learning_rate, or warmup= steps for it to rise",
        )
    value.backward()
    if _processes()[1] > 1:
        for p in model.parameters():
            if p.grad is not None:
                torch.distributed.all_reduce(p.grad)
                p.grad /= _processes()[1]
    if how.clip is not None:
        for part in model if isinstance(model, nn.ModuleList) else [model]:
            torch.nn.utils.clip_grad_norm_(part.parameters(), how.clip)
    optimiser.step()
    return float(value.detach())


def _processes() -> tuple[int, int]:
    """Return the number of this process and how many train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _own(batch: Any) -> Any:
    """Return this process's share of a batch: with n processes, each n-th item."""
    rank, size = _processes()
    if size == 1:
        return batch
    if isinstance(batch, Tensor):
        if len(batch) % size:
            raise NisslError(f"a batch of {len(batch)} does not divide among {size} processes")
        return batch[rank::size]
    if isinstance(batch, tuple | list):
        return type(batch)(_own(part) for part in batch)
    return batch


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(part, device) for part in batch)
    return batch
