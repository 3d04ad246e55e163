"""Linear probes, cross-validated over groups of samples, with control tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.progress import progress_bar
from nissl.statistics.finding import Finding
from nissl.statistics.folds import folds
from nissl.statistics.nulls import codes
from nissl.statistics.pvalues import against_null
from nissl.statistics.test import Test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["control_labels", "cross_validate", "probe"]

Array = NDArray[np.floating[Any]]
KINDS = ("logistic", "ridge")


def probe(
    values: Recording | ArrayLike,
    labels: str | ArrayLike,
    *,
    groups: str | ArrayLike,
    types: str | ArrayLike | None = None,
    kind: str = "logistic",
    penalty: float = 1.0,
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Ask how well labels can be read from activity, and how much better than a control task.

    A control task gives every type (word, stimulus) one label at random, from the labels' own
    shares: what a probe reaches on it, it has memorised. The accuracy above it is the selectivity.

    Parameters
    ----------
    values : Recording or array, shape (n_samples, n_units)
        Activity; each site of a Recording is probed on its own.
    labels : str or array, shape (n_samples,)
        A sample coordinate, or the labels, discrete.
    groups : str or array, shape (n_samples,)
        No group is in both the fitted and the tested part, in each of five folds.
    types : str or array, shape (n_samples,), optional
        What a control label belongs to; needed where there is a test. Types must recur across
        groups, else nothing can be memorised and the control is chance.
    kind : {"logistic", "ridge"}
        Logistic regression or ridge classification, on standardised units.
    penalty : float
        Strength of the squared penalty.
    test : Test or None
        Draws (19 control tasks), tail, correction over sites, seed of folds and control tasks.
        None: no control, and no p-values.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each site (``unit`` is the site): ``accuracy``, ``effect`` (the selectivity),
        ``null_mean`` (control accuracy), p, q, and ``majority`` (the share of the commonest label).

    Raises
    ------
    TooFewSamples
        There are fewer groups than folds.
    NisslError
        There is a single label or no type, or activity is not finite.

    Notes
    -----
    Source: Hewitt and Liang 2019, "Designing and interpreting probes with control tasks", EMNLP.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> word = rng.integers(0, 10, 200)
    >>> values = np.stack([word % 2 + 0.1 * rng.standard_normal(200), rng.standard_normal(200)], 1)
    >>> found = probe(values, word % 2, groups=np.arange(200) // 10, types=word, kind="ridge",
    ...               test=Test(n_permutations=4), progress=False)
    >>> bool(found.table["accuracy"][0] > 0.95 > found.table["null_mean"][0])
    True
    """
    from nissl.statistics.design import column_of

    require_known("kind", kind, KINDS)
    rec = values if hasattr(values, "coords") else None
    x = np.asarray(getattr(values, "values", values), dtype=float)
    if x.ndim != 2:
        raise NisslError(f"values have shape {x.shape}", do="give (n_samples, n_units)")
    if not np.isfinite(x).all():
        raise NisslError("activity holds NaN or infinity", do="leave those samples or units out")
    y = codes(column_of("labels", labels, len(x), rec))
    group = column_of("groups", groups, len(x), rec)
    sites = _sites(rec, x.shape[1])
    seed = 0 if test is None else test.seed
    said: dict[str, str | int | float] = {
        "kind": kind,
        "penalty": penalty,
        "seed": seed,
        "n_groups": len(np.unique(group)),
    }
    tasks = [y]
    if test is not None:
        test.require(null=(None,))
        if types is None:
            raise NisslError("a control task needs types", do="give types=, or test=None")
        words = codes(column_of("types", types, len(x), rec))
        tasks += [control_labels(y, words, seed=seed + 1 + i) for i in range(test.draws(19))]
    accuracy = np.empty((len(tasks), len(sites)))
    total = len(tasks) * len(sites)
    with progress_bar("Probing", total=total, unit="fits", progress=progress) as advance:
        for s, members in enumerate(sites.values()):
            for t, task in enumerate(tasks):
                accuracy[t, s] = cross_validate(
                    x[:, members],
                    task,
                    groups=group,
                    kind=kind,
                    penalty=penalty,
                    seed=seed,
                )
                advance(1)
    majority = np.bincount(y).max() / len(y)
    if test is None:
        import pandas as pd

        columns = {"accuracy": accuracy[0], "effect": accuracy[0] - majority, "majority": majority}
        table = pd.DataFrame({"unit": list(sites), **columns})
        return Finding(table, "probe", "none", said, "accuracy")
    found = against_null(
        accuracy[0],
        accuracy[1:],
        units=list(sites),
        score="accuracy",
        method="probe",
        null="control tasks",
        alternative="greater",
        test=test,
    )
    return found.assign(said, majority=majority)


def cross_validate(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike,
    kind: str = "logistic",
    penalty: float = 1.0,
    n_folds: int = 5,
    seed: int = 0,
) -> float:
    """Return the accuracy of a linear probe on groups it was not fitted to.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity.
    labels : array, shape (n_samples,)
        Discrete labels.
    groups : array, shape (n_samples,)
        No group is in both parts.
    kind : {"logistic", "ridge"}
        Which probe.
    penalty : float
        Strength of the squared penalty.
    n_folds : int
        Parts the groups are divided into, at random.
    seed : int
        The seed.

    Returns
    -------
    float
        The share of samples whose label was predicted.

    Raises
    ------
    TooFewSamples
        There are fewer groups than folds, or a fold without two labels to learn from.

    Examples
    --------
    >>> values = np.repeat([[-1.0], [1.0]], 10, axis=0)
    >>> cross_validate(values, values[:, 0] > 0, groups=np.arange(20), kind="ridge")
    1.0
    """
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    require_known("kind", kind, KINDS)
    x, y, group = np.asarray(values, dtype=float), codes(labels), codes(groups)
    right = 0
    for train, test in folds(group, n=n_folds, seed=seed):
        if len(np.unique(y[train])) < 2:
            raise TooFewSamples(
                "a fold leaves only one label to learn from",
                do="use more folds, or groups that hold more than one label",
            )
        mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
        scaled = (x - mean) / np.where(deviation > 0, deviation, 1.0)
        if kind == "logistic":
            model = LogisticRegression(C=1 / penalty, max_iter=1000)
        else:
            model = RidgeClassifier(alpha=penalty)
        right += int((model.fit(scaled[train], y[train]).predict(scaled[test]) == y[test]).sum())
    return right / len(y)


def control_labels(labels: ArrayLike, types: ArrayLike, *, seed: int = 0) -> NDArray[np.int64]:
    """Give every type one label at random, from the labels' own shares.

    Parameters
    ----------
    labels : array, shape (n_samples,)
        The real labels.
    types : array, shape (n_samples,)
        The type of every sample.
    seed : int
        The seed.

    Returns
    -------
    array of int64, shape (n_samples,)
        Codes of the sorted labels; equal for samples of one type; at least two of them.

    Raises
    ------
    NisslError
        There is one type, or one label.

    Examples
    --------
    >>> drawn = control_labels([0, 1, 0, 1], ["a", "b", "a", "b"])
    >>> bool(drawn[0] == drawn[2] != drawn[1] == drawn[3])
    True
    """
    y, t = codes(labels), codes(types)
    shares = np.bincount(y) / len(y)
    if t.max() < 1 or len(shares) < 2:
        raise NisslError("a control task needs two types and two labels", do="give others")
    rng = np.random.default_rng(seed)
    while True:
        of_type = rng.choice(len(shares), size=t.max() + 1, p=shares)
        if len(np.unique(of_type)) > 1:
            return np.asarray(of_type[t], dtype=np.int64)


def _sites(rec: Any, n_units: int) -> dict[str, NDArray[np.int64]]:
    """Return the units of each site, in the order of the sites."""
    if rec is None or "site" not in rec.coords:
        return {"all units": np.arange(n_units)}
    site = np.asarray(rec["site"].values).astype(str)
    return {name: np.flatnonzero(site == name) for name in dict.fromkeys(site.tolist())}
