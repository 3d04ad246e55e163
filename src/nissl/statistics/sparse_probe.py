"""Logistic probes of right and wrong answers: sparse over all units, plain over any features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import TooFewSamples

__all__ = ["balanced", "probe_scores", "sparse_probe"]

Array = NDArray[np.floating[Any]]
WEAKEST, STEPS = 0.01, 60  # of the penalty that leaves no unit, and steps down to it


def sparse_probe(
    answers: Array,
    others: Array,
    wrong: ArrayLike,
    *,
    most: int,
    kind: ArrayLike,
    other_tokens: bool = True,
) -> tuple[Array, float]:
    """Fit the L1 logistic probe that tells wrong answers from right ones, and from other tokens.

    From contributions to the answers' tokens and to others, each of shape (n_questions, n_units).
    Right and wrong weigh alike in each kind. At most `most` weights are positive: the penalty is
    the least on a grid that leaves no more. Returns the weights, of units in standard deviations,
    and the penalty as a share of that which leaves no unit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> wrong, answers = np.arange(40) % 2 == 0, rng.random((40, 9))
    >>> answers[:, 4] += wrong
    >>> weights, _ = sparse_probe(answers, rng.random((40, 9)), wrong, most=1, kind=np.zeros(40))
    >>> np.flatnonzero(weights > 0).tolist()
    [4]
    """
    y = np.asarray(wrong, dtype=bool)
    weight = balanced(y, np.asarray(kind))
    weight = weight / weight[y].sum()
    values, target = answers, y
    if other_tokens:
        # Wrong answers weigh as much as the three others together: right answers, and other tokens
        # of either. So the intercept is near zero, and the solver may well penalise it.
        values = np.concatenate([answers, others])
        target = np.concatenate([y, np.zeros_like(y)])
        weight = np.concatenate([np.where(y, 1, 1 / 3) * weight, weight / 3])
    x = ((values - values.mean(axis=0)) / deviation(values)).astype(np.float32)
    largest = float(np.abs(x.T @ (weight * (target - 0.5)).astype(np.float32)).max())
    best, least = np.zeros(x.shape[1]), largest
    for penalty in largest * np.geomspace(0.95, WEAKEST, STEPS):
        fitted = _lasso(x, target, weight, penalty, start=best != 0)
        if (fitted > 0).sum() > most:
            break
        best, least = fitted, float(penalty)
    return best, least / largest


def probe_scores(
    values: ArrayLike, wrong: ArrayLike, tested: ArrayLike, *, kind: Any = None
) -> Array:
    """Fit a plain logistic probe to right and wrong answers, and score others with it.

    What a probe reads from other things than H-neurons, such as random neurons or the words of the
    question, is measured with this.

    Parameters
    ----------
    values : array, shape (n_questions, n_features)
        What the probe is fitted to.
    wrong : array of bool, shape (n_questions,)
        Which were answered wrongly.
    tested : array, shape (n_tested, n_features)
        What it scores.
    kind : array, shape (n_questions,), optional
        Right and wrong weigh alike in each.

    Returns
    -------
    array, shape (n_tested,)
        Larger where the answer is more likely wrong.

    Raises
    ------
    TooFewSamples
        There are no right or no wrong answers, in every kind.

    Examples
    --------
    >>> probe_scores([[0.0], [1.0], [0.1], [0.9]], [0, 1, 0, 1], [[0.0], [1.0]]).round(1).tolist()
    [-1.1, 1.1]
    """
    from sklearn.linear_model import LogisticRegression

    x, y = np.asarray(values, dtype=float), np.asarray(wrong, dtype=bool)
    kinds = np.zeros(len(y)) if kind is None else np.asarray(kind)
    middle, scale = x.mean(axis=0), deviation(x)
    model = LogisticRegression(max_iter=1000)
    weight = balanced(y, kinds)
    model.fit((x - middle) / scale, y, sample_weight=weight * len(y) / weight.sum())
    scores = model.decision_function((np.asarray(tested, dtype=float) - middle) / scale)
    return np.asarray(scores)


def balanced(wrong: NDArray[np.bool_], kind: NDArray[Any]) -> Array:
    """Weigh questions so that right and wrong are alike in each kind, 1 for the rarer.

    Those of kinds that have one of the two only weigh nothing; where no kind has both, it refuses.
    """
    weight = np.zeros(len(wrong))
    for name in np.unique(kind):
        cells = [np.flatnonzero((kind == name) & (wrong == label)) for label in (False, True)]
        for rows in cells:
            weight[rows] = min(map(len, cells)) / max(len(rows), 1)
    if not weight.any():
        raise TooFewSamples(
            f"of {len(wrong)} questions {wrong.sum()} were answered wrongly, and no kind has both "
            "right and wrong answers",
            do="ask easier and harder questions of one kind",
        )
    return weight


def deviation(values: Array) -> Array:
    """Return standard deviations of columns, infinite where a column does not vary."""
    spread = np.asarray(values.std(axis=0))
    return np.where(spread > 0, spread, np.inf)


def _lasso(
    x: Array, y: NDArray[np.bool_], weight: Array, penalty: float, *, start: NDArray[np.bool_]
) -> Array:
    """Fit on few units, and add those that were left out and should not have been, till none is."""
    from sklearn.linear_model import LogisticRegression

    active = start.copy()
    while True:
        fitted, residual = np.zeros(x.shape[1]), weight * (y - 0.5)
        if active.any():
            model = LogisticRegression(
                l1_ratio=1, solver="liblinear", C=1 / penalty, tol=1e-5, random_state=0
            )
            model.fit(x[:, active], y, sample_weight=weight)
            fitted[active] = model.coef_[0]
            residual = weight * (y - model.predict_proba(x[:, active])[:, 1])
        missed = (np.abs(x.T @ residual.astype(np.float32)) > 1.001 * penalty) & ~active
        if not missed.any():
            return fitted
        active |= missed
