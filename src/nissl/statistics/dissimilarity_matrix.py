"""Dissimilarity matrix: a picture of which stimuli differ, those of one kind together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import NisslError
from nissl.statistics.figure import heatmap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dissimilarity_matrix"]


def dissimilarity_matrix(
    distances: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    ranks: bool = False,
    label: str = "",
    axes: Axes | None = None,
) -> Axes:
    """Draw dissimilarities of stimuli, those of one label together.

    Parameters
    ----------
    distances : array, shape (n_stimuli, n_stimuli)
        Symmetric, 0 on the diagonal, as `nissl.statistics.dissimilarities` returns them.
    labels : array, shape (n_stimuli,), optional
        The kind of each stimulus: rows are sorted by it, lines part the kinds.
    ranks : bool
        Draw the percentile of each pair among all pairs: what a Spearman correlation of two such
        matrices, as of RSA, goes by.
    label : str
        What the numbers are, said at the colour bar.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes; the diagonal is left white.

    Raises
    ------
    NisslError
        The matrix is not square and symmetric, its diagonal is not 0, or labels do not fit.

    Examples
    --------
    >>> axes = dissimilarity_matrix([[0, 2, 1], [2, 0, 3], [1, 3, 0]], labels=["b", "a", "b"])
    >>> axes.images[0].get_array()[0].tolist(), [t.get_text() for t in axes.get_yticklabels()]
    ([None, 2.0, 3.0], ['a', 'b'])
    """
    from scipy.stats import rankdata

    values = np.array(distances, dtype=float)
    square = values.ndim == 2 and values.shape[0] == values.shape[1]
    if not square or not np.allclose(values, values.T, equal_nan=True):
        raise NisslError(f"a matrix of shape {values.shape} is not symmetric", where="distances")
    if np.abs(np.diag(values)).max(initial=0.0) > 1e-6 * np.abs(values).max(initial=0.0):
        raise NisslError(
            "the diagonal is not 0, as of similarities", where="distances", do="give 1 - similarity"
        )
    kinds = np.arange(len(values)) if labels is None else np.asarray(labels)
    if kinds.shape != (len(values),):
        raise NisslError(f"{kinds.shape} labels of {len(values)} stimuli", where="labels")
    order = np.argsort(kinds, kind="stable")
    values = values[np.ix_(order, order)]
    if ranks:
        pairs = np.triu_indices(len(values), 1)
        values[pairs] = 100 * rankdata(values[pairs]) / len(pairs[0])
        values = np.triu(values, 1) + np.triu(values, 1).T
        label = f"percentile{f' of {label}' if label else ''}"
    np.fill_diagonal(values, np.nan)
    axes = heatmap(values, label=label, axes=axes)
    axes.set_aspect("equal")
    if labels is not None:
        names, starts, counts = np.unique(kinds[order], return_index=True, return_counts=True)
        for start in starts[1:] - 0.5:
            axes.axhline(start, color="black", linewidth=0.8)
            axes.axvline(start, color="black", linewidth=0.8)
        at, step = starts + (counts - 1) / 2, -(-len(names) // 20)
        axes.set_yticks(at[::step], names[::step].astype(str))
        words: Any = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(at[::step], names[::step].astype(str), **words)
    return axes
