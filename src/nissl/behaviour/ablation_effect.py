"""Ablation effects: what is left of a behaviour without units, against units matched to them.

The test that every detector of units ends with. Units that were found to belong to a label are
silenced, and items of every label are measured again; the same is done with random units of the
same layers that write as much. What exceeds them is the units' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour.measures import MEASURES, Measure
from nissl.columns import require_columns
from nissl.errors import NisslError, require_known
from nissl.progress import progress_bar
from nissl.statistics import Finding, MatchedUnits, Test, against_null

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["ablation_effect", "effect_matrix"]

AT_ONCE = 80  # groups that are measured at once: many make large matrices, few move the bar
OWN = "own - others"


def ablation_effect(
    net: Network,
    groups: Mapping[str, Sequence[str]],
    *,
    on: pd.DataFrame,
    labels: str,
    units: pd.DataFrame,
    measure: str | Measure = "answer",
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Ablate each group of units, and measure how much worse items of each label get.

    Parameters
    ----------
    net : Network
        The network.
    groups : mapping of str to sequence of str, or to Finding
        Addresses of the units found for each label.
    on : DataFrame
        Items that were not used to find the units, with a column `labels` and those that the
        measure reads: ``text`` and ``answer``; ``text``; or ``query``, ``passage``, ``relevant``.
    labels : str
        The column that names the kind of item.
    units : DataFrame
        All units that may be drawn: ``unit``, ``layer`` and ``weight`` (`output_magnitude`).
    measure : {"answer", "loss", "ranking"} or Measure
        How well an item goes: the log probability of its answer (`AnswerMeasure`), the loss of a
        text (`LossMeasure`), the reciprocal rank of a query's passage (`RankingMeasure`), or an
        object like these, which also hold the options.
    test : Test
        Null (`MatchedUnits`), draws (19 random groups for each), tail, correction over all groups
        and labels, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each group and label, and one for each group's own label less the mean of the
        others (``label`` is "own - others"): ``damage`` is the mean fall, in nats or ranks; effect,
        null mean, p and q against the matched units.

    Raises
    ------
    NisslError
        A group is empty, or names no label of the items.
    UnknownName
        A column is missing, or there is no such measure.

    Notes
    -----
    The random groups of a group are drawn anew for each, and ablated with zero, as it is.

    Examples
    --------
    >>> ablation_effect(net, {"capital": found}, on=tested, labels="relation",
    ...                 units=output_magnitude(net, rec))  # doctest: +SKIP
    """
    import pandas as pd

    if isinstance(measure, str):
        require_known("measure", measure, list(MEASURES))
        measure = MEASURES[measure]()
    require_columns(on, (labels,))
    scores, kind_of = measure.bind(net, on, labels)
    kind = np.asarray(kind_of).astype(str)
    kinds = list(dict.fromkeys(kind.tolist()))
    chosen = {name: _addresses(members) for name, members in groups.items()}
    for name, members in chosen.items():
        if not members:
            raise NisslError("a group has no units", where=name, do="find some, or leave it out")
        if name not in kinds:
            raise NisslError(
                f"no {measure.item} is of kind '{name}'", do=f"kinds are {', '.join(kinds)}"
            )
    null, n_draws = test.null_or(MatchedUnits()), test.draws(19)
    membership = np.stack([kind == one for one in kinds])
    names = np.asarray(units["unit"]).astype(str)
    every: list[list[str]] = []  # each group, and what is drawn for it
    for number, members in enumerate(chosen.values()):
        drawn = null.draw(units, members, n_draws, seed=test.seed + number)
        every += [members, *(list(names[row]) for row in drawn)]
    lost = np.empty((len(every), len(kind)))
    with progress_bar("Ablating", total=len(every), unit="groups", progress=progress) as advance:
        before = scores([()])[0]
        for at in range(0, len(every), AT_ONCE):
            part = slice(at, at + AT_ONCE)
            lost[part] = before - scores(every[part])
            advance(len(every[part]))
    rows, observed, draws = [], [], []
    for (name, members), fall in zip(
        chosen.items(), lost.reshape(-1, 1 + n_draws, len(kind)), strict=True
    ):
        by_kind = fall @ membership.T / membership.sum(1)
        own = kinds.index(name)
        others = np.delete(by_kind, own, axis=1)
        rest = others.mean(axis=1) if others.shape[1] else 0.0
        falls = np.column_stack([by_kind, by_kind[:, own] - rest])
        observed.append(falls[0])
        draws.append(falls[1:])
        rows += [(name, one, len(members)) for one in [*kinds, OWN]]
    found = against_null(
        np.concatenate(observed),
        np.concatenate(draws, axis=1),
        units=pd.DataFrame(rows, columns=["unit", "label", "n_units"]),
        score="damage",
        method="ablation_effect",
        null=null.name,
        alternative="greater",
        test=test,
    )
    return found.assign({"seed": test.seed, f"n_{measure.items}": len(kind), "network": net.name})


def effect_matrix(
    found: Finding, *, value: str = "effect", names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the effect of each group on each label, its own on the diagonal, to be drawn.

    Parameters
    ----------
    found : Finding
        What `ablation_effect` returned.
    value : str
        The column: "effect" is the fall beyond that of matched units, "damage" is all of it.
    names : sequence of str, optional
        The labels, in the order wanted; by default as in the finding.

    Returns
    -------
    DataFrame, shape (n_groups, n_labels)
        For `nissl.statistics.figure.heatmap`; each group is named with how many units it has.

    Raises
    ------
    NisslError
        The finding is not of ablation.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a", "a", "b", "b"], "label": ["a", "b", "a", "b"],
    ...                       "n_units": 9, "damage": [1.0, 0.1, 0.0, 2.0]})
    >>> found = Finding(table, "ablation_effect", "none")
    >>> effect_matrix(found, value="damage").loc["b (9)"].tolist()
    [0.0, 2.0]
    """
    table = found.table
    if not {"unit", "label", "n_units", value} <= set(table.columns):
        raise NisslError("no effect of ablation", do="give what ablation_effect(...) returned")
    table = table[table["label"] != OWN]
    names = list(dict.fromkeys(table["label"])) if names is None else list(names)
    matrix = table.pivot(index="unit", columns="label", values=value)
    matrix = matrix.reindex(index=[name for name in names if name in matrix.index], columns=names)
    count = table.drop_duplicates("unit").set_index("unit")["n_units"]
    matrix.index = [f"{name} ({count[name]})" for name in matrix.index]
    return matrix.rename_axis(index="units ablated", columns="items measured")


def _addresses(members: Any) -> list[str]:
    return [str(unit) for unit in getattr(members, "units", members)]
