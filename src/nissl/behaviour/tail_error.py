"""Tail errors: how much of a layer's output is lost without its smallest contributions.

A unit's contribution at a token is its activity times its output weights. The contributions that
are no larger in norm than a threshold are the tail; the norm of their sum over the norm of the
layer's output is the tail error.
"""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["STEPS", "Tails"]

STEPS = 1024  # thresholds that are told apart in a layer: quantiles of its contributions

Array = NDArray[np.float64]


class Tails:
    """The tails of one layer at some tokens, for every threshold.

    Parameters
    ----------
    activity : array, shape (n_tokens, n_units)
        What the output matrix reads.
    write : array, shape (n_units, d_model)
        Output weights.
    where : str
        What the layer is called in errors.

    Raises
    ------
    NisslError
        A number is not finite, or the layer writes nothing at any token.

    Examples
    --------
    >>> tails = Tails(np.array([[3.0, 4.0, 0.1]]), np.eye(3))
    >>> round(tails.error(1.0), 3), round(tails.ratio(1.0), 3)
    (0.02, 0.667)
    >>> 0.1 < tails.threshold(0.5) < 3.0
    True
    """

    def __init__(self, activity: ArrayLike, write: ArrayLike, where: str = "") -> None:
        import torch

        self.activity: Tensor = torch.as_tensor(np.asarray(activity, dtype=np.float32))
        self.write: Tensor = torch.as_tensor(np.asarray(write, dtype=np.float32))
        self.size = self.activity.abs() * torch.linalg.vector_norm(self.write, dim=1)
        if not bool(self.size.isfinite().all()):
            raise NisslError("activity or output weights are not finite", where=where)
        out = torch.linalg.vector_norm(self.activity @ self.write, dim=1)
        writes = out > 0  # of a ReLU layer all units may be silent at a token
        if not bool(writes.any()):
            raise NisslError(
                "the layer writes nothing at any of the tokens", where=where, do="leave it out"
            )
        self.activity, self.size = self.activity[writes], self.size[writes]
        self.out = out[writes]
        self.sorted: Tensor = self.size.flatten().sort().values
        # By step: there is no tail, and all is tail.
        self._errors: dict[int, float] = {0: 0.0, STEPS: 1.0}

    def error(self, threshold: float) -> float:
        """Return the mean tail error over tokens for a threshold on the contributions' norm."""
        import torch

        tail = torch.where(self.size <= threshold, self.activity, 0.0) @ self.write
        return float((torch.linalg.vector_norm(tail, dim=1) / self.out).double().mean())

    def ratio(self, threshold: float) -> float:
        """Return the share of contributions above a threshold."""
        return float((self.size > threshold).double().mean())

    def threshold(self, error: float) -> float:
        """Return the threshold of the longest tail whose error is at most the one given.

        Parameters
        ----------
        error : float
            The tail error that is allowed, from 0 to 1.

        Returns
        -------
        float
            A threshold between two contributions; -1 where there is no tail, infinite where all
            is tail.
        """
        if error >= 1:
            return float("inf")
        for turn in count():
            # The tail of `low` is allowed, that of `high` is not.
            low = max(step for step, found in self._errors.items() if found <= error)
            high = min(step for step in self._errors if step > low)
            if high - low == 1:
                break
            # Now and then the middle, lest the ends come nearer one step at a time.
            middle = (low + high) // 2 if turn % 3 == 2 else self._between(low, high, error)
            self._errors[middle] = self.error(self._at(middle))
        return self._at(low)

    def chance(self, error: float) -> float:
        """Return the share of units that a random choice at each token keeps for a tail error.

        Notes
        -----
        Without a share q of the units, drawn anew, the expected square of the error is
        ``q^2 + q (1 - q) s``, with s the sum of squared contributions over the squared output.
        """
        spread = (self.size.double().square().sum(1) / self.out.double().square()).numpy()
        dropped = np.linspace(0, 1, STEPS + 1)
        square = dropped**2 + (dropped * (1 - dropped)) * spread[:, None]
        return float(1 - dropped[np.argmax(np.sqrt(square).mean(axis=0) >= min(error, 1.0))])

    def _between(self, low: int, high: int, error: float) -> int:
        """Return the step between two where the error should be, were it a power of the step."""
        least, most = self._errors[low], self._errors[high]
        if not least:
            return (low + high) // 2
        place = math.log(error / least) / math.log(most / least)
        return min(max(int(low * (high / low) ** place), low + 1), high - 1)

    def _at(self, step: int) -> float:
        """Return the threshold of one quantile: halfway to the next larger contribution."""
        import torch

        if step == 0:
            return -1.0
        value: Any = self.sorted[round(step / STEPS * (len(self.sorted) - 1))]
        above = int(torch.searchsorted(self.sorted, value, right=True))
        larger: Any = self.sorted[above] if above < len(self.sorted) else float("inf")
        return float(value + larger) / 2
