"""Classes of gated neurons, by the cosines of their input, gate and output weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.columns import require_columns
from nissl.statistics import Finding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GATED_CLASSES", "gated_class_shares", "gated_classes"]

#: From cos(in, out): enrichment above the threshold, depletion below its negative; "conditional"
#: where the gate's weights have nothing to do with what is written, "atypical" where the sign of
#: cos(gate, in) is not the one that the other two cosines lead to expect.
GATED_CLASSES = (
    "enrichment",
    "conditional enrichment",
    "proportional change",
    "orthogonal output",
    "conditional depletion",
    "depletion",
    "atypical enrichment",
    "atypical conditional enrichment",
    "atypical proportional change",
    "atypical conditional depletion",
    "atypical depletion",
)


def gated_classes(
    cos_in_out: ArrayLike,
    cos_gate_out: ArrayLike,
    cos_gate_in: ArrayLike,
    *,
    threshold: float = 0.5,
) -> NDArray[np.str_]:
    """Name the class of neurons from the cosines of their weights.

    Parameters
    ----------
    cos_in_out, cos_gate_out, cos_gate_in : array, shape (n_units,)
        Cosines of input and output, gate and output, gate and input weights.
    threshold : float
        Cosines beyond it, at either sign, count as the same direction.

    Returns
    -------
    array of str, shape (n_units,)
        Names among ``GATED_CLASSES``. Turning the signs of input and output weights both round,
        which changes nothing of what the neuron computes, changes no class.

    Notes
    -----
    Source: Gerstner and Schütze 2025, section 3 and appendix; the table of classes as in their
    code, whose later versions say strengthening and weakening.

    Examples
    --------
    >>> gated_classes([0.9, 0.6, 0.1, -0.7], [0.8, 0.0, 0.1, 0.6], [0.9, 0.1, 0.0, 0.9]).tolist()
    ['enrichment', 'conditional enrichment', 'orthogonal output', 'atypical depletion']
    """
    to_out, gate_out, gate_in = (
        np.sign(c) * (np.abs(c) > threshold)
        for c in (np.asarray(c, dtype=float) for c in (cos_in_out, cos_gate_out, cos_gate_in))
    )
    what = np.select([to_out > 0, to_out < 0], ["enrichment", "depletion"], "proportional change")
    conditional = (to_out != 0) & (gate_out == 0)
    names = np.where(conditional, np.char.add("conditional ", what), what)
    names = np.where(gate_in == to_out * gate_out, names, np.char.add("atypical ", names))
    return np.where((to_out == 0) & (gate_out == 0), "orthogonal output", names)


def gated_class_shares(found: Finding, *, column: str = "gated_class") -> pd.DataFrame:
    """Return the share of each class in every layer.

    Parameters
    ----------
    found : Finding
        Of `gated_function`.
    column : {"gated_class", "mismatched_class"}
        The neurons' own classes, or those of mismatched ones.

    Returns
    -------
    DataFrame, n_layers rows
        One column for each of ``GATED_CLASSES``; the index is the layer. Rows add up to one, less
        neurons without weights.

    Raises
    ------
    UnknownName
        The finding has no such column.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a", "b"], "layer": [0, 0], "cos_in_out": [0.9, 0.0],
    ...                       "gated_class": ["enrichment", "orthogonal output"]})
    >>> shares = gated_class_shares(Finding(table, "gated_function", "none"))
    >>> float(shares.loc[0, "enrichment"])
    0.5
    """
    import pandas as pd

    require_columns(found.table, ("layer", column))
    shares = pd.crosstab(found.table["layer"], found.table[column], normalize="index")
    return shares.reindex(columns=list(GATED_CLASSES), fill_value=0.0)
