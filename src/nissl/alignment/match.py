"""Match: units of two networks that answer alike to the same stimuli."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from nissl.alignment.compare import aligned, moves, sites_of
from nissl.errors import NisslError, require_known
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.recording import Recording, units_table
from nissl.statistics import Finding, PermutedLabels, Test, against_null, best_partners
from nissl.statistics.nulls import LabelNull
from nissl.statistics.standardised import standardised

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["match"]

Array = NDArray[np.floating[Any]]
PAIRS = 10**8  # of units, of which all correlations may stand in memory


@method(system=220)
def match(
    a: Recording | ArrayLike,
    b: Recording | ArrayLike,
    *,
    on: str = "stimulus",
    pairs: Literal["mutual", "one_to_one"] = "mutual",
    exchange: str | ArrayLike | None = None,
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Find the unit of another network that is most correlated with each unit.

    Parameters
    ----------
    a, b : Recording or array, shape (n_stimuli, n_units)
        Activity of the same stimuli, or of the same places in images. A store is streamed.
    on : str
        The sample coordinate that says which sample is which.
    pairs : {"mutual", "one_to_one"}
        The partner is the unit most correlated, and ``mutual`` says whether each is the other's;
        or every unit has a partner of its own, chosen so that the correlations' sum is largest.
    exchange : str or array, shape (n_stimuli,), optional
        Blocks of samples that are permuted together, such as the places of one image.
    test : Test or None
        Draws (19) of samples permuted, tail, correction over units, seed: the best of as many
        partners by chance. None: no null. A rotated basis is another null, of whether units are
        special: match the rotated activity too.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        A row for each unit of `a`: ``partner``, size and ``sign`` of their ``correlation``,
        ``mutual``, effect, p, q.

    Raises
    ------
    NotExchangeable
        Samples hang together in time and no blocks were declared.
    NisslError
        Samples do not agree, or there are too many pairs for "one_to_one".

    Notes
    -----
    Units that do not vary have no partner. Source: Dravid et al. 2023, Rosetta neurons, section 3.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((50, 6))
    >>> match(x, -x[:, ::-1], progress=False).table["partner"].tolist()[:2]
    ['unit[5]', 'unit[4]']
    """
    require_known("pairs", pairs, ("mutual", "one_to_one"))
    (x,), (y,) = (side.values() for side in aligned(sites_of(a), sites_of(b, "second"), on))
    if pairs == "one_to_one" and x.shape[1] * y.shape[1] > PAIRS:
        raise NisslError("there are too many pairs of units", do="give fewer, or pairs='mutual'")
    find = _mutual if pairs == "mutual" else _one_to_one
    partner, r, mutual = find(x, y)
    others, there = _units(y)["unit"].to_numpy(), partner >= 0
    named = np.where(there, others[partner], "")
    table = _units(x).assign(partner=named, sign=np.sign(r).astype(int), mutual=mutual)
    if test is None:
        size = {"correlation": np.abs(r)}
        return Finding(table.assign(**size), "match", "none", score="correlation")
    null = test.null_or(PermutedLabels(), LabelNull)
    draws, orders = [], moves(x, y, null, exchange, test.draws(19), test.seed)
    with progress_bar("Matching", total=len(orders), unit="draws", progress=progress) as advance:
        for order in orders:
            draws.append(np.abs(find(x[order], y)[1]))
            advance(1)
    how: Any = {"score": "correlation", "method": "match", "null": null.name, "test": test}
    return against_null(np.abs(r), draws, units=table, alternative="greater", **how)


def _mutual(x: Any, y: Any) -> tuple[NDArray[np.int64], Array, NDArray[np.bool_]]:
    """Return the best partner of each unit, their correlation, and whether each is the other's."""
    (partner, r), (back, _) = (best_partners(*side, k=1) for side in ((x, y), (y, x)))
    partner, back = partner[:, 0], back[:, 0]
    mutual = (partner >= 0) & (back[partner] == np.arange(len(partner)))
    return partner, np.nan_to_num(r[:, 0]), mutual


def _one_to_one(x: Any, y: Any) -> tuple[NDArray[np.int64], Array, NDArray[np.bool_]]:
    """Return a partner for each unit, or -1, so that correlations add up to most."""
    (read_x, norm_x), (read_y, norm_y) = standardised(x), standardised(y)
    whole = slice(None)
    r = read_x(whole, whole).T @ read_y(whole, whole)
    rows, columns = linear_sum_assignment(-np.abs(r))
    kept = (norm_x[rows] > 0) & (norm_y[columns] > 0)
    partner, size = np.full(x.shape[1], -1), np.zeros(x.shape[1])
    partner[rows[kept]] = columns[kept]
    size[rows[kept]] = r[rows, columns][kept]
    return partner, size, partner >= 0


def _units(x: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(x, Recording):
        return units_table(x)
    return pd.DataFrame({"unit": [f"unit[{i}]" for i in range(x.shape[1])]})
