"""Rules of skipping: which layers each token of a call skips."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Counted", "Random", "Rule", "Voids", "one_call"]

# Of each token of a call: whether it is of the response, its position, which layers it skipped.
Counted: TypeAlias = "tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]"


class Rule(Protocol):
    """Which layers each token skips."""

    def begin(self, positions: Tensor, response: Tensor, n_layers: int) -> None:
        """Begin a call: positions, and whether each is of the response, shape (batch, position)."""

    def __call__(self, layer: int, change: Tensor) -> Tensor:
        """Return what skips a layer, given the change it would make to the norm of each."""


class Voids:
    """Layers whose change is below a share of the range of earlier changes."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.low: Any = None
        self.high: Any = None

    def begin(self, positions: Tensor, response: Tensor, n_layers: int) -> None:
        """Forget the changes of the call before."""
        self.low = self.high = None

    def __call__(self, layer: int, change: Tensor) -> Tensor:
        """Compare, then note the change."""
        if self.low is None:
            self.low = self.high = change
            return change < 0
        low, high = self.low.to(change.device), self.high.to(change.device)
        void: Tensor = change < self.alpha * (high - low)
        self.low, self.high = low.minimum(change), high.maximum(change)
        return void


class Random:
    """The layers, or as many random ones, that another token skipped at the position."""

    def __init__(self, skipped: list[Counted], match: str, seed: int) -> None:
        self.match, self.seed = match, seed
        self.chosen: Any = None
        response, positions, skips = one_call(skipped)
        self.met: list[dict[int, NDArray[np.bool_]]] = []  # by phase and position
        for phase in (False, True):
            own = response == phase
            at = {int(p): skips[own & (positions == p)] for p in np.unique(positions[own])}
            self.met.append(at)

    def begin(self, positions: Tensor, response: Tensor, n_layers: int) -> None:
        """Draw the layers of every token of the call."""
        places, phase = positions.cpu().numpy(), response.cpu().numpy()
        chosen = np.zeros((*places.shape, n_layers), dtype=bool)
        for place in np.unique(places[places >= 0]):
            rng = np.random.default_rng((self.seed, int(place)))
            order = rng.random((len(places), n_layers)).argsort(axis=1).argsort(axis=1)
            which = rng.random(len(places))
            for item, column in np.argwhere(places == place):
                met = self._met(bool(phase[item, column]), int(place))
                other = met[int(which[item] * len(met))]
                random = order[item] < other.sum()
                chosen[item, column] = other if self.match == "layers" else random
        self.chosen = torch.from_numpy(chosen)

    def __call__(self, layer: int, change: Tensor) -> Tensor:
        """Return what was drawn."""
        chosen: Tensor = self.chosen[..., layer].to(change.device)
        return chosen

    def _met(self, response: bool, place: int) -> NDArray[np.bool_]:
        """Return what tokens skipped: of the phase, at the position or the nearest."""
        met = self.met[response] or self.met[not response]
        return met[min(met, key=lambda seen: abs(seen - place))]


def one_call(skipped: list[Counted]) -> Counted:
    """Return what several calls skipped as one."""
    response, positions, skips = (
        np.concatenate([call[part] for call in skipped]) for part in range(3)
    )
    return response, positions, skips
