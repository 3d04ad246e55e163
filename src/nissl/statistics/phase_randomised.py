"""Null of continuous time: series with the same spectrum and random phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.nulls import codes

__all__ = ["PhaseRandomised"]

Array = NDArray[np.floating[Any]]
ITERATIONS = 50  # of the adjustment; it ends where ranks no longer change


@dataclass(frozen=True)
class PhaseRandomised:
    """Give a series random phases, and keep its spectrum.

    Parameters
    ----------
    within : str, optional
        Sample coordinate inside which a series goes on (document, trial, run); None: all samples.
    adjust : bool
        Keep the values of the series too (their spectrum then nearly), where they are not Gaussian.

    Notes
    -----
    The mean and the autocorrelation of every stretch are kept, circularly. Several series drawn
    together have the same phases added, so that correlations among them are kept at every lag.
    Numbers only: of classes and of angles the phases are no question, and `CircularShift` is right.

    Measured at p <= 0.05, against series that forget with 0.5 to 0.95 a sample: false positives
    0.047 to 0.054 of 300 to 4,000 samples, skewed ones too, and 0.054 in ten runs of 100.

    Source: Theiler et al. 1992, Physica D 58, 77; Prichard and Theiler 1994, Physical Review
    Letters 73, 951 (several series); Schreiber and Schmitz 1996, Physical Review Letters 77, 635
    (adjusted).

    Examples
    --------
    >>> x = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    >>> drawn = PhaseRandomised().draw_series(x, 1, seed=0)
    >>> np.allclose(abs(np.fft.rfft(drawn[0])), abs(np.fft.rfft(x)))
    True
    """

    within: str | None = None
    adjust: bool = False
    question: ClassVar[str] = "does this unit follow that continuous variable?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        said = [] if self.within is None else [f"within={self.within!r}"]
        return f"PhaseRandomised({', '.join(said + ['adjust=True'] * self.adjust)})"

    def draw_series(
        self,
        x: ArrayLike,
        n: int,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Array:
        """Draw series.

        Parameters
        ----------
        x : array, shape (n_samples,) or (n_samples, n_series)
            Numbers, in order of time.
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
        array of float64, shape (n, n_samples) or (n, n_samples, n_series)
            The draws.

        Raises
        ------
        TooFewSamples
            A stretch has fewer than four samples.
        NisslError
            No numbers, or several series to be adjusted.
        """
        series = np.asarray(x)
        if series.dtype.kind not in "fiub" or series.ndim not in (1, 2):
            raise NisslError(
                f"series have shape {series.shape} of {series.dtype}, and phases are of numbers",
                where="labels",
                do="use CircularShift or PermutedLabels for classes",
            )
        series = series.reshape(len(series), -1).astype(np.float64)
        if not np.isfinite(series).all():
            raise NisslError("a series holds NaN or infinity", do="leave those samples out")
        if self.adjust and series.shape[1] > 1:
            raise NisslError(
                "adjusting values would change the correlations of several series",
                where="adjust",
                do="draw them without it, or one at a time",
            )
        parts = _stretches(len(series), exchange if within is None else within)
        drawn = np.empty((n, *series.shape))
        rngs = [np.random.default_rng([seed, start + d]) for d in range(n)]
        for rows in parts:
            spectrum = np.fft.rfft(series[rows], axis=0)
            phase = np.stack([rng.uniform(0, 2 * np.pi, len(spectrum)) for rng in rngs])
            turn = np.exp(1j * phase)
            turn[:, 0] = 1  # the mean stays
            if len(rows) % 2 == 0:  # the highest frequency is real: its sign alone is free
                turn[:, -1] = np.sign(np.pi - phase[:, -1])
            turned = turn[:, :, None] * spectrum
            made = np.fft.irfft(turned, n=len(rows), axis=1)
            drawn[:, rows] = _adjusted(made, series[rows]) if self.adjust else made
        return drawn.reshape(n, *np.shape(x))

    def log_arrangements(
        self,
        labels: ArrayLike,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
    ) -> float:
        """Count the different draws, which have no end.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The series.
        exchange, within : array, shape (n_samples,), optional
            As for `draw_series`.

        Returns
        -------
        float
            Infinity.
        """
        _stretches(len(np.asarray(labels)), exchange if within is None else within)
        return np.inf


def _adjusted(made: Array, series: Array) -> Array:
    """Return the values of the series in an order that has nearly its spectrum."""
    values, power = np.sort(series[:, 0]), np.abs(np.fft.rfft(series[:, 0]))
    out, before = made[..., 0], np.empty(0, np.int64)
    for _ in range(ITERATIONS):
        rank = np.argsort(np.argsort(out, axis=1), axis=1)
        if np.array_equal(rank, before):
            break
        spectrum = np.fft.rfft(values[rank], axis=1)
        size = np.abs(spectrum)
        spectrum *= np.divide(power, size, out=np.zeros_like(size), where=size > 0)
        out, before = np.fft.irfft(spectrum, len(series), axis=1), rank
    return values[rank][..., None]


def _stretches(n: int, stretch: ArrayLike | None) -> list[NDArray[np.int64]]:
    """Return the samples of each stretch, in their order."""
    group = np.zeros(n, dtype=np.int64) if stretch is None else codes(stretch)
    lengths = np.bincount(group, minlength=1)
    if lengths.min() < 4:
        raise TooFewSamples(
            f"a stretch of {lengths.min()} samples has no phases to speak of",
            where="within",
            do="leave short stretches out, or permute whole ones: PermutedLabels(how='whole')",
        )
    return np.split(np.argsort(group, kind="stable"), np.cumsum(lengths)[:-1])
