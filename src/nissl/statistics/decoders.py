"""Decoders: items and their labels, folds, ridge for many labellings at once, and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.statistics.decoding_null import decoding_null
from nissl.statistics.design import column_of
from nissl.statistics.folds import Fold, folds
from nissl.statistics.nulls import codes
from nissl.statistics.ridge import ridge
from nissl.statistics.test import Test

__all__ = ["KINDS", "Items", "decoded", "finite", "information_rate", "ranks", "score_of"]

Array = NDArray[np.floating[Any]]
# What is decoded, and the score of it.
KINDS = {"classes": "accuracy", "numbers": "correlation", "angles": "cosine", "vectors": "rank"}


@dataclass(frozen=True)
class Items:
    """What is decoded: activity, labels and folds of items (samples, or trials of several).

    Parameters
    ----------
    x : array, shape (n_items, n_units) or (n_items, n_units, n_times)
        Activity.
    y : array, shape (n_items,) or (n_items, n_dimensions)
        Labels.
    kind : str
        What they are: of `KINDS`.
    run : array, shape (n_items,), or None
        The run of each, where folds are runs.
    parts : list of (train, test)
        The folds.
    fold : array of int, shape (n_items,)
        That of each item.

    Examples
    --------
    >>> items = Items.of(np.eye(6), [0, 1, 2] * 2, folds=[0, 0, 0, 1, 1, 1])
    >>> items.kind, items.fold.tolist(), items.score(items.y)
    ('classes', [0, 0, 0, 1, 1, 1], 1.0)
    """

    x: Array
    y: NDArray[Any]
    kind: str
    run: NDArray[Any] | None
    parts: list[Fold]
    fold: NDArray[np.int64]

    @classmethod
    def of(
        cls, rec: Any, labels: Any, *, folds: Any, items: str | None = None, kind: str | None = None
    ) -> Items:
        """Read items from what a user gives; strings name sample coordinates of a Recording.

        Parameters
        ----------
        rec : Recording, or array, shape (n_samples, n_units)
            Activity.
        labels : str, or array, shape (n_samples,) or (n_samples, n_dimensions)
            Their labels.
        folds : int, str or array, shape (n_samples,)
            A number of blocks of neighbours, or the run of each sample.
        items : str, optional
            The coordinate whose values are items.
        kind : str, optional
            Vectors have several dimensions, numbers fractions; other labels are classes.

        Returns
        -------
        Items
            In order of time.
        """
        x, y, run = _read(rec, labels, folds, items)
        if kind is None:
            fractions = y.dtype.kind == "f" and (y != np.round(y)).any()
            kind = "vectors" if y.ndim == 2 else "numbers" if fractions else "classes"
        require_known("kind", kind, list(KINDS))
        words = y.dtype.kind not in "fiu"
        if (kind == "vectors") != (y.ndim == 2) or (kind != "classes" and words):
            raise NisslError(f"labels {y.shape} of type {y.dtype} are no {kind}", where="kind")
        return cls(x, y, kind, run, *_folds(run, folds, y, kind))

    def orders(self, test: Test | None, usual: int) -> tuple[NDArray[np.int64], str]:
        """Return the labelling itself, and draws of it moved inside folds; and the null's name."""
        same = np.arange(len(self.y))[None]
        if test is None:
            return same, "none"
        flat, n = self.x.reshape(len(self.x), -1), test.draws(usual)
        moved, null = decoding_null(self.y, self.fold, n, values=flat, seed=test.seed)
        return np.concatenate([same, moved]), null

    def inner(self, train: NDArray[np.int64]) -> Any:
        """Return the folds of what is fitted, by which its penalty is chosen."""
        if self.run is not None:
            return self.run[train]
        classes, y = self.kind == "classes", self.y[train]
        n = min(5, int(np.bincount(codes(y)).min())) if classes else 5
        return _folds(None, n, y, self.kind)[1] if n > 1 else 5

    def empty(self, *shape: int) -> NDArray[Any]:
        """Return an array for predictions of each item."""
        dtype = self.y.dtype if self.kind == "classes" else float
        return np.empty((*shape, *self.y.shape), dtype)

    def score(self, predicted: NDArray[Any], order: Any = slice(None)) -> float:
        """Return the score of predictions of labels in some order."""
        return score_of(self.y[order], predicted, self.kind, self.fold)


def _read(
    rec: Any, labels: Any, given: Any, items: str | None
) -> tuple[Array, NDArray[Any], NDArray[Any] | None]:
    """Return activity, the label and the run of each item."""
    named = rec if hasattr(rec, "coords") else None
    x = finite(rec, "activity")
    if x.ndim != 2:
        raise NisslError(f"activity has shape {x.shape}", do="give (n_samples, n_units)")
    y = labels if isinstance(labels, str) else np.asarray(labels)
    if isinstance(y, str) or y.ndim != 2:
        y = column_of("labels", y, len(x), named)
    whole = isinstance(given, (int, np.integer))
    run = None if whole else column_of("folds", given, len(x), named)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise NisslError("some samples have no label", where="labels", do="leave them out: select")
    if items is not None:
        item = column_of("items", items, len(x), named)
        order = np.argsort(codes(item), kind="stable")
        length = np.bincount(codes(item))
        if np.ptp(length):
            raise NisslError(f"items have {length.min()} to {length.max()} samples", where="items")
        first = order.reshape(-1, length[0])
        if not all((c[first] == c[first][:, :1]).all() for c in (y, run) if c is not None):
            raise NisslError("an item has several labels or runs", where="items")
        first = first[np.argsort(first[:, 0])]
        x, y = x[first].transpose(0, 2, 1), y[first[:, 0]]
        run = None if run is None else run[first[:, 0]]
    if len(y) != len(x) or (y == y[0]).all():
        raise NisslError(f"{len(y)} labels are all the same, or not one for each of {len(x)}")
    return x, y, run


def finite(given: Any, name: str) -> Array:
    """Return numbers in float64; words, and what is not finite, are refused."""
    values = np.asarray(getattr(given, "values", given))
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise NisslError(f"{name}: not all finite numbers", do="leave these samples out")
    return values.astype(np.float64)


def _folds(
    run: NDArray[Any] | None, given: Any, y: NDArray[Any], kind: str
) -> tuple[list[Fold], NDArray[np.int64]]:
    """Return folds by run, or as many blocks as were asked for; and that of each item.

    Blocks are neighbours among the items of one class, so that classes that come sorted are in
    every fold. Labels are to be moved inside folds: moved across them, classes become unequal in
    what is fitted, and rarer there where they are frequent in what is tested: chance is too low.
    """
    if run is None and kind == "classes":
        code = codes(y)
        if not 2 <= int(given) <= np.bincount(code).min():
            raise TooFewSamples(
                f"{int(given)} folds of a class of {np.bincount(code).min()} samples",
                where="folds",
                do="give two folds or more, and no more than the rarest class has samples",
            )
        place = np.empty(len(y), dtype=np.int64)
        for name in range(code.max() + 1):
            place[code == name] = (
                np.arange((code == name).sum()) * int(given) // (code == name).sum()
            )
        run = place
    parts = folds(n_samples=len(y), n=int(given)) if run is None else folds(run)
    fold = np.empty(len(y), dtype=np.int64)
    for number, (_, rest) in enumerate(parts):
        fold[rest] = number
    return parts, fold


def decoded(
    model: Any, x: Array, y: NDArray[Any], train: Any, rest: Any, kind: str, inner: Any = None
) -> NDArray[Any]:
    """Return what a model that is fitted to each of several labellings predicts of other items.

    Parameters
    ----------
    model : "ridge", or estimator
        Ridge of all labellings at once; or anything with ``fit`` and ``predict``, which is cloned.
    x : array, shape (n_items, n_units, ...)
        Activity; ridge takes it flat, standardised by what it is fitted to.
    y : array, shape (n_labellings, n_items, ...)
        Labels.
    train, rest : array of int
        Items that are fitted, and predicted.
    kind : str
        Of `KINDS`.
    inner : int or array, optional
        Folds by which ridge chooses its penalty.

    Returns
    -------
    array, shape (n_labellings, n_rest, ...)
        Predicted labels.
    """
    if not isinstance(model, str):
        return _estimated(model, x, y, train, rest, kind)
    flat = x.reshape(len(x), -1)
    mean, spread = flat[train].mean(0), flat[train].std(0)
    flat = (flat - mean) / np.where(spread > 0, spread, 1)
    names = np.unique(y)
    if kind == "classes":
        wanted = (y[:, train, None] == names).astype(float)
    elif kind == "angles":
        wanted = np.stack([np.cos(y[:, train]), np.sin(y[:, train])], -1)
    else:
        wanted = y[:, train].reshape(len(y), len(train), -1).astype(float)
    targets = wanted.transpose(1, 0, 2).reshape(len(train), -1)
    inner = inner if isinstance(inner, int) or len(np.unique(inner)) > 1 else 5
    made = ridge(flat[train], targets, folds=inner, progress=False).predict(flat[rest])
    each = made.reshape(len(rest), len(y), -1).transpose(1, 0, 2)
    if kind == "classes":
        return np.asarray(names[each.argmax(-1)])
    if kind == "angles":
        return np.asarray(np.arctan2(each[..., 1], each[..., 0]))
    return np.asarray(each if kind == "vectors" else each[..., 0])


def _estimated(
    model: Any, x: Array, y: NDArray[Any], train: Any, rest: Any, kind: str
) -> NDArray[Any]:
    """Return what an estimator predicts for each labelling."""
    from sklearn.base import clone

    def predicted(labels: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(clone(model).fit(x[train], labels[train]).predict(x[rest]))

    if kind == "angles":
        sides = [[predicted(turn(row)) for row in y] for turn in (np.sin, np.cos)]
        return np.asarray(np.arctan2(*map(np.asarray, sides)))
    return np.asarray([predicted(row) for row in y])


def score_of(label: ArrayLike, predicted: ArrayLike, kind: str, fold: Any = None) -> float:
    """Return the mean accuracy over classes, the correlation, or the mean cosine of errors.

    The correlation is within folds: across them, what is left out has another mean than the rest.
    """
    y, made = np.asarray(label), np.asarray(predicted)
    if kind == "classes":
        return float(np.mean([(made[y == name] == name).mean() for name in np.unique(y)]))
    if kind == "angles":
        return float(np.cos(y - made).mean())
    if kind == "vectors":
        return float(ranks(y, made, fold).mean())
    groups = np.zeros(len(y), np.int64) if fold is None else fold
    n = np.bincount(groups)
    y, made = (z - (np.bincount(groups, z) / n)[groups] for z in (y, made))
    size = np.linalg.norm(y) * np.linalg.norm(made)
    return float(y @ made / size) if size > 0 else 0.0


def ranks(y: Array, predicted: Array, fold: NDArray[np.int64]) -> Array:
    """Return, for each sample, the share of the fold's others that are less like the predicted."""
    ranks = np.full(len(y), np.nan)
    for f in np.unique(fold):
        rows = np.flatnonzero(fold == f)
        a, b = (z[rows] - z[rows].mean(1, keepdims=True) for z in (predicted, y))
        a, b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-30) for z in (a, b))
        alike = a @ b.T
        own = np.diag(alike)[:, None]
        below = (alike < own).sum(1) + ((alike == own).sum(1) - 1) / 2
        ranks[rows] = below / max(len(rows) - 1, 1)
    return ranks


def information_rate(p: float, n: int) -> float:
    """Return the bits of a reading of n classes of which a share p is right; 0 at chance.

    Errors and classes are taken as equally frequent: Wolpaw et al. 2002, Clin. Neurophysiol. 113.

    Examples
    --------
    >>> information_rate(1.0, 4), information_rate(0.25, 4)
    (2.0, 0.0)
    """
    p = max(p, 1 / n)
    wrong = (1 - p) * np.log2((1 - p) / (n - 1)) if p < 1 else 0.0
    return float(np.log2(n) + p * np.log2(p) + wrong)
