"""Linear probes, cross-validated by block, with control tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import codes
from nissl.statistics.pvalues import against_null, known_option

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["control_labels", "cross_validate", "probe"]

Array = NDArray[np.floating[Any]]
KINDS = ("logistic", "ridge")


def probe(
    values: Recording | ArrayLike,
    labels: str | ArrayLike,
    *,
    block: str | ArrayLike,
    types: str | ArrayLike | None,
    kind: str = "logistic",
    penalty: float = 1.0,
    n_folds: int = 5,
    n_controls: int = 19,
    correction: str | None = "max",
    seed: int = 0,
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
    block : str or array, shape (n_samples,)
        No block is in both the fitted and the tested part.
    types : str or array, shape (n_samples,), or None
        What a control label belongs to. Types must recur across blocks, else nothing can be
        memorised and the control is chance. None: no control, and no p-values.
    kind : {"logistic", "ridge"}
        Logistic regression or ridge classification, on standardised units.
    penalty : float
        Strength of the squared penalty.
    n_folds : int
        Parts the blocks are dealt into.
    n_controls : int
        Control tasks; p cannot be below 1 / (n_controls + 1).
    correction : {"max", "bh", "bonferroni"} or None
        Over sites.
    seed : int
        The seed of folds and control tasks.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each site (``unit`` is the site): ``accuracy``, ``effect`` (the selectivity),
        ``null_mean`` (control accuracy), p, q, and ``majority`` (the share of the commonest label).

    Raises
    ------
    NisslError
        Fewer blocks than folds, a single label, or activity that is not finite.

    Notes
    -----
    Source: Hewitt and Liang 2019, "Designing and interpreting probes with control tasks", EMNLP.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> word = rng.integers(0, 10, 200)
    >>> values = np.stack([word % 2 + 0.1 * rng.standard_normal(200), rng.standard_normal(200)], 1)
    >>> found = probe(values, word % 2, block=np.arange(200) // 10, types=word, kind="ridge",
    ...               n_controls=4, progress=False)
    >>> bool(found.table["accuracy"][0] > 0.95 > found.table["null_mean"][0])
    True
    """
    from nissl.statistics.design import column_of

    known_option("kind", kind, KINDS)
    rec = values if hasattr(values, "coords") else None
    x = np.asarray(getattr(values, "values", values), dtype=float)
    if x.ndim != 2:
        raise NisslError(f"values have shape {x.shape}", do="give (n_samples, n_units)")
    if not np.isfinite(x).all():
        raise NisslError("activity holds NaN or infinity", do="leave those samples or units out")
    y = codes(column_of("labels", labels, len(x), rec))
    b = column_of("block", block, len(x), rec)
    words = None if types is None else codes(column_of("types", types, len(x), rec))
    sites = _sites(rec, x.shape[1])
    said: dict[str, str | int | float] = {
        "kind": kind,
        "penalty": penalty,
        "n_folds": n_folds,
        "seed": seed,
        "n_blocks": len(np.unique(b)),
    }
    tasks = [y]
    if words is not None:
        tasks += [control_labels(y, words, seed=seed + 1 + i) for i in range(n_controls)]
    accuracy = np.empty((len(tasks), len(sites)))
    total = len(tasks) * len(sites)
    with progress_bar("Probing", total=total, unit="fits", progress=progress) as advance:
        for s, members in enumerate(sites.values()):
            for t, task in enumerate(tasks):
                accuracy[t, s] = cross_validate(
                    x[:, members],
                    task,
                    block=b,
                    kind=kind,
                    penalty=penalty,
                    n_folds=n_folds,
                    seed=seed,
                )
                advance(1)
    majority = np.bincount(y).max() / len(y)
    if words is None:
        import pandas as pd

        table = pd.DataFrame(
            {"unit": list(sites), "accuracy": accuracy[0], "effect": accuracy[0] - majority}
        )
        table["majority"] = majority
        return Finding(table, "probe", "none", said, "accuracy")
    found = against_null(
        accuracy[0],
        accuracy[1:],
        units=list(sites),
        score="accuracy",
        method="probe",
        null=f"ControlTask(n_controls={n_controls})",
        alternative="greater",
        correction=correction,
    )
    table = found.table.assign(majority=majority)
    return Finding(table, "probe", found.null, {**found.provenance, **said}, "accuracy")


def cross_validate(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    block: ArrayLike,
    kind: str = "logistic",
    penalty: float = 1.0,
    n_folds: int = 5,
    seed: int = 0,
) -> float:
    """Return the accuracy of a linear probe on blocks it was not fitted to.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity.
    labels : array, shape (n_samples,)
        Discrete labels.
    block : array, shape (n_samples,)
        No block is in both parts.
    kind : {"logistic", "ridge"}
        Which probe.
    penalty : float
        Strength of the squared penalty.
    n_folds : int
        Parts the blocks are dealt into, at random.
    seed : int
        The seed.

    Returns
    -------
    float
        The share of samples whose label was predicted.

    Raises
    ------
    NisslError
        Fewer blocks than folds, or a fold without two labels to learn from.

    Examples
    --------
    >>> values = np.repeat([[-1.0], [1.0]], 10, axis=0)
    >>> cross_validate(values, values[:, 0] > 0, block=np.arange(20), kind="ridge")
    1.0
    """
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    known_option("kind", kind, KINDS)
    x, y, b = np.asarray(values, dtype=float), codes(labels), codes(block)
    n_blocks = int(b.max()) + 1
    if n_blocks < n_folds or n_folds < 2:
        raise NisslError(
            f"{n_blocks} blocks cannot be dealt into {n_folds} folds", do="use fewer folds"
        )
    fold = (np.random.default_rng(seed).permutation(n_blocks) % n_folds)[b]
    right = 0
    for f in range(n_folds):
        held = fold == f
        if len(np.unique(y[~held])) < 2:
            raise NisslError(
                "a fold leaves only one label to learn from",
                do="use more folds, or blocks that hold more than one label",
            )
        mean, deviation = x[~held].mean(axis=0), x[~held].std(axis=0)
        scaled = (x - mean) / np.where(deviation > 0, deviation, 1.0)
        if kind == "logistic":
            model = LogisticRegression(C=1 / penalty, max_iter=1000)
        else:
            model = RidgeClassifier(alpha=penalty)
        right += int((model.fit(scaled[~held], y[~held]).predict(scaled[held]) == y[held]).sum())
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
