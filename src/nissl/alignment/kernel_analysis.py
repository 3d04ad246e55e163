"""Kernel analysis: in how few leading dimensions of a representation the classes stand apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.alignment.compare import Side
from nissl.errors import TooFewSamples
from nissl.methods import method
from nissl.recording import Recording
from nissl.recording.align import require_aligned
from nissl.recording.units_by_site import by_site
from nissl.statistics import Finding, Test, against_null, gram
from nissl.statistics.design import column_of
from nissl.statistics.sample_orders import sample_orders

__all__ = ["kernel_analysis"]


@method(system=342)
def kernel_analysis(
    side: Side,
    labels: str | ArrayLike,
    *,
    bandwidths: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
    exchange: str | ArrayLike | None = None,
    test: Test | None = Test(),
) -> Finding:
    """Measure what is left of labels after projection on a kernel's leading eigenvectors.

    Parameters
    ----------
    side : Recording, array, shape (n_stimuli, n_units), or mapping of str to either
        One sample a stimulus; each site of a Recording, or each of a mapping, by itself.
    labels : str or array, shape (n_stimuli,)
        The class of each stimulus, or the sample coordinate that holds it.
    bandwidths : sequence of float
        Widths of the Gaussian kernel, in median distances; the one with the least area is taken, in
        the null too.
    exchange : str or array, shape (n_stimuli,), optional
        Blocks of stimuli whose labels are permuted together.
    test : Test or None
        Draws (200) of labels permuted, tail, correction over sites, seed. None: no null.

    Returns
    -------
    Finding
        A row for each site: ``area`` under the loss over d = 0, ..., n - 1 (0.5 by chance, near 0
        where few dimensions are enough), p, q, ``bandwidth``; ``loss_D``, the share of the labels'
        variance that D dimensions leave, for D = 1, 2, 4, ..., beside ``chance_D``.

    Raises
    ------
    NisslError
        All labels are one class; stimuli do not agree, or hang together in time.

    Notes
    -----
    The squared loss of one-hot labels. Source: Montavon et al. 2011, Kernel analysis of deep
    networks; as a benchmark: Cadieu et al. 2013, The neural representation benchmark.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 60)
    >>> x = rng.standard_normal((60, 9)) + 3 * y[:, None]
    >>> bool(kernel_analysis(x, y).table["area"][0] < 0.2)
    True
    """
    import pandas as pd

    sites = by_site(side)
    require_aligned(sites, on="stimulus")
    first = next(iter(sites.values()))
    n, rec = len(first), first if isinstance(first, Recording) else None
    y = column_of("labels", labels, n, rec)
    shown = np.unique(y)
    if len(shown) < 2 or n < 4:
        raise TooFewSamples(f"{len(shown)} classes of {n} stimuli", do="give two classes or more")
    hot = (y[:, None] == shown).astype(float)
    orders, null = np.arange(n)[None], "none"
    if test is not None:
        drawn, null = sample_orders(first, hot, test, n=200, exchange=exchange)
        orders = np.concatenate([orders, drawn])
    dimensions = 2 ** np.arange(int(np.log2(n - 1)) + 1)
    areas, rows = [], []
    for name, x in sites.items():
        losses = [_losses(x, width, hot, orders) for width in bandwidths]
        area = np.array([loss.mean(1) for loss in losses])
        best = int(area[:, 0].argmin())
        areas.append(area.min(0))
        found = {f"loss_{d}": losses[best][0, d] for d in dimensions}
        rows.append({"unit": name, "bandwidth": bandwidths[best], **found})
    chance = {f"chance_{d}": 1 - d / (n - 1) for d in dimensions}
    table, (observed, *draws) = pd.DataFrame(rows).assign(**chance), np.transpose(areas)
    if test is None:
        return Finding(table.assign(area=observed), "kernel_analysis", null, score="area")
    said: Any = {"score": "area", "method": "kernel_analysis", "null": null, "test": test}
    return against_null(observed, draws, units=table, alternative="less", **said)


def _losses(
    x: Any, width: float, hot: NDArray[Any], orders: NDArray[Any]
) -> NDArray[np.floating[Any]]:
    """Return the loss of labels in each order, by the number of eigenvectors: 0, ..., n - 1."""
    k = gram(x, kernel="rbf", bandwidth=width, centre=True, progress=False)
    vectors = np.linalg.eigh(k)[1][:, :0:-1]  # the last is constant, of eigenvalue zero
    y = hot - hot.mean(0)
    explained = np.array([((vectors.T @ y[order]) ** 2).sum(1) for order in orders])
    left = 1 - np.cumsum(np.pad(explained, ((0, 0), (1, 0))), axis=1) / (y**2).sum()
    return np.asarray(left)
