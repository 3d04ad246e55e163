"""Factorisations of activity, with the interface of a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError, require_known
from nissl.features.snmf import NonnegativeCode, snmf
from nissl.network import LinearDictionary
from nissl.recording.labels import coordinate

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["factorise"]

METHODS = ("pca", "ica", "nmf", "snmf", "kmeans", "difference")


def factorise(
    rec: Recording,
    *,
    method: str = "pca",
    n_features: int | None = None,
    labels: str | None = None,
    kept: float = 1.0,
    n_iter: int = 200,
    seed: int = 0,
) -> LinearDictionary:
    """Factor activity of one site, all of it in memory, as a dictionary named after the method.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity.
    method : str
        Components of most variance ("pca") or most independent ("ica"), of either sign;
        nonnegative parts of nonnegative activity ("nmf") or of any ("snmf"); the nearest of several
        centres ("kmeans"); the mean of each label less that of all others ("difference").
    n_features : int, optional
        How many; for "difference", one for each label in order.
    labels : str, optional
        Sample coordinate, for "difference".
    kept : float
        Of "snmf": the share of units that a feature may have.
    n_iter, seed : int
        Rounds at most, and the seed of what is drawn.

    Returns
    -------
    LinearDictionary
        Sizes of "nmf" and "snmf" are of nonnegative least squares, of "kmeans" 1 or 0.

    Raises
    ------
    NisslError
        Activity is not finite, negative ("nmf"), of too little variance or of several sites; there
        are more features than units or samples, or fewer than two labels.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> factorise(as_recording(np.eye(3)), method="pca", n_features=2).directions.shape
    torch.Size([2, 3])
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import NMF, PCA, FastICA

    require_known("method", method, METHODS)
    x, n = np.asarray(rec.values, np.float32), n_features or 0
    sites = np.unique(rec["site"].values) if "site" in rec.coords else [""]
    limit = len(x) if method == "kmeans" else min(x.shape)
    for wrong, said in (
        (len(sites) > 1, f"there are {len(sites)} sites: choose one, such as {sites[0]}"),
        (not np.isfinite(x).all(), "activity is not finite: leave out these samples"),
        (method == "nmf" and (x < 0).any(), "activity is negative: take method='snmf'"),
        ((method == "difference") != (labels is not None), "labels= goes with 'difference' alone"),
        (not 0 < kept <= 1 or n_iter < 1, f"kept={kept} is not in (0, 1], or n_iter={n_iter} < 1"),
        (labels is None and not 1 <= n <= limit, f"{n} features of {x.shape}: give 1 to {limit}"),
        (not x.std(0).any(), "activity does not vary"),
        (method == "ica" and np.linalg.matrix_rank(x - x.mean(0)) < n, "fewer dimensions vary"),
    ):
        if wrong:
            raise NisslError(said)
    how: Any = {"max_iter": n_iter, "random_state": seed}
    mean, bias, writes = x.mean(0), np.zeros(n), None  # what is written, if not what is read
    act: Callable[[Tensor], Tensor] = torch.positive
    if labels is not None:
        values = coordinate(rec, labels)
        if len(names := np.unique(values)) < 2:
            raise NisslError(f"'{labels}' has {len(names)} labels, and two are needed")
        writes = np.stack([x[values == a].mean(0) - x[values != a].mean(0) for a in names])
        reads, bias = writes / (writes**2).sum(1, keepdims=True), np.zeros(len(names))
    elif method == "pca":
        reads = PCA(n, random_state=seed).fit(x).components_
    elif method == "ica":
        ica = FastICA(n, whiten="unit-variance", **how).fit(x)
        reads, writes = ica.components_, ica.mixing_.T
    elif method == "kmeans":
        reads, mean, act = KMeans(n, n_init=4, **how).fit(x).cluster_centers_, 0 * mean, _nearest
        bias = -(reads**2).sum(1) / 2
    else:
        if method == "nmf":
            reads = NMF(n, init="nndsvda", **how).fit(x).components_
        else:
            reads = snmf(torch.from_numpy(x), n, kept=kept, n_iter=n_iter, seed=seed)[1].numpy()
        mean, act = 0 * mean, NonnegativeCode(torch.from_numpy(reads @ reads.T))
    parts = (reads.T, bias, reads if writes is None else writes, mean)
    enc, b, dec, c = (torch.from_numpy(np.ascontiguousarray(p, np.float32)) for p in parts)
    return LinearDictionary(str(sites[0]), enc, b, dec, c, act, name=method)


def _nearest(scores: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)
