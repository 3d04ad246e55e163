"""Ablation against matched units: what silencing each group of units does to items of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics import Finding, MatchedUnits, Test, against_null

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["ablated_groups"]

TOGETHER = 80  # groups that are asked at once: many make large matrices, few move the bar


def ablated_groups(
    net: Network,
    groups: Mapping[str, Sequence[str]],
    ask: Callable[[Sequence[Sequence[str]]], NDArray[np.float64]],
    kind_of: ArrayLike,
    *,
    units: pd.DataFrame,
    test: Test,
    progress: bool,
    method: str,
    item: str = "item",
) -> Finding:
    """Ablate each group and units matched to it, and compare by how much items get worse.

    Parameters
    ----------
    net : Network
        The network.
    groups : mapping of str to sequence of str
        Addresses of the units of each kind.
    ask : callable
        Asks the network every item under each of several groups ablated: how well each
        goes, shape (n_groups, n_items), larger is better.
    kind_of : array of str, shape (n_items,)
        The kind of each item.
    units : DataFrame
        All units that may be drawn: ``unit``, ``layer`` and ``weight``.
    test : Test
        Null (`MatchedUnits`), draws (19 random groups for each), tail, correction over all groups
        and kinds, seed.
    progress : bool
        Show a bar.
    method : str
        The finding's method.
    item : str
        What an item is called in errors.

    Returns
    -------
    Finding
        One row for each group and kind, and one for each group's own kind less the mean of the
        others (``label`` is "own - others"): ``damage`` is the mean fall.

    Raises
    ------
    NisslError
        A group is empty, or names no kind of the items.

    Notes
    -----
    The random groups of a group are drawn anew for each, and ablated with zero, as it is.
    """
    import pandas as pd

    labels = np.asarray(kind_of).astype(str)
    kinds = list(dict.fromkeys(labels.tolist()))
    for name, members in groups.items():
        if not len(members):
            raise NisslError("a group has no units", where=name, do="find some, or leave it out")
        if name not in kinds:
            raise NisslError(f"no {item} is of kind '{name}'", do=f"kinds are {', '.join(kinds)}")
    null, n_draws = test.null_or(MatchedUnits()), test.draws(19)
    membership = np.stack([labels == kind for kind in kinds])
    names = np.asarray(units["unit"]).astype(str)
    every: list[list[str]] = []  # each group, and what is drawn for it
    for number, members in enumerate(groups.values()):
        drawn = null.draw(units, list(members), n_draws, seed=test.seed + number)
        every += [list(members), *(list(names[row]) for row in drawn)]
    lost = np.empty((len(every), len(labels)))
    with progress_bar("Ablating", total=len(every), unit="groups", progress=progress) as advance:
        before = ask([()])[0]
        for at in range(0, len(every), TOGETHER):
            part = slice(at, at + TOGETHER)
            lost[part] = before - ask(every[part])
            advance(len(every[part]))
    rows, observed, draws = [], [], []
    for (name, members), fall in zip(
        groups.items(), lost.reshape(-1, 1 + n_draws, len(labels)), strict=True
    ):
        by_kind = fall @ membership.T / membership.sum(1)
        own = kinds.index(name)
        others = np.delete(by_kind, own, axis=1)
        rest = others.mean(axis=1) if others.shape[1] else 0.0
        falls = np.column_stack([by_kind, by_kind[:, own] - rest])
        observed.append(falls[0])
        draws.append(falls[1:])
        rows += [(name, kind, len(members)) for kind in [*kinds, "own - others"]]
    found = against_null(
        np.concatenate(observed),
        np.concatenate(draws, axis=1),
        units=pd.DataFrame(rows, columns=["unit", "label", "n_units"]),
        score="damage",
        method=method,
        null=null.name,
        alternative="greater",
        test=test,
    )
    return found.assign({"seed": test.seed, f"n_{item}s": len(labels), "network": net.name})
