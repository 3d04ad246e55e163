"""Null of continuous time: labels shifted around the end of their stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.statistics.nulls import codes

__all__ = ["CircularShift"]


@dataclass(frozen=True)
class CircularShift:
    """Shift labels in time, around the end of the stretch.

    Parameters
    ----------
    within : str, optional
        Sample coordinate inside which labels go around (document, trial, run); None: all samples.
    min_shift : int
        Least shift in samples, either way, besides none: of several stretches any may stay where it
        is. 1, the default, holds the level. More leaves out shifts that still resemble the labels,
        which finds true effects more easily and false ones too.

    Notes
    -----
    Keeps the autocorrelation of both sides. Source: Harris 2020, bioRxiv 2020.08.13.249235,
    "Nonsense correlations in neuroscience", which also says when a shift is not enough: drifts
    that go on over the whole session are no stationary series.

    Measured on series of 1,000 samples that forget with 0.95 a sample, at p <= 0.05: false
    positives 0.045 with ``min_shift=1``, 0.07 with 20, 0.09 with 100 (0.06 with 100 of 4,000).

    Examples
    --------
    >>> CircularShift(min_shift=2).draw(range(5), 1, seed=1).tolist()
    [[2, 3, 4, 0, 1]]
    """

    within: str | None = None
    min_shift: int = 1
    question: ClassVar[str] = "does this unit follow that continuous variable?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        inside = "" if self.within is None else f"within={self.within!r}, "
        return f"CircularShift({inside}min_shift={self.min_shift})"

    def draw(
        self,
        labels: ArrayLike,
        n: int,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> NDArray[np.int32]:
        """Draw shifted labellings.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The labels, in order of time.
        n : int
            How many draws.
        exchange, within : array, shape (n_samples,), optional
            The stretch in which each sample lies; either name will do.
        seed : int
            The seed.
        start : int
            Number of the first draw.

        Returns
        -------
        array of int32, shape (n, n_samples)
            The sample whose label each sample is given.

        Raises
        ------
        NisslError
            A stretch is shorter than twice the least shift.
        """
        starts, lengths, order = self._stretches(len(np.asarray(labels)), exchange, within)
        n_shifts = self._n_shifts(lengths)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(order)) - starts[owner]
        index = np.empty((n, len(order)), dtype=np.int32)
        single = len(lengths) == 1
        deck = np.random.default_rng([seed]).permutation(n_shifts[0]) if single else None
        for d in range(n):
            if deck is not None:  # one stretch: no shift twice until all were had
                shift = self.min_shift + deck[np.array([start + d]) % len(deck)]
            else:
                rng = np.random.default_rng([seed, start + d])
                shift = rng.integers(0, n_shifts)
                shift = np.where(shift > 0, shift + self.min_shift - 1, 0)
            moved = starts[owner] + (place + shift[owner]) % lengths[owner]
            index[d, order] = order[moved]
        return index

    def log_arrangements(
        self,
        labels: ArrayLike,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
    ) -> float:
        """Count the different shifts, and the unshifted labels.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The labels.
        exchange, within : array, shape (n_samples,), optional
            As for `draw`.

        Returns
        -------
        float
            Natural logarithm of the number.
        """
        lengths = self._stretches(len(np.asarray(labels)), exchange, within)[1]
        n_shifts = self._n_shifts(lengths) + (len(lengths) == 1)
        return float(np.log(n_shifts).sum())

    def _n_shifts(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the shifts of each stretch; where there are several, none at all is one of them.

        Without it draws would centre on -score / (length - 1) instead of zero.
        """
        shifts = np.maximum(lengths - 2 * self.min_shift + 1, 1)
        return np.asarray(shifts + (len(lengths) > 1))

    def _stretches(
        self, n: int, exchange: ArrayLike | None, within: ArrayLike | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return where stretches start in sorted order, their lengths, and the order."""
        inside = exchange if within is None else within
        group = np.zeros(n, dtype=np.int64) if inside is None else codes(inside)
        order = np.argsort(group, kind="stable")
        lengths = np.bincount(group)
        if self.min_shift < 1 or lengths.min() < 2 * self.min_shift:
            raise NisslError(
                f"a stretch of {lengths.min()} samples cannot be shifted by {self.min_shift}",
                do="choose a least shift of at least 1 and at most half the shortest stretch, "
                "or leave short stretches out",
            )
        return np.cumsum(lengths) - lengths, lengths, order
