"""Output magnitude: how much each unit writes into the residual stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nissl.statistics.matched import output_weight

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["output_magnitude"]


def output_magnitude(net: Network, rec: Recording) -> pd.DataFrame:
    """Return a table of units with what each writes on average, for `MatchedUnits`.

    Parameters
    ----------
    net : Network
        The network that was recorded.
    rec : Recording, shape (n_samples, n_units)
        Activity of MLP neurons.

    Returns
    -------
    DataFrame, n_units rows
        ``unit``, ``site``, ``layer``, ``index`` and ``weight``: the mean of |activity| times the
        norm of the unit's output weights.

    Raises
    ------
    NisslError
        A site has no output weights.

    Examples
    --------
    >>> output_magnitude(net, rec)  # doctest: +SKIP
    """
    from nissl.recording import units_table
    from nissl.recording.chunks import chunks

    table = units_table(rec)
    size = np.zeros(len(table))
    for chunk in chunks(rec):
        total = np.abs(chunk.values).sum(axis=0)
        # Some experts were called at some tokens only; elsewhere the copy that this makes is dear.
        size += total if np.isfinite(total).all() else np.nansum(np.abs(chunk.values), axis=0)
    size /= max(rec.sizes["sample"], 1)
    weight = np.zeros(len(table))
    for site in dict.fromkeys(table["site"]):
        rows = np.flatnonzero(table["site"] == site)
        out = net.output_weights(str(site)).float().cpu().numpy()
        weight[rows] = output_weight(size[rows], out[np.asarray(table["index"])[rows]])
    return table.assign(weight=weight)
