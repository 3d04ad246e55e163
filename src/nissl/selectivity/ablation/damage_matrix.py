"""The picture of damage: which groups of units, silenced, hurt which kinds of item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nissl.errors import NisslError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from nissl.statistics import Finding

__all__ = ["damage_matrix"]

OWN = "own - others"


def damage_matrix(
    found: Finding, axis: Axes, *, value: str = "effect", names: Sequence[str] | None = None
) -> AxesImage:
    """Draw the damage of each group to each kind, its own on the diagonal.

    Parameters
    ----------
    found : Finding
        What `damage` or `loss_damage` returned.
    axis : matplotlib Axes
        Where.
    value : str
        The column: "effect" is damage beyond that of matched units, "damage" is all of it.
    names : sequence of str, optional
        The kinds, in the order wanted; by default as in the finding.

    Returns
    -------
    matplotlib AxesImage
        For a colour bar. Red is worse; white is no change.

    Raises
    ------
    NisslError
        The finding is not one of damage.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> from nissl.statistics import Finding
    >>> table = pd.DataFrame({"unit": ["a", "a", "b", "b"], "label": ["a", "b", "a", "b"],
    ...                       "n_units": 9, "damage": [1.0, 0.1, 0.0, 2.0]})
    >>> found = Finding(table, "damage", "none")
    >>> damage_matrix(found, Figure().subplots(), value="damage").get_clim()
    (-2.0, 2.0)
    """
    table = found.table
    if not {"unit", "label", "n_units", value} <= set(table.columns):
        raise NisslError("this is no finding of damage", do="give what damage(...) returned")
    table = table[table["label"] != OWN]
    names = list(dict.fromkeys(table["label"])) if names is None else list(names)
    matrix = table.pivot(index="unit", columns="label", values=value)
    matrix = matrix.reindex(index=[name for name in names if name in matrix.index], columns=names)
    numbers = matrix.to_numpy()
    limit = float(np.abs(numbers).max())
    image = axis.imshow(numbers, cmap="RdBu_r", vmin=-limit, vmax=limit)
    digits = 1 if limit >= 1 else 2
    for (row, column), number in np.ndenumerate(numbers.round(digits) + 0.0):  # no -0.0
        axis.text(
            column,
            row,
            f"{number:.{digits}f}",
            fontsize=7,
            ha="center",
            va="center",
            color="white" if abs(number) > 0.6 * limit else "black",
        )
    count = table.drop_duplicates("unit").set_index("unit")["n_units"]
    axis.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(matrix)), [f"{name} ({count[name]})" for name in matrix.index])
    return image
