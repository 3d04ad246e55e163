"""Fit dictionaries to activity: the loss, the data, and the loop that `sae` and its kin share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.features.codes import Codes
from nissl.features.dictionary import TrainedDictionary
from nissl.features.kinds.kind import Kind
from nissl.features.kinds.topk import revival
from nissl.fingerprint import fingerprint
from nissl.recording import open_store
from nissl.training import ShuffledRows, train

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["Schedule", "dictionary_loss", "fit", "opened"]

PARTS = ("begin", "encode", "error", "penalty")  # of a kind


@dataclass(frozen=True)
class Schedule:
    """How a dictionary is trained.

    Parameters
    ----------
    samples : int, optional
        How many samples are seen, some more than once; by default each once, and at least as many
        as make a thousand updates.
    batch_size : int
        Samples of an update.
    learning_rate : float
        Of Adam; it goes to zero in the last fifth.
    cache : bool
        Keep what is trained, and go on where an earlier call was interrupted.
    device : str, optional
        Where.
    """

    samples: int | None = None
    batch_size: int = 4096
    learning_rate: float = 1e-3
    cache: bool = True
    device: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 2 or (self.samples is not None and self.samples < self.batch_size):
            raise NisslError(
                f"{self.samples} samples in batches of {self.batch_size} train nothing",
                do="give batch_size=2 or more, and as many samples as a batch",
            )


def opened(rec: Recording | str | Path, site: str | None) -> Recording:
    """Return activity of one site, of a store that is whole."""
    found: Any = open_store(rec, site) if isinstance(rec, str | Path) else rec
    if isinstance(found, dict):
        raise NisslError(f"the store has {len(found)} sites", do="give site=, one of them")
    if found.attrs.get("complete") is False:
        raise NisslError("the store is still being written, or was left", do="finish it first")
    if "site" in found.coords:
        sites = list(dict.fromkeys(found["site"].values.tolist()))
        if site is not None and not isinstance(rec, str | Path):
            require_known("site", site, [str(name) for name in sites])
            found = found[:, found["site"].values == site]
        elif len(sites) > 1:
            raise NisslError(f"there are {len(sites)} sites", do=f"give site=, such as {sites[0]}")
    elif site is not None and not isinstance(rec, str | Path):
        raise NisslError(f"the recording does not say what its site is, so not '{site}'")
    return found  # type: ignore[no-any-return]


def fit(
    recs: tuple[Recording, ...],
    wanted: list[tuple[int, Kind]],
    schedule: Schedule,
    seed: int,
    progress: bool,
    *,
    beside: tuple[Recording, ...] = (),
) -> list[TrainedDictionary]:
    """Train dictionaries, at once, on what is read and perhaps written, and what kinds need."""
    n, size = len(recs[0]), schedule.batch_size
    if n < 2 * size:
        raise TooFewSamples(f"{n} samples are fewer than two batches of {size}", do="batch_size=")
    rows = ShuffledRows((*recs, *beside), batch_size=size, seed=seed)
    names = [str(rec["site"].values[0]) if "site" in rec.coords else "" for rec in recs]
    first = rows(0)[: len(recs)]
    steps = max(1000, n // size) if schedule.samples is None else schedule.samples // size
    made = nn.ModuleList()
    for n_features, kind in wanted:
        model = TrainedDictionary(
            kind,
            n_features,
            recs[0].shape[1],
            site_in=names[0],
            site_out=names[-1],
            width_out=recs[-1].shape[1],
            transcodes=len(recs) > 1,
            seed=seed,
        )
        model.scale.copy_(_scale(first[0]))
        model.scale_out.copy_(_scale(first[-1]))
        with torch.no_grad():
            model.b_dec.copy_((first[-1] / model.scale_out).mean(0))
        model.patience = min(model.patience, steps * size // 8)  # in a short training sooner
        made.append(model)
    done = train(
        made if len(made) > 1 else made[0],
        rows,
        loss=dictionary_loss,
        steps=max(steps, 1),
        optimiser="adam",
        learning_rate=schedule.learning_rate,
        schedule="linear",
        warmup=min(200, steps // 5),
        seed=seed,
        cache=schedule.cache,
        # What a kind computes is told by its code, not by its name.
        key=fingerprint(
            [[revival, *(getattr(type(kind), part) for part in PARTS)] for _, kind in wanted]
        )
        + f" {made[0].patience}",
        device=schedule.device,
        progress=progress,
    )
    found: Any = list(made)
    if len(found) == 1:
        found[0].losses = done.losses
    return found  # type: ignore[no-any-return]


def _scale(x: Tensor) -> Tensor:
    """Return what divides activity, so that its variance is its width."""
    if not bool(torch.isfinite(x).all()):
        raise NisslError("activity is not finite", do="look for overflow: rec.attrs['nonfinite']")
    spread = (x - x.mean(0)).square().mean().sqrt()
    if not spread > 0:
        raise NisslError("activity does not vary in the first batch")
    return spread


def dictionary_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Return the error in shares of the variance, and what the kind adds to it.

    Parameters
    ----------
    model : TrainedDictionary, or ModuleList of several
        It counts for how long each feature was silent.
    batch : tuple of Tensor
        Activity that is encoded; of a transcoder, what is decoded to; and what the kind's
        ``encode`` takes besides.

    Returns
    -------
    Tensor, shape ()
        With its graph; of several the sum.
    """
    if isinstance(model, nn.ModuleList):
        return torch.stack([dictionary_loss(one, batch) for one in model]).sum()
    assert isinstance(model, TrainedDictionary)
    n = 1 + model.transcodes
    x, y = model.scaled(batch[0]), (batch[n - 1] / model.scale_out).to(model.w_dec)
    features = model.kind.encode(model, x, *batch[n:])
    if model.training:
        _count(model, features, len(x))
    error = model.kind.error(model, features, y).mean() / y.shape[1]
    return error + model.kind.penalty(model, x, y, features)


@torch.no_grad()
def _count(model: TrainedDictionary, features: Tensor | Codes, n: int) -> None:
    model.silent += n
    if isinstance(features, Codes):
        model.silent[features.indices[features.values > 0]] = 0
    else:
        model.silent[(features > 0).any(0)] = 0
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(model.silent, torch.distributed.ReduceOp.MIN)
