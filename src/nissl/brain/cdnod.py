"""CD-NOD: which unit drives which, from how the distribution changes over time or domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import require_known
from nissl.methods import method
from nissl.statistics.causal_discovery import causal_discovery
from nissl.statistics.design import column_of
from nissl.statistics.mechanisms import require_domains
from nissl.statistics.nulls import codes
from nissl.statistics.series import read_series

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["CausalGraph", "cdnod"]


@dataclass(frozen=True)
class CausalGraph:
    """`edges` ("" where not ``oriented``), `units` whose mechanism ``changes``; the largest p.

    ``dependence`` of changes in this direction and in ``reverse``: deviations of permuted domains.
    """

    edges: pd.DataFrame
    units: pd.DataFrame

    def plot(self) -> Figure:
        """Draw edges from rows to columns (undirected: upper half); changing units are framed."""
        from nissl.statistics.figure import heatmap, panels

        figure, (axes,) = panels(1)
        p = self.edges.pivot(index="source", columns="target", values="p").clip(1e-16)
        matrix = -np.log10(p.reindex(index=self.units["unit"], columns=self.units["unit"]))
        heatmap(matrix, label="-log10 p", found=np.diag(self.units["changes"]), axes=axes)
        return figure


@method(system=30)
def cdnod(
    rec: Recording | ArrayLike,
    *,
    over: str | ArrayLike = "time",
    independence: str = "fisher_z",
    n_windows: int = 10,
    alpha: float = 0.05,
    seed: int = 0,
) -> CausalGraph:
    """Find what drives what by conditional independence, with the domain among the variables.

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        A few units; samples independent of each other inside domains, or it is refused.
    over : str or array, shape (n_samples,)
        "time", the order of samples; or each sample's domain, or the coordinate that names it.
    independence : {"fisher_z", "kernel"}
        Of mechanisms linear in each domain; or causal-learn's KCI, slow, over domains as numbers.
    n_windows : int
        Domains that "time" is cut into, by Fisher's z, and to tell directions (20 tell more).
    alpha, seed : float, int
        Level of each test; of permutations of domains.

    Returns
    -------
    CausalGraph
        Edges ``oriented`` by "invariance" (one end changes), "v-structure" and what follows from
        it, or, where both ends change, "independent changes".

    Raises
    ------
    NisslError
        Samples hang together, too few domains or samples, a constant unit, or no causal-learn.

    Examples
    --------
    >>> x, domain = np.random.default_rng(0).standard_normal((400, 2)), np.arange(400) // 40
    >>> x[:, 1] += domain * x[:, 0]
    >>> cdnod(x, over=domain).edges.iloc[0, :3].tolist()
    ['unit[0]', 'unit[1]', 'invariance']

    Source: Huang et al. 2020, JMLR (system 30), section 4; its driving forces are not estimated.
    """
    import pandas as pd

    require_known("independence", independence, ("fisher_z", "kernel"))
    x, units, stretch, _ = read_series(rec)
    n, names, timed = len(x), units["unit"].to_numpy(), np.array_equal(over, "time")
    given = rec if hasattr(rec, "coords") else None
    domain = np.arange(n) * n_windows // n if timed else codes(column_of("over", over, n, given))
    require_domains(x, domain, stretch, names)
    index = None if independence == "fisher_z" else np.arange(n) if timed else domain
    edges, p, changes = causal_discovery(x, domain, index, alpha, seed)
    columns = ["source", "target", "oriented", "p", "dependence", "reverse"]
    table = pd.DataFrame([(names[a], names[b], *rest) for a, b, *rest in edges], columns=columns)
    return CausalGraph(table, units[["unit"]].assign(changes=changes, p=p))
