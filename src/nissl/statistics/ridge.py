"""Ridge regression of many targets: a penalty for each, chosen by cross-validation, and bands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics.folds import Fold, as_folds
from nissl.statistics.nulls import codes

__all__ = ["Ridge", "delayed", "ridge"]

Array = NDArray[np.floating[Any]]
Index = NDArray[np.int64]
ROWS = 4096  # samples or features taken to float64 at a time
SPREAD = 1e-9  # a smaller share of the largest eigenvalue is lost in a Gram matrix
COMPRESSED = 1e-6  # what shrinkage factors may lose where folds are scored


@dataclass(frozen=True, eq=False)
class Ridge:
    """A ridge regression of every target.

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

    Notes
    -----
    Made by `ridge`. The features are kept as given, not copied, where they outnumber the samples.
    """

    penalty: Array
    score: Array
    bands: Array | None
    _design: _Design = field(repr=False)
    _solution: Array = field(repr=False)
    _level: Array = field(repr=False)

    def predict(self, x: ArrayLike, *, band: int | None = None) -> Array:
        """Return what the features predict.

        Parameters
        ----------
        x : array, shape (n_samples, n_features)
            Features of other samples.
        band : int, optional
            Return the part that this band of features adds; the parts and the targets' means sum
            to the whole.

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
        if band is not None and not 0 <= band < len(design.bands):
            raise NisslError(f"there are {len(design.bands)} bands, and no {band}", where="band")
        out = np.zeros((len(new), len(self.penalty)), self._solution.dtype)
        if band is None:
            out += self._level.astype(out.dtype)
        for b, columns in enumerate(design.bands):
            if band is not None and b != band:
                continue
            if design.kernels is None:
                for rows, part in _centred(
                    new[:, columns], np.arange(len(new)), design.mean[columns]
                ):
                    out[rows] += part.astype(out.dtype) @ self._solution[columns]
            else:
                gram = _gram(new, design.x, columns, design.mean).astype(out.dtype)
                out += gram @ self._weighted(b, slice(None))
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
        design = self._design
        if design.kernels is None:
            return self._solution[:, targets]
        out = np.empty(
            (len(design.mean), self._solution[:, targets].shape[1]), self._solution.dtype
        )
        for b, columns in enumerate(design.bands):
            weighted = self._weighted(b, targets)
            for c in np.split(columns, range(ROWS, len(columns), ROWS)):
                out[c] = (design.x[:, c] - design.mean[c]).T.astype(out.dtype) @ weighted
        return out

    def _weighted(self, band: int, targets: Any) -> Array:
        """Return the solution for samples, times the weights of a band."""
        solution = self._solution[:, targets]
        if self.bands is None:
            return solution
        return np.asarray(solution * self.bands[band, targets].astype(solution.dtype))


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
        A number of blocks of neighbouring samples; the run of each sample, of which one at a time
        is tested; or what `nissl.statistics.folds` returns.
    penalties : array, optional
        The penalties to choose from, above 0. By default ten, from 1e-4 to 1e5 times the mean
        eigenvalue of the features' scatter matrix.
    bands : array of shape (n_features,), or list of arrays of columns, optional
        The band of each feature, or the columns of each band. Each band then has a weight of its
        own (banded ridge), chosen for each target among all equal, each band alone, and `n_draws`
        draws. Bands of labels are in the order of the sorted labels.
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
    decomposed once for all targets and penalties: the features' scatter matrix where features are
    no more than samples, the samples' Gram matrix where they are, the features themselves (SVD)
    where the smallest penalty would be lost in these. The errors of all penalties are taken from
    those of a few combinations, as many as shrinkage factors have independent ones to 1e-6. What is
    kept for a target is one number for each feature or sample, whichever are fewer. Decompositions
    and sums of squares are in float64, products of float32 arrays in float32.

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
    design = _Design(features, _columns(bands, features.shape[1]))
    chosen_from = design.usual_penalties() if penalties is None else np.asarray(penalties, float)
    if chosen_from.ndim != 1 or not len(chosen_from) or not (chosen_from > 0).all():
        raise NisslError("penalties are not numbers above 0", where="penalties", do="give a list")
    drawn = _simplex(len(design.bands), n_draws, seed)
    level = targets.mean(axis=0, dtype=float)
    varies = (targets != targets[0]).any(axis=0)
    score = np.full(targets.shape[1], -np.inf)
    choice, at = np.zeros((2, targets.shape[1]), dtype=np.int64)
    total = len(drawn) * len(made)
    with progress_bar("Ridge", total=total, unit="folds", progress=progress) as advance:
        for d, weights in enumerate(drawn):
            errors, power = np.zeros((len(chosen_from), len(level))), np.zeros(len(level))
            for train, test in made:
                values, u, back = design.decompose(weights, train, chosen_from.min(), work)
                left = design.apply(weights, train, test, back) / values
                shrink = values[:, None] / (values[:, None] + chosen_from)
                _add_errors(left, u, shrink, (targets, level, work), (train, test), errors, power)
                advance(1)
            best = errors.argmin(axis=0)
            r2 = 1 - errors[best, np.arange(len(best))] / np.where(varies, power, np.inf)
            better = r2 > score
            score[better], choice[better], at[better] = r2[better], d, best[better]
    every = np.arange(len(features))
    n_kept = len(level) and (len(every) if design.kernels is not None else features.shape[1])
    solution = np.zeros((n_kept, len(level)), work)
    for d in np.unique(choice):
        values, u, back = design.decompose(drawn[d], every, chosen_from.min(), work)
        u, back = u.astype(work), back.astype(work)
        for t in np.array_split(np.flatnonzero(choice == d), 1 + (choice == d).sum() // 1024):
            block = (targets[:, t] - level[t]).astype(work)
            below = (values[:, None] + chosen_from[at[t]]).astype(work)
            solution[:, t] = back @ ((u.T @ block) / below)
    weights_ = None if bands is None else drawn[choice].T
    score = np.where(varies, score, 0.0)
    return Ridge(chosen_from[at], score, weights_, design, solution, level)


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
    run = np.zeros(len(features), np.int64) if groups is None else codes(groups)
    if run.shape != (len(features),):
        raise NisslError(f"{len(run)} groups do not fit {len(features)} samples", where="groups")
    out = np.zeros((len(features), len(lags), features.shape[1]), features.dtype)
    for r in range(run.max() + 1):
        member = np.flatnonzero(run == r)
        for k, lag in enumerate(lags.tolist()):
            n = max(len(member) - abs(lag), 0)
            late, early = member[len(member) - n :], member[:n]
            to, of = (late, early) if lag >= 0 else (early, late)
            out[to, k] = features[of]
    return out.reshape(len(out), -1)


class _Design:
    """Features in bands, and the decompositions of their training samples."""

    def __init__(self, x: Array, bands: list[Index]):
        self.x, self.bands = x, bands
        self.mean = x.mean(axis=0, dtype=float)
        self.kernels: Array | None = None
        if x.shape[1] > len(x):
            self.kernels = np.stack([_gram(x, x, columns, self.mean) for columns in bands])
        else:
            self.scatter = self._products(np.arange(len(x)), self.mean)[0]

    def usual_penalties(self) -> Array:
        """Return ten penalties about the mean eigenvalue."""
        gram = self.scatter if self.kernels is None else self.kernels.sum(axis=0)
        mean = np.trace(gram) / len(self.bands) / min(self.x.shape)
        return np.asarray((mean if mean > 0 else 1.0) * 10.0 ** np.arange(-4, 6))

    def decompose(
        self, weights: Array, rows: Index, smallest: float, work: Any
    ) -> tuple[Array, Array, Array]:
        """Return eigenvalues, left vectors of the samples, and what makes a solution of these."""
        root = self._root(weights)
        if self.kernels is not None:
            gram = self._kernel(weights, rows)[np.ix_(rows, rows)]
        else:
            gram = np.asarray(self._scatter(rows) * root[:, None] * root)
        values, vectors = _eigh(gram)
        if smallest < SPREAD * values[-1]:
            whole = np.concatenate([part for _, part in self._scaled(rows, rows, root)])
            u, s, v = np.linalg.svd(whole, full_matrices=False)
            keep = s > s[0] * max(whole.shape) * np.finfo(float).eps
            u, s, v = u[:, keep], s[keep], v[keep]
            return s**2, u, u if self.kernels is not None else root[:, None] * v.T * s
        keep = values > max(values[-1], 0.0) * len(values) * np.finfo(float).eps
        values, vectors = values[keep], vectors[:, keep]
        if self.kernels is not None:
            return values, vectors, vectors
        s = np.sqrt(values)
        back, unit = root[:, None] * vectors * s, (vectors / s).astype(work)
        left = [part.astype(work, copy=False) @ unit for _, part in self._scaled(rows, rows, root)]
        return values, np.concatenate(left), back

    def apply(self, weights: Array, train: Index, test: Index, back: Array) -> Array:
        """Return the solutions `back` applied to tested samples, shape (n_test, n_directions)."""
        if self.kernels is not None:
            return np.asarray(self._kernel(weights, train)[np.ix_(test, train)] @ back)
        plain = np.ones(len(self.mean))
        return np.concatenate([part @ back for _, part in self._scaled(train, test, plain)])

    def _kernel(self, weights: Array, train: Index) -> Array:
        """Return the products of all samples about the mean of the trained ones."""
        gram = np.tensordot(weights, np.asarray(self.kernels), 1)
        level = gram[train].mean(axis=0)
        about = gram - level - level[:, None] + level[train].mean()
        if about.diagonal()[train].sum() < 1e-3 * gram.diagonal()[train].sum():  # digits are lost
            mean = self.x[train].mean(axis=0, dtype=float)
            parts = (_gram(self.x, self.x, columns, mean) for columns in self.bands)
            return np.asarray(sum(w * part for w, part in zip(weights, parts, strict=True)))
        return np.asarray(about)

    def _scatter(self, rows: Index) -> Array:
        """Return the products of features about the means of some samples."""
        others = np.setdiff1d(np.arange(len(self.x)), rows)
        if len(rows) + len(others) == len(self.x):  # from those of all, where no digits are lost
            gram, total = self._products(others, self.mean)
            gram = self.scatter - gram - np.outer(total, total) / len(rows)
            if (gram.diagonal() >= 1e-3 * self.scatter.diagonal()).all():
                return np.asarray(gram)
        return self._products(rows, self.x[rows].mean(axis=0, dtype=float))[0]

    def _products(self, rows: Index, mean: Array) -> tuple[Array, Array]:
        """Return the products of features less a mean over some samples, and their sums."""
        gram, total = np.zeros((len(mean), len(mean))), np.zeros(len(mean))
        for _, part in _centred(self.x, rows, mean):
            gram += part.T @ part
            total += part.sum(axis=0)
        return gram, total

    def _root(self, weights: Array) -> Array:
        """Return the square root of the weight of each feature."""
        root = np.empty(len(self.mean))
        for columns, weight in zip(self.bands, weights, strict=True):
            root[columns] = np.sqrt(weight)
        return root

    def _scaled(self, train: Index, rows: Index, root: Array) -> Iterator[tuple[Index, Array]]:
        """Yield some rows about the mean of the trained ones, times the roots of weights."""
        mean = self.mean if len(train) == len(self.x) else self.x[train].mean(axis=0, dtype=float)
        for some, part in _centred(self.x, rows, mean):
            yield some, part if (root == 1).all() else part * root


def _add_errors(
    left: Array,
    u: Array,
    shrink: Array,
    targets: tuple[Array, Array, Any],
    fold: Fold,
    errors: Array,
    power: Array,
) -> None:
    """Add the squared errors of a fold at every penalty, and those of the training mean.

    Tested predictions are ``left * shrink[:, penalty] @ u.T @ y``. Shrinkage factors of all
    penalties are combinations of few; so are predictions, and errors follow from products of these.
    """
    (y, level, work), (train, test) = targets, fold
    turn = None
    if len(left) > left.shape[1]:  # more samples than directions
        turn, left = np.linalg.qr(left)
        turn = turn.astype(work)
    basis, scale, mixed = np.linalg.svd(shrink, full_matrices=False)
    kept = int((scale > COMPRESSED * scale.max(initial=0.0)).sum())
    mixed = scale[:kept, None] * mixed[:kept]
    stacked = np.concatenate([(left * basis[:, j]).T for j in range(kept)] or [left.T], axis=1)
    stacked, u = stacked.astype(work), np.ascontiguousarray(u, dtype=work)
    step = int(np.clip(2**20 // max(stacked.shape[1], 1), 64, 2048))
    for first in range(0, y.shape[1], step):
        t = slice(first, first + step)
        block = (y[:, t] - level[t]).astype(work)
        trained = block[train]
        tested = np.ascontiguousarray((block[test] - trained.mean(axis=0, dtype=float)).T, work)
        square = np.einsum("ts,ts->t", tested, tested, dtype=float)
        power[t] += square
        if not kept:
            errors[:, t] += square
            continue
        parts = ((u.T @ trained).T @ stacked).reshape(len(tested), kept, -1)
        tested = tested if turn is None else tested @ turn
        gram = (parts @ parts.transpose(0, 2, 1)).astype(float)
        cross = (parts @ tested[:, :, None])[:, :, 0].astype(float)
        fitted = ((gram @ mixed) * mixed).sum(axis=1) - 2 * cross @ mixed
        errors[:, t] += np.maximum(square[:, None] + fitted, 0).T


def _eigh(gram: Array) -> tuple[Array, Array]:
    """Return eigenvalues, increasing, and eigenvectors."""
    from scipy.linalg import eigh

    values, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    return values, vectors


def _centred(x: Array, rows: Index, mean: Array) -> Iterator[tuple[Index, Array]]:
    """Yield rows less the mean in float64, a few at a time."""
    for some in np.split(rows, range(ROWS, len(rows), ROWS)):
        yield some, x[some] - mean


def _gram(a: Array, b: Array, columns: Index, mean: Array) -> Array:
    """Return the products of samples over some features, less their mean, in float64."""
    out = np.zeros((len(a), len(b)))
    for c in np.split(columns, range(ROWS, len(columns), ROWS)):
        left = a[:, c] - mean[c]
        out += left @ (left if b is a else b[:, c] - mean[c]).T
    return out


def _simplex(n_bands: int, n_draws: int, seed: int) -> Array:
    """Return weights that sum to 1: equal ones, each band alone, and draws, sparse and even."""
    equal = np.full((1, n_bands), 1 / n_bands)
    if n_bands == 1:
        return equal
    rng = np.random.default_rng(seed)
    drawn = [rng.dirichlet(np.full(n_bands, (0.1, 1.0)[i % 2])) for i in range(n_draws)]
    return np.concatenate([equal, np.eye(n_bands), np.reshape(drawn, (-1, n_bands))])


def _columns(bands: Any, n_features: int) -> list[Index]:
    """Return the columns of each band."""
    if bands is None:
        return [np.arange(n_features)]
    if len(bands) and all(np.ndim(b) == 1 and not isinstance(b, str) for b in bands):
        made = [np.asarray(b) for b in bands]
    else:
        band = codes(bands)
        made = [np.flatnonzero(band == b) for b in range(band.max(initial=-1) + 1)]
    whole = np.concatenate(made) if made else np.empty(0)
    if not np.array_equal(np.sort(whole), np.arange(n_features)):
        raise NisslError(
            "a feature is not in exactly one band", where="bands", do="give each feature one band"
        )
    return made


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
