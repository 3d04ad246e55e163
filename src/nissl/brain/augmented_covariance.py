"""Augmented covariance: trials told apart by how channels covary with each other's past."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import cross_val_score

from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.statistics.decoders import finite

__all__ = ["AugmentedCovariance"]


@method(system=12)
class AugmentedCovariance(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify trials, (n_trials, n_channels, n_times), by covariances of channels and their past.

    Parameters
    ----------
    order, lag : int or sequence of int
        Copies of each channel (1: itself alone), and samples from each to the next. Of several,
        those of the best balanced accuracy in three inner folds, of equals the first; what leaves
        fewer than n_channels samples of a trial is left out.
    classifier : estimator, optional
        What takes matrices (n_trials, n, n), such as pyriemann's ``MDM()``. By default logistic
        regression in the tangent space.

    Examples
    --------
    >>> decode(rec, "hand", items="trial", model=AugmentedCovariance())  # doctest: +SKIP

    Source: Carrara and Papadopoulo 2023; the shrinkage of covariances: Schaefer and Strimmer 2005.
    """

    def __init__(self, order: Any = (1, 2, 3), lag: Any = (1, 2, 4), classifier: Any = None):
        self.order, self.lag, self.classifier = order, lag, classifier

    def fit(self, x: Any, y: Any) -> AugmentedCovariance:
        """Choose order and lag, and fit the classifier to all trials."""
        try:
            from pyriemann.classification import TSClassifier
        except ImportError as error:
            raise NisslError("pyriemann is missing", do="pip install 'nissl[brain]'") from error
        x, y = finite(x, "activity"), np.asarray(y)
        self.classes_, n = np.unique(y, return_counts=True)
        said = f"trials {x.shape}, labels {y.shape} of {len(n)} classes"
        if x.ndim != 3 or x.shape[1] < 2 or y.shape != x.shape[:1] or len(n) < 2:
            raise NisslError(said, do="give (n_trials, n_channels > 1, n_times) and two classes")
        orders, lags = np.ravel(self.order).tolist(), np.ravel(self.lag).tolist()
        if not all(isinstance(k, int) and k > 0 for k in [*orders, *lags]):
            raise NisslError(f"order {orders}, lag {lags}", do="give whole numbers above 0")
        pairs = [(o, lag) for o in orders for lag in (lags if o > 1 else lags[:1])]
        pairs = [(o, lag) for o, lag in pairs if x.shape[2] - (o - 1) * lag >= x.shape[1]]
        if not pairs or n.min() < 2:
            raise TooFewSamples(said, do="give a lower order and lag, or two trials of each class")
        made = [_covariances(x, *pair) for pair in pairs]
        model = TSClassifier() if self.classifier is None else self.classifier
        how = {"cv": min(3, n.min()), "scoring": "balanced_accuracy"}
        scores = [cross_val_score(model, c, y, **how).mean() for c in made if len(made) > 1]
        best = int(np.argmax(scores or [0.0]))
        (self.order_, self.lag_), self.classifier_ = pairs[best], clone(model).fit(made[best], y)
        return self

    def predict(self, x: Any) -> Any:
        """Return the class of each trial."""
        return self.classifier_.predict(_covariances(finite(x, "trials"), self.order_, self.lag_))


def _covariances(x: Any, order: int, lag: int) -> Any:
    from pyriemann.estimation import Covariances

    if (x == x[:, :, :1]).all(axis=2).any():
        raise NisslError("a channel is constant in some trial", do="leave it out")
    # Not pyriemann's TimeDelayCovariances, whose copies go around the end of a trial.
    copies = [x[:, :, k * lag : x.shape[2] - (order - 1 - k) * lag] for k in range(order)]
    return Covariances("sch").transform(np.concatenate(copies, axis=1))
