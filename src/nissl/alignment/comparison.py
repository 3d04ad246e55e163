"""A comparison: every site of one side beside every site of another, as a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nissl.alignment.measures.measure import Measure
from nissl.errors import NisslError
from nissl.statistics import Finding

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """How alike every site of one side is to every site of another.

    Parameters
    ----------
    finding : Finding
        A row for each two sites, ``unit`` "site ~ site": ``first``, ``second``, its value,
        effect, ``null_mean``, p, q, the interval from ``low`` to ``high``, and ``ceiling``.
    measure : Measure
        By which measure.
    """

    finding: Finding
    measure: Measure

    def __repr__(self) -> str:
        kind = "similarity" if self.measure.similarity else "distance"
        return f"Comparison by {self.measure} (a {kind}) of {len(self.table)} pairs of sites"

    @property
    def table(self) -> pd.DataFrame:
        """The rows of the finding."""
        return self.finding.table

    @property
    def value(self) -> float:
        """The value, where two sites were compared."""
        if len(self.table) != 1:
            raise NisslError(f"there are {len(self.table)} values", do="take .matrix or .table")
        return float(self.table[self.measure.name].iloc[0])

    @property
    def matrix(self) -> pd.DataFrame:
        """The values, a row for each site of the first side, a column for each of the second."""
        names = {name: self.table[name].unique() for name in ("first", "second")}
        made = self.table.pivot(index="first", columns="second", values=self.measure.name)
        return made.loc[names["first"], names["second"]]

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw the value beside its null, interval and ceiling; of many sites the matrix.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        from nissl.statistics.figure import NULL, heatmap

        if len(self.matrix.columns) > 1 and len(self.matrix) > 1:
            axes = heatmap(self.matrix, axes=axes)
            axes.set(title=self.measure.name)
            return axes
        import matplotlib.pyplot as plt

        table, at = self.table, np.arange(len(self.table))
        if axes is None:
            axes = plt.subplots(figsize=(max(3.0, 0.6 * len(table)), 3.6))[1]
        if "low" in table:
            axes.vlines(at, table["low"], table["high"], color="C0")
        axes.plot(at, table[self.measure.name], "o", color="C0", label=self.measure.name)
        for name, label, colour in (("null_mean", "chance", NULL), ("ceiling", "ceiling", "C3")):
            if name in table and table[name].notna().any():
                axes.plot(at, table[name], "_", color=colour, markersize=14, label=label)
        labels = table["first" if len(self.matrix) > 1 else "second"]
        axes.set_xticks(at, labels, rotation=35, ha="right", fontsize=8)
        axes.legend(fontsize=7, frameon=False)
        return axes
