"""Shared units: how many are in two groups, beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["shared_units"]


def shared_units(
    first: Sequence[str], second: Sequence[str], units: pd.DataFrame
) -> dict[str, float]:
    """Count the units in both of two groups, and those that chance would put there.

    Parameters
    ----------
    first, second : sequence of str
        The groups.
    units : DataFrame
        All units that could be in them: ``unit``, ``layer``.

    Returns
    -------
    dict of str to float
        ``shared``; ``shared_by_chance``, the mean where as many units of each layer are drawn for
        either group; ``p_shared``, the chance of so many or more.

    Examples
    --------
    >>> import pandas as pd
    >>> units = pd.DataFrame({"unit": list("abcd"), "layer": [0, 0, 0, 0]})
    >>> found = shared_units(["a", "b"], ["a", "b"], units)
    >>> found["shared"], found["shared_by_chance"], round(found["p_shared"], 3)
    (2, 1.0, 0.167)
    """
    from scipy.stats import hypergeom

    chance = np.ones(1)  # of 0, 1, ... shared units, over the layers so far
    for _, layer in units.groupby("layer")["unit"]:
        a, b = (int(layer.isin(group).sum()) for group in (first, second))
        chance = np.convolve(chance, hypergeom(len(layer), a, b).pmf(np.arange(min(a, b) + 1)))
    n = len(set(first) & set(second))
    mean = float(chance @ np.arange(len(chance)))
    return {"shared": n, "shared_by_chance": mean, "p_shared": float(min(chance[n:].sum(), 1))}
