"""Gram and dissimilarity matrices of stimuli, streamed over units."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.progress import progress_bar
from nissl.statistics._unit_blocks import sliceable, unit_blocks
from nissl.statistics._whitening import SIZE, Whitening
from nissl.statistics.design import column_of
from nissl.statistics.nulls import codes

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["dissimilarities", "gram"]

Array = NDArray[np.floating[Any]]
# What float32 overflows in is computed once more in float64.
QUIET = np.errstate(over="ignore", invalid="ignore")
TINY = 1e-30  # squares that float32 may have lost
PLAIN, NOISE = ("correlation", "euclidean", "cosine"), ("mahalanobis", "crossnobis")


def gram(
    x: Recording | ArrayLike | Iterable[ArrayLike],
    *,
    kernel: str = "linear",
    centre: bool = False,
    bandwidth: float = 1.0,
    progress: bool = True,
) -> Array:
    """Return the kernel of every two patterns, in float64.

    Parameters
    ----------
    x : Recording, array, shape (n_stimuli, n_units), or iterable of arrays (n_stimuli, some units)
        Activity, read block by block of units.
    kernel : {"linear", "rbf"}
        Products of patterns summed over units, or ``exp(-squared distance / (2 width ** 2))``.
    centre : bool
        Take the means of rows and columns off the kernel: for the linear kernel, those of units.
    bandwidth : float
        Width of the rbf kernel, in medians of the distances between two patterns.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_stimuli, n_stimuli)
        Symmetric.

    Raises
    ------
    NisslError
        No units, values that are not finite numbers, or blocks of other lengths.

    Source: the width as in Kornblith et al. 2019, "Similarity of neural network representations
    revisited", section 3.

    Examples
    --------
    >>> gram([[1.0, 2.0], [3.0, 0.0]], progress=False).tolist()
    [[5.0, 3.0], [3.0, 9.0]]
    """
    require_known("kernel", kernel, ("linear", "rbf"))
    made = _products(unit_blocks(sliceable(x)), progress=progress)
    k = made.of(0.0, made.mean) if centre or kernel == "rbf" else made.of(1.0, made.constant)
    if kernel == "rbf":
        squares = _squares(k)
        pairs = np.sqrt(squares[np.triu_indices(len(k), 1)])
        width = bandwidth * np.median(pairs) if len(pairs) else 0.0
        if not width > 0:
            raise NisslError(
                "half of the patterns are alike, so that the median distance is no width",
                where="bandwidth",
                do="leave repeated patterns out, give a bandwidth above 0, or use kernel='linear'",
            )
        k = np.exp(-squares / (2 * width**2))
    return np.asarray(k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean() if centre else k)


def dissimilarities(
    x: Recording | ArrayLike | Iterable[ArrayLike],
    *,
    measure: str = "correlation",
    stimuli: str | ArrayLike | None = None,
    runs: str | ArrayLike | None = None,
    residuals: Recording | ArrayLike | Iterable[ArrayLike] | None = None,
    residual_runs: str | ArrayLike | None = None,
    covariance: str = "shrunk",
    progress: bool = True,
) -> Array:
    """Return the dissimilarity of every two patterns, in float64.

    Parameters
    ----------
    x : Recording, array, shape (n_samples, n_units), or iterable of arrays (n_samples, some units)
        Activity, read block by block of units. A sample is a stimulus, but for crossnobis.
    measure : {"correlation", "euclidean", "cosine", "mahalanobis", "crossnobis"}
        1 - r; the squared distance divided by the number of units, plain or after whitening by the
        noise covariance; 1 - cosine. Crossnobis is the product of whitened differences of two
        different runs, over all pairs of runs: where two stimuli do not differ its mean is 0, and
        it may be negative.
    stimuli, runs : str or array, shape (n_samples,), optional
        For crossnobis: what each sample shows, and in which run. Repeats in a run are averaged.
    residuals : as x, shape (n_residuals, n_units), optional
        Noise, its means over a run taken off. Needed by mahalanobis; without it crossnobis is the
        cross-validated Euclidean distance.
    residual_runs : str or array, shape (n_residuals,), optional
        The run of each residual. Under crossnobis each run is whitened by its own covariance;
        without it, all by one.
    covariance : {"shrunk", "diagonal"}
        Ledoit and Wolf's estimate as scikit-learn has it, or variances alone.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_stimuli, n_stimuli)
        Symmetric, 0 on the diagonal; crossnobis in sorted order of `stimuli`. Drawn by
        `nissl.statistics.dissimilarity_matrix`.

    Raises
    ------
    NisslError
        A pattern without variance (correlation) or of zeros (cosine), a stimulus that a run lacks,
        units without noise, values that are not finite numbers, shapes that do not fit.
    TooFewSamples
        Fewer than two runs, or two residuals of a run.

    Notes
    -----
    Squares and their division by the number of units are rsatoolbox's. float32 in memory or on disk
    is multiplied in float32, less what patterns share, and summed in float64: right to 1e-6; all
    is done once more in float64 where digits were lost. The covariance is never made.

    Source: Walther et al. 2016, NeuroImage 137, 188 (whitening by run, crossnobis); Diedrichsen et
    al. 2016, arXiv 1607.01371; Ledoit and Wolf 2004, J. Multivariate Analysis 88, 365.

    Examples
    --------
    >>> dissimilarities([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], progress=False).round(6).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
    """
    require_known("measure", measure, (*PLAIN, *NOISE))
    require_known("covariance", covariance, ("shrunk", "diagonal"))
    given: dict[str, Any] = {}
    if measure != "crossnobis":
        given |= {"stimuli": stimuli, "runs": runs}
    if measure in PLAIN:
        given |= {"residuals": residuals, "residual_runs": residual_runs}
    if extra := [name for name, value in given.items() if value is not None]:
        raise NisslError(
            f"{measure} distances take no {' and '.join(extra)}",
            do="use measure='crossnobis' for runs, or nissl.recording.aggregate for repeats",
        )
    if measure in NOISE:
        noise = (residuals, residual_runs)
        return _whitened(x, measure, (stimuli, runs), noise, covariance, progress)
    x = sliceable(x)
    made = _products(unit_blocks(x), single=hasattr(x, "shape"), progress=progress)
    found, scale = _distances(made, measure)
    if made.single and _lost(made, found, scale):
        found, _ = _distances(_products(unit_blocks(x), progress=progress), measure)
    return found


@QUIET
def _distances(made: _Products, measure: str) -> tuple[Array, Any]:
    """Return distances, and what squares of each pattern were divided by."""
    if len(made.mean) < 2:
        raise TooFewSamples("one pattern differs from nothing", where="x", do="give two or more")
    if measure == "euclidean":
        return _squares(made.of(0.0, made.mean) / made.n_units), made.n_units
    k = made.of(1.0, made.centring if measure == "correlation" else made.constant)
    scale = k.diagonal().copy()
    # Of a pattern that hardly varies, rounding may leave nothing.
    tiny = TINY if made.single else 1e-290
    flat = np.zeros(0, np.int64) if made.single else np.flatnonzero(scale <= tiny)
    if measure == "correlation":
        flat = np.union1d(flat, made.flat)
    if len(flat):
        raise NisslError(
            f"{len(flat)} patterns do not vary over units and correlate with nothing"
            if measure == "correlation"
            else f"{len(flat)} patterns are all zero and have no direction",
            where=f"stimulus {', '.join(map(str, flat[:10]))}" + ", ..." * (len(flat) > 10),
            do="leave these stimuli out, or use measure='euclidean'",
        )
    norm = np.sqrt(np.where(scale > tiny, scale, np.nan))
    k /= np.outer(norm, norm)
    np.subtract(1, k, out=k)
    np.fill_diagonal(k, 0)
    return np.clip(k, 0, 2, out=k), scale


@QUIET
def _lost(made: _Products, found: Array, scale: Any) -> bool:
    """Say whether float32 has lost digits: distances below a thousandth of what was summed."""
    squares = made.total.diagonal()[:-2]
    # Nor was anything lost to underflow, nor to rounding where a row's mean was taken off.
    least = np.maximum(1e-6 * made.n_units * made.mean.astype(float) ** 2, TINY)
    if not np.min(scale) > TINY or not np.delete(squares > least, made.least).all():
        return True
    part = 1e-3 * squares / scale
    enough = found >= np.maximum.outer(part, part)
    np.fill_diagonal(enough, True)
    return not enough.all()


def _squares(k: Array, least: float = 0.0) -> Array:
    """Return squared distances in the place of a linear kernel."""
    norm = k.diagonal().copy()
    k *= -2
    k += norm[:, None] + norm
    np.fill_diagonal(k, 0)
    return np.maximum(k, least, out=k)


class _Products:
    """Sums over units of products of rows: of d, of what all rows share, and of ones.

    A value is d + shared + the constant of its row: so no large numbers are multiplied. What is
    shared is the smallest pattern, since of others as small no digits may be lost.
    """

    def __init__(self, b: Array) -> None:
        self.least = int(np.einsum("nu,nu->n", b, b).argmin())
        self.level = float(b[self.least].mean())
        self.mean = (b - b[self.least]) @ np.full(b.shape[1], 1 / b.shape[1], b.dtype)
        self.constant = self.level + self.mean.astype(np.float64)
        self.total = np.zeros((len(b) + 2, len(b) + 2))
        self.first, self.flat = b[:, 0].copy(), np.arange(len(b))  # rows that have not varied
        self.single = False  # some of it in float32

    def add(self, b: Array) -> None:
        """Add the products of a block of units."""
        rows = np.empty((len(b) + 2, b.shape[1]), b.dtype)
        shared = b[self.least]
        np.subtract(b, shared, out=rows[:-2])
        rows[:-2] -= self.mean.astype(b.dtype)[:, None]
        rows[-2], rows[-1] = shared - self.level, 1
        made = rows @ rows.T
        if not np.isfinite(made[-1]).all() and len(bad := np.argwhere(~np.isfinite(b))):
            raise NisslError(
                "activity holds NaN or infinity",
                where=f"sample {bad[0, 0]}, unit {self.n_units + bad[0, 1]}",
                do="leave those samples or units out",
            )
        self.total += made
        self.single |= b.dtype == np.float32
        # Only rows that have not varied yet are looked at.
        self.flat = self.flat[b[self.flat, -1] == self.first[self.flat]]
        self.flat = self.flat[(b[self.flat] == self.first[self.flat, None]).all(axis=1)]

    @property
    def n_units(self) -> int:
        """How many units were added."""
        return int(self.total[-1, -1])

    @property
    def centring(self) -> Array:
        """The constants that make the mean of each row 0."""
        return np.asarray(-(self.total[:-2, -1] + self.total[-2, -1]) / self.n_units)

    def of(self, shared: float, constant: Array) -> Array:
        """Return products of d, plus so much of what is shared, plus a constant a row."""
        added = np.stack([np.full(len(constant), shared), constant], axis=1)
        cross = added @ (self.total[:-2, -2:] + added @ self.total[-2:, -2:] / 2).T
        return np.asarray(self.total[:-2, :-2] + (cross + cross.T))


@QUIET
def _products(blocks: Iterable[Array], *, single: bool = False, progress: bool = True) -> _Products:
    """Sum products of rows over blocks of units, those of float32 in float32 where `single`."""
    made: _Products | None = None
    with progress_bar("Products", total=None, unit="units", progress=progress) as advance:
        for block in blocks:
            b = block if single else block.astype(np.float64, copy=False)
            made = made or _Products(b)
            made.add(b)
            advance(b.shape[1])
    if made is None:
        raise NisslError("there are no units", where="x", do="give activity of one unit or more")
    return made


def _whitened(
    x: Any,
    measure: str,
    named: tuple[Any, Any],
    noise: tuple[Any, Any],
    covariance: str,
    progress: bool,
) -> Array:
    """Return squared distances of whitened patterns, over pairs of runs or not."""
    rec = x if hasattr(x, "coords") else None
    blocks = unit_blocks(sliceable(x), SIZE)
    first = next(blocks, np.empty((0, 0)))
    n = len(first)
    if n < 2:
        raise TooFewSamples("one pattern differs from nothing", where="x", do="give two or more")
    stimulus, run, names = np.arange(n), np.zeros(n, np.int64), np.zeros(1)
    if measure == "crossnobis":
        stimulus, run, names = _crossed(named, n, rec)
    elif noise[0] is None:
        raise NisslError(
            "a Mahalanobis distance needs noise", do="give residuals=, or use measure='euclidean'"
        )
    whitening = Whitening(run, names, noise, covariance)
    made = _products(whitening.stacked(chain([first], blocks)), progress=progress)
    k = made.of(1.0, made.constant)
    # Repeats of a stimulus in a run are averaged.
    cell = codes(run * n + stimulus)
    mean = (np.arange(cell.max() + 1)[:, None] == cell) / np.bincount(cell)[:, None]
    mix = mean @ whitening.rows(k, made.n_units)
    k = mix @ k @ mix.T
    if measure == "crossnobis":
        n_runs, n = len(names), stimulus.max() + 1
        k = k.reshape(n_runs, n, n_runs, n)
        k = (k.sum(axis=(0, 2)) - np.einsum("rsrt->st", k)) / (n_runs * (n_runs - 1))
    return _squares(k, -np.inf if measure == "crossnobis" else 0.0) / made.n_units


def _crossed(
    named: tuple[Any, Any], n: int, rec: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return the stimulus and the run of each sample, and the names of runs."""
    stimuli, runs = named
    if stimuli is None or runs is None:
        raise NisslError(
            "crossnobis needs the stimulus and the run of each sample", do="give stimuli= and runs="
        )
    y, r = column_of("stimuli", stimuli, n, rec), column_of("runs", runs, n, rec)
    names, shown = np.unique(r), np.unique(y)
    if len(names) < 2 or len(shown) < 2:
        raise TooFewSamples(
            f"{len(names)} runs and {len(shown)} stimuli are too few to cross-validate a distance",
            where="runs",
            do="record each stimulus in two runs or more; or use measure='mahalanobis'",
        )
    count = np.zeros((len(names), len(shown)), np.int64)
    np.add.at(count, (codes(r), codes(y)), 1)
    if len(lacking := np.argwhere(count == 0)):
        some = ", ".join(f"'{shown[s]}' in run {names[k]}" for k, s in lacking[:5])
        raise NisslError(
            f"{len(lacking)} stimuli are not shown in every run: {some}",
            where="stimuli",
            do="leave out stimuli, or runs, that are not complete",
        )
    return codes(y), codes(r), names
