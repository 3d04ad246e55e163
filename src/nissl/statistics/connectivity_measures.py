"""Measures of connectivity: functions of (n_samples, n_units) that return (n_units, n_units).

A new one is a function under `connectivity_measure`. It is given series less the mean of each run;
one that looks along time takes ``starts``, the first sample of every run, and ``rate`` in Hz.
`nissl.brain.connectivity` tests the edges.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.statistics.effects import mutual_information as information
from nissl.statistics.scores import ranks
from nissl.statistics.series import centred, run_starts

__all__ = ["MEASURES", "Measure", "connectivity_measure", "measure_of"]

Array = NDArray[np.floating[Any]]
Function = Callable[..., Array]
Band = tuple[float, float]
MEASURES: dict[str, Measure] = {}


@dataclass(frozen=True)
class Measure:
    """What a measure declares; options are the further parameters of its function."""

    function: Function
    directed: bool = False  # whether the edge from a to b may differ from that from b to a
    alternative: str = "two-sided"
    #: Series that the null moves against each other, each in turn; p is the largest.
    shuffled: Callable[[Array], list[Array]] = lambda x: [x]
    memory: float = 0.2  # the longest of series, in lengths of a run, at which the null holds

    @property
    def name(self) -> str:
        """How it is called."""
        return str(getattr(self.function, "__name__", "measure"))

    @property
    def takes(self) -> list[str]:
        """Its options, with ``starts`` and ``rate`` among them where it needs them."""
        return list(inspect.signature(self.function).parameters)[1:]

    def __call__(self, x: Array, stretch: NDArray[np.int64] | None = None, **options: Any) -> Array:
        """Return the matrix of series, shape (n_samples, n_units), given the run of each sample."""
        stretch = np.zeros(len(x), np.int64) if stretch is None else stretch
        if "starts" in self.takes:
            options["starts"] = run_starts(stretch)
        return self.function(centred(x, stretch), **options)


def measure_of(given: str | Function, options: dict[str, Any], rate: float | None) -> Measure:
    """Return a measure by its name, or of a function; options must be its own.

    Where it takes a ``rate`` in Hz and options have none, they get that of the series.
    """
    if isinstance(given, str):
        require_known("measure", given, list(MEASURES))
    made = MEASURES[given] if isinstance(given, str) else Measure(given)
    for name in options:
        require_known(f"option of {made.name}", name, [n for n in made.takes if n != "starts"])
    if "rate" in made.takes and options.setdefault("rate", rate) is None:
        raise NisslError("samples have no time", where=made.name, do="give rate= in Hz")
    return made


def connectivity_measure(**declared: Any) -> Callable[[Function], Function]:
    """Add a function to the measures, under its name.

    Parameters
    ----------
    **declared
        What a `Measure` declares.

    Returns
    -------
    callable
        A decorator, which returns the function.

    Examples
    --------
    >>> @connectivity_measure(alternative="greater")
    ... def cosine(x):
    ...     unit = x / np.linalg.norm(x, axis=0)
    ...     return np.abs(unit.T @ unit)
    >>> MEASURES.pop("cosine").directed
    False
    """

    def add(function: Function) -> Function:
        made = Measure(function, **declared)
        MEASURES[made.name] = made
        return function

    return add


@connectivity_measure()
def correlation(x: Array) -> Array:
    """Return Pearson's correlation, -1 to 1."""
    z = x / np.linalg.norm(x, axis=0)
    return np.asarray(np.clip(z.T @ z, -1, 1))


def _with_residuals(x: Array) -> list[Array]:
    """Return series, and what each has that the others do not tell: their correlation is -partial.

    Series alone make too narrow a null where what is left is slower than they are; residuals alone,
    where many regressors of few samples have taken the slow part out of them.
    """
    precision = np.linalg.inv(x.T @ x)
    return [x, np.asarray(x @ (precision / np.diag(precision)))]


@connectivity_measure(shuffled=_with_residuals, memory=0.02)
def partial_correlation(x: Array, estimator: str = "empirical") -> Array:
    """Return the correlation of two units less what all others tell of both, -1 to 1.

    ``estimator``: "empirical", or "ledoit_wolf" (shrunk), which is biased and has no null.
    """
    require_known("estimator", estimator, ("empirical", "ledoit_wolf"))
    z = x / x.std(axis=0)
    if estimator == "empirical":
        _require_samples(x, x.shape[1], "estimator='ledoit_wolf' with test=None")
        precision = np.linalg.inv(z.T @ z)
    else:
        from sklearn.covariance import ledoit_wolf

        precision = np.linalg.inv(ledoit_wolf(z, assume_centered=True)[0])
    scale = np.sqrt(np.diag(precision))
    partial = -precision / np.outer(scale, scale)
    np.fill_diagonal(partial, 1.0)
    return np.asarray(partial)


@connectivity_measure(directed=True)
def lagged_correlation(x: Array, starts: Sequence[int] = (0,), lag: int = 1) -> Array:
    """Return the correlation of a with b ``lag`` samples later, -1 to 1."""
    now, then = _lags(x, starts, lag)[::lag]
    now, then = now - now.mean(axis=0), then - then.mean(axis=0)
    return np.asarray(now.T @ then / np.outer(*(np.linalg.norm(v, axis=0) for v in (now, then))))


@connectivity_measure(directed=True, alternative="greater")
def granger(x: Array, starts: Sequence[int] = (0,), order: int = 1) -> Array:
    """Return by how much a's past betters the prediction of b from the past of all others, nats.

    The logarithm of the ratio of residual variances under regression on the last ``order`` samples
    of all units, with and without those of a (Geweke 1984); twice the transfer entropy of Gaussian
    series (Barnett et al. 2009).
    """
    *past, now = _lags(x, starts, order)
    n_units = x.shape[1]
    design = np.concatenate(past, axis=1)  # all units at one lag, then at the next
    _require_samples(design, design.shape[1], "fewer units, or a smaller order")
    inverse = np.linalg.inv(design.T @ design)
    weights = inverse @ (design.T @ now)
    error = ((now - design @ weights) ** 2).sum(axis=0)
    lags = np.arange(order)[:, None] * n_units + np.arange(n_units)  # rows of each unit
    own = np.linalg.inv(inverse[lags.T[:, :, None], lags.T[:, None, :]])
    mine = weights[lags.T]  # (from, lag, to)
    lost = np.einsum("alt,alm,amt->at", mine, own, mine)  # squares lost without the unit's past
    return np.asarray(np.log1p(lost / error))


@connectivity_measure(alternative="greater")
def mutual_information(x: Array, bins: int | None = None) -> Array:
    """Return the information between two units in bits: of Gaussians, or in bins of equal counts.

    The bias of bins (Miller and Madow) is taken out.
    """
    if bins is None:
        return np.asarray(-0.5 * np.log2(np.maximum(1 - correlation(x) ** 2, 1e-15)))
    label = np.minimum((ranks(x) - 0.5) * bins / len(x), bins - 1).astype(np.int64)
    return np.stack([information(x, column, bins=bins) for column in label.T])


@connectivity_measure(alternative="greater")
def coherence(
    x: Array, rate: float, band: Band, starts: Sequence[int] = (0,), segment: int = 256
) -> Array:
    """Return the squared coherence, 0 to 1, averaged over a band in Hz (Welch's method).

    Over halfway overlapping Hann windows of ``segment`` samples, none of which spans two runs.
    """
    from scipy.signal import get_window

    inside = _inside(np.fft.rfftfreq(segment, 1 / rate), band)
    windows = np.lib.stride_tricks.sliding_window_view
    runs = [run for run in np.split(x, starts[1:]) if len(run) >= segment]
    pieces = [windows(run, segment, axis=0)[:: segment - segment // 2] for run in runs]
    if sum(map(len, pieces)) < 3:
        raise TooFewSamples(
            f"runs hold fewer than three segments of {segment} samples", do="give a shorter one"
        )
    waves = np.concatenate(pieces)
    waves = (waves - waves.mean(axis=2, keepdims=True)) * get_window("hann", segment)
    spectrum = np.fft.rfft(waves)[:, :, inside].transpose(2, 1, 0)
    cross = spectrum @ spectrum.conj().transpose(0, 2, 1)
    power = np.einsum("fuu->fu", cross).real
    return np.asarray((np.abs(cross) ** 2 / (power[:, :, None] * power[:, None])).mean(axis=0))


@connectivity_measure(alternative="greater")
def phase_locking(x: Array, rate: float, band: Band, starts: Sequence[int] = (0,)) -> Array:
    """Return the length of the mean phase difference in a band in Hz, 0 to 1."""
    from scipy.signal import butter, hilbert, sosfiltfilt

    _inside(np.array([0.0, rate / 2]), band, least=0)
    sos = butter(3, band, btype="bandpass", fs=rate, output="sos")
    runs = [hilbert(sosfiltfilt(sos, run, axis=0), axis=0) for run in np.split(x, starts[1:])]
    phase = np.concatenate(runs)
    phase /= np.abs(phase)
    return np.asarray(np.abs(phase.T @ phase.conj()) / len(phase))


@connectivity_measure(alternative="greater")
def affinity(x: Array, width: float = 1.0) -> Array:
    """Return the mean of a Gaussian of the difference of standardised series, 0 to 1."""
    z = x / x.std(axis=0)
    return np.stack([np.exp(-((z - c[:, None]) ** 2) / (2 * width**2)).mean(axis=0) for c in z.T])


def _require_samples(x: Array, n: int, do: str) -> None:
    """Refuse regressions on as many columns as there are samples."""
    if len(x) < n + 10:
        raise TooFewSamples(f"{len(x)} samples are too few for {n} regressors", do=f"give {do}")


def _lags(x: Array, starts: Sequence[int], order: int) -> list[Array]:
    """Return samples at times 0, 1, ..., order of every stretch of order + 1 samples of a run."""
    runs = [run for run in np.split(x, starts[1:]) if len(run) > order]
    if order < 1 or not runs:
        raise TooFewSamples(
            f"no run is longer than a lag of {order} samples", do="give another, 1 or more"
        )
    cut = [[run[k : len(run) - order + k] for run in runs] for k in range(order + 1)]
    return list(map(np.concatenate, cut))


def _inside(frequency: Array, band: Band, *, least: int = 1) -> NDArray[np.bool_]:
    """Return which frequencies lie in a band."""
    low, high = band
    inside = (frequency >= low) & (frequency <= high)
    if not 0 < low < high < frequency[-1] or inside.sum() < least:
        raise NisslError(
            f"the band from {low} to {high} Hz holds no frequency between 0 and {frequency[-1]:g}",
            do="give another band, or longer segments",
        )
    return inside
