"""Null of training: networks of the same architecture with fresh weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nissl.errors import NisslError, require_known

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ReinitialisedNetwork"]


@dataclass(frozen=True)
class ReinitialisedNetwork:
    """Networks of the same architecture that were never trained.

    Score them against each other and the trained one against them. A random network does respond
    to its input, so this is no null for "does this unit respond to that label?".

    Parameters
    ----------
    how : {"reset", "moments"}
        "reset": every module's own ``reset_parameters``; norms that have none begin as the identity
        (gain one, or zero where one is added to it; bias zero), and other weights are drawn as
        under "moments". "moments": normal draws with the mean and deviation of each
        trained tensor, which keeps the scale of every layer.

    Notes
    -----
    Parameters that are shared stay shared. Modules remember how they were made, so an architecture
    whose makers start it otherwise (GPT-2 scales its output weights) is better given as a factory.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(3, 2)
    >>> drawn = list(ReinitialisedNetwork().draw(network, 2, seed=0))
    >>> len(drawn), bool((drawn[0].weight == drawn[1].weight).any())
    (2, False)
    """

    how: str = "reset"
    question: ClassVar[str] = "did training make this?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        return f"ReinitialisedNetwork(how={self.how!r})"

    def draw(
        self, network: nn.Module | Callable[[], nn.Module], n: int, *, seed: int = 0
    ) -> Iterator[nn.Module]:
        """Draw networks, one at a time: only one is held.

        Parameters
        ----------
        network : nn.Module or callable
            A trained network, which is copied and not changed; or a function that makes a new one.
        n : int
            How many.
        seed : int
            The seed; torch's own generator is left as it was.

        Yields
        ------
        nn.Module
            In the mode (training or not) of the one given.

        Raises
        ------
        NisslError
            Neither a module nor a function, or an unknown `how`.
        """
        import torch

        require_known("how", self.how, ("reset", "moments"))
        if not isinstance(network, torch.nn.Module) and not callable(network):
            raise NisslError(
                f"a {type(network).__name__} is no network",
                do="give an nn.Module (of a Network, its module) or a function that makes one",
            )
        for i in range(n):
            with torch.random.fork_rng(devices=_devices()):
                torch.manual_seed(_mixed(seed, i))
                if isinstance(network, torch.nn.Module):
                    fresh = copy.deepcopy(network)
                    with torch.no_grad():
                        _refill(fresh, reset=self.how == "reset")
                else:
                    fresh = network()
            yield fresh


def _mixed(seed: int, draw: int) -> int:
    """Return a seed that is not the small number with which the network itself was started."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)[0] >> 1)


def _devices() -> list[int]:
    import torch

    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []


def _refill(network: nn.Module, *, reset: bool) -> None:
    """Give every parameter a fresh value, in place; a shared one only once."""
    import torch

    done: set[int] = set()
    for module in network.modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in done]
        again = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        # Some parents reset tensors that their children own; they are then drawn twice, no harm.
        if reset and callable(again) and (own or any(True for _ in module.buffers(recurse=False))):
            again()
        else:
            for parameter in filter(torch.is_floating_point, own):
                flat = parameter.float()
                deviation = float(flat.std()) if flat.numel() > 1 else 0.0
                parameter.normal_(float(flat.mean()), deviation)
            if reset and own and "norm" in type(module).__name__.lower():
                _begin_norm(module, own)
        done.update(id(p) for p in own)


def _begin_norm(module: nn.Module, own: list[nn.Parameter]) -> None:
    """Make a norm's gain one and its bias zero; a gain to which it adds one becomes zero."""
    import torch

    for parameter in own:
        parameter.zero_()
    gain = getattr(module, "weight", None)
    if gain is None:
        return
    try:
        # With a gain of zero nothing is left of the input, unless one is added to it.
        x = torch.arange(gain.numel(), dtype=gain.dtype, device=gain.device).view(1, *gain.shape)
        added = bool(module(x).any())
    except Exception:  # norms that take more than one input
        added = False
    gain.fill_(0.0 if added else 1.0)
