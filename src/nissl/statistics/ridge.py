"""Ridge regression of many targets: a penalty for each, chosen by cross-validation, and bands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics._ridge_design import Design, band_of_each
from nissl.statistics.folds import Fold, as_folds
from nissl.statistics.nulls import codes

__all__ = ["Ridge", "delayed", "ridge"]

Array = NDArray[np.floating[Any]]
COMPRESSED = 1e-6  # what shrinkage factors may lose where folds are scored


def ridge(
    x: ArrayLike,
    y: ArrayLike,
    *,
    folds: int | ArrayLike | list[Fold] = 5,
    penalties: ArrayLike | None = None,
    bands: Any = None,
    n_draws: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> Ridge:
    """Predict targets from features, each at the squared penalty that predicts left-out folds best.

    Parameters
    ----------
    x : array, shape (n_samples, n_features)
        Features; `delayed` makes lagged copies of them.
    y : array, shape (n_samples, n_targets)
        What is to be predicted: voxels, cells, neurons.
    folds : int, array of shape (n_samples,), or list of (train, test)
        A number of blocks of neighbouring samples, the run of each sample, or what
        `nissl.statistics.folds` returns.
    penalties : array, optional
        The penalties to choose from, above 0. By default ten, from 1e-4 to 1e5 times the mean
        eigenvalue of the features' scatter matrix.
    bands : array of shape (n_features,), or list of arrays of columns, optional
        The band of each feature (sorted), or the columns of each band. Bands then have weights
        (banded ridge), chosen for each target among equal ones, each band alone, `n_draws` draws.
    n_draws : int
        Weights of bands that are drawn from the simplex.
    seed : int
        The seed of these draws.
    progress : bool
        Show a bar.

    Returns
    -------
    Ridge
        Penalty, score and weights of bands for each target; predicts other samples.

    Raises
    ------
    TooFewSamples
        There are fewer samples or groups than folds.
    NisslError
        Values are not finite, lengths do not fit, a penalty is not above 0, or a feature is not in
        exactly one band.

    Notes
    -----
    Features and targets are centred in the training samples; features are not scaled. Each fold is
    decomposed once for all targets and penalties, and what is kept for a target is one number for
    each feature or sample, whichever are fewer. Decompositions and sums of squares are in float64,
    products of float32 arrays in float32.

    Source: banded ridge by random search, Dupre la Tour et al. 2022, NeuroImage 264, 119728.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 3))
    >>> y = x @ [[1.0], [2.0], [3.0]] + 0.1 * rng.standard_normal((200, 1))
    >>> fitted = ridge(x[:150], y[:150], progress=False)
    >>> fitted.coefficients().round(1).T.tolist()
    [[1.0, 2.0, 3.0]]
    """
    features, targets = _matrix("x", x), _matrix("y", y)
    if len(features) != len(targets):
        raise NisslError(f"{len(features)} samples of x do not fit {len(targets)} of y", where="y")
    work = np.result_type(features, targets)
    made = as_folds(folds, len(features))
    design = Design(features, band_of_each(bands, features.shape[1]))
    tried = design.usual_penalties() if penalties is None else np.asarray(penalties, float)
    if tried.ndim != 1 or not len(tried) or not (tried > 0).all():
        raise NisslError("penalties are not numbers above 0", where="penalties", do="give a list")
    drawn = _simplex(design.n_bands, n_draws, seed)
    level = targets.mean(axis=0, dtype=float)
    varies = (targets != targets[0]).any(axis=0)
    score, (choice, at) = np.full(len(level), -np.inf), np.zeros((2, len(level)), np.int64)
    total = len(drawn) * len(made)
    with progress_bar("Ridge", total=total, unit="folds", progress=progress) as advance:
        for d, weights in enumerate(drawn):
            errors, power = np.zeros((len(tried), len(level))), np.zeros(len(level))
            for train, test in made:
                values, u, lead = design.decompose(weights, train, test, tried.min(), work)
                shrink = values[:, None] / (values[:, None] + tried)
                of_y = (targets, level, train, test)
                _add_errors(lead / values, u.astype(work), shrink, of_y, errors, power)
                advance(1)
            best = errors.argmin(axis=0)
            r2 = 1 - errors[best, np.arange(len(best))] / np.where(varies, power, np.inf)
            better = r2 > score
            score[better], choice[better], at[better] = r2[better], d, best[better]
    every = np.arange(len(features))
    solution = np.zeros((min(features.shape), len(level)), work)
    for d in np.unique(choice):
        values, u, lead = design.decompose(drawn[d], every, None, tried.min(), work)
        u, lead = u.astype(work), lead.astype(work)
        for t in np.array_split(np.flatnonzero(choice == d), 1 + (choice == d).sum() // 1024):
            below = (values[:, None] + tried[at[t]]).astype(work)
            solution[:, t] = lead @ ((u.T @ (targets[:, t] - level[t]).astype(work)) / below)
    chosen = None if bands is None else drawn[choice].T
    return Ridge(tried[at], np.where(varies, score, 0.0), chosen, design, solution, level)


@dataclass(frozen=True, eq=False)
class Ridge:
    """A ridge regression of every target, made by `ridge`.

    Parameters
    ----------
    penalty : array, shape (n_targets,)
        The penalty chosen for each target.
    score : array, shape (n_targets,)
        R2 of the folds' tested samples, at that penalty: a little too good, being the best of those
        tried. 0 where a target does not vary.
    bands : array, shape (n_bands, n_targets), or None
        The weights chosen for each target, which sum to 1: the coefficients of a band are penalised
        by ``penalty / weight``.
    """

    penalty: Array
    score: Array
    bands: Array | None
    _design: Design = field(repr=False)
    _solution: Array = field(repr=False)
    _level: Array = field(repr=False)

    def predict(self, x: ArrayLike, *, band: int | None = None) -> Array:
        """Return what the features predict.

        Parameters
        ----------
        x : array, shape (n_samples, n_features)
            Features of other samples.
        band : int, optional
            Return the part that this band adds; the parts and the targets' means are the whole.

        Returns
        -------
        array, shape (n_samples, n_targets)
            Predictions.

        Raises
        ------
        NisslError
            Other features than those of the fit, or values that are not finite.
        """
        design, new = self._design, _matrix("x", x)
        if new.shape[1] != len(design.mean):
            raise NisslError(
                f"{new.shape[1]} features are given, but {len(design.mean)} were fitted", where="x"
            )
        if band is not None and not 0 <= band < design.n_bands:
            raise NisslError(f"there are {design.n_bands} bands, and no {band}", where="band")
        out = np.zeros((len(new), len(self.penalty)), self._solution.dtype)
        out += self._level.astype(out.dtype) if band is None else 0
        for b in range(design.n_bands) if band is None else [band]:
            solution = self._solution if design.wide else self._solution[design.band == b]
            if design.wide and self.bands is not None:
                solution = solution * self.bands[b].astype(out.dtype)
            out += design.part(new, b).astype(out.dtype) @ solution
        return out

    def coefficients(self, targets: Any = slice(None)) -> Array:
        """Return the coefficients of some targets; of all they may need much memory.

        Parameters
        ----------
        targets : slice or array of int
            Which targets.

        Returns
        -------
        array, shape (n_features, n_targets)
            One for each feature, in the features' own units.
        """
        design, solution = self._design, self._solution[:, targets]
        if not design.wide:
            return solution
        out = np.empty((len(design.mean), solution.shape[1]), solution.dtype)
        for first in range(0, len(out), 4096):
            c = slice(first, first + 4096)
            out[c] = (design.x[:, c] - design.mean[c]).T.astype(out.dtype) @ solution
            if self.bands is not None:
                out[c] *= self.bands[design.band[c]][:, targets]
        return out


def delayed(x: ArrayLike, delays: ArrayLike, *, groups: ArrayLike | None = None) -> Array:
    """Return lagged copies of features side by side, each within its own run.

    Parameters
    ----------
    x : array, shape (n_samples, n_features)
        Features, samples of a run in order of time, equally far apart.
    delays : sequence of int
        How many samples each copy is late: 0 is now, negative is before its time.
    groups : array, shape (n_samples,), optional
        The run of each sample; None: one run.

    Returns
    -------
    array, shape (n_samples, n_delays x n_features)
        All features at the first delay, then all at the next; 0 where a run has no such sample,
        which is the features' mean where they were centred. Labels of bands become
        ``np.tile(labels, n_delays)``.

    Raises
    ------
    NisslError
        Delays are not whole numbers, occur twice, or a value is not finite.

    Examples
    --------
    >>> delayed([[1], [2], [3], [4]], [0, 1], groups=["a", "a", "b", "b"]).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 3.0]]
    """
    features, lags = _matrix("x", x), np.asarray(delays)
    if lags.ndim != 1 or lags.dtype.kind not in "iu" or not 0 < len(lags) == len(np.unique(lags)):
        raise NisslError("delays are not different whole numbers", where="delays", do="give [1, 2]")
    n = len(features)
    run = np.zeros(n, np.int64) if groups is None else codes(groups)
    if run.shape != (n,):
        raise NisslError(f"{len(run)} groups do not fit {n} samples", where="groups")
    order = np.argsort(run, kind="stable")
    out = np.zeros((n, len(lags), features.shape[1]), features.dtype)
    for k, lag in enumerate(lags.tolist()):
        to = np.arange(max(lag, 0), min(n + lag, n))
        to, of = order[to], order[to - lag]
        same = run[to] == run[of]
        out[to[same], k] = features[of[same]]
    return out.reshape(n, -1)


def _add_errors(
    lead: Array, u: Array, shrink: Array, of_y: tuple[Any, ...], errors: Array, power: Array
) -> None:
    """Add the squared errors of a fold at every penalty, and those of the training mean.

    Tested predictions are ``lead * shrink[:, penalty] @ u.T @ y``. Shrinkage factors of all
    penalties are combinations of few; so are predictions, and errors follow from products of these.
    """
    y, level, train, test = of_y
    work, turn = u.dtype, None
    if len(lead) > lead.shape[1]:  # more samples than directions
        turn, lead = np.linalg.qr(lead)
        turn = turn.astype(work)
    basis, scale, mixed = np.linalg.svd(shrink, full_matrices=False)
    kept = int((scale > COMPRESSED * scale.max(initial=0.0)).sum())
    mixed = scale[:kept, None] * mixed[:kept]
    stacked = lead.T[:, None].astype(work) * basis[:, :kept, None].astype(work)
    stacked = stacked.reshape(u.shape[1], kept * len(lead))
    step = int(np.clip(2**20 // max(stacked.shape[1], 1), 64, 2048))
    for t in (slice(first, first + step) for first in range(0, y.shape[1], step)):
        block = np.subtract(y[:, t], level[t], dtype=work)
        trained = block[train]
        tested = np.ascontiguousarray((block[test] - trained.mean(axis=0, dtype=float)).T, work)
        square = np.einsum("ts,ts->t", tested, tested, dtype=float)
        tested = tested if turn is None else tested @ turn
        parts = ((u.T @ trained).T @ stacked).reshape(len(tested), kept, len(lead))
        gram = (parts @ parts.transpose(0, 2, 1)).astype(float)
        cross = (parts @ tested[:, :, None])[:, :, 0].astype(float)
        fitted = ((gram @ mixed) * mixed).sum(axis=1) - 2 * cross @ mixed
        power[t] += square
        errors[:, t] += np.maximum(square[:, None] + fitted, 0).T


def _simplex(n_bands: int, n_draws: int, seed: int) -> Array:
    """Return weights that sum to 1: equal ones, each band alone, and draws, sparse and even."""
    equal = np.full((1, n_bands), 1 / n_bands)
    if n_bands == 1:
        return equal
    rng = np.random.default_rng(seed)
    drawn = [rng.dirichlet(np.full(n_bands, (0.1, 1.0)[i % 2])) for i in range(n_draws)]
    return np.concatenate([equal, np.eye(n_bands), np.reshape(drawn, (-1, n_bands))])


def _matrix(name: str, given: ArrayLike) -> Array:
    """Return a finite matrix in float32 or float64."""
    values = np.asarray(given)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf":
        raise NisslError(
            f"{name} holds {values.dtype} in shape {values.shape}",
            where=name,
            do="give numbers of shape (n_samples, n_columns)",
        )
    kept = values.astype(np.result_type(values, np.float32), copy=False)
    if not np.isfinite(kept).all():
        raise NisslError(f"{name} holds NaN or infinity", where=name, do="leave those out")
    return kept
