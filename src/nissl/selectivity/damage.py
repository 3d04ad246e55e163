"""Damage: what ablating units does to the answers of each kind, against units matched to them.

The test that every detector of this room ends with. Units that were found to belong to a label are
silenced, and the answers of every label are asked again; the same is done with random units of the
same layers that write as much. What exceeds them is the units' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.selectivity.facts import answered
from nissl.statistics import Finding, MatchedUnits, against_null, output_weight

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["damage", "weighed"]


def damage(
    net: Network,
    groups: Mapping[str, Sequence[str]],
    facts: pd.DataFrame,
    *,
    labels: str,
    units: pd.DataFrame,
    null: MatchedUnits = MatchedUnits(),  # noqa: B008
    n_draws: int = 19,
    correction: str | None = "max",
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Finding:
    """Ablate each group of units, and measure how much less likely the answers of each label get.

    Parameters
    ----------
    net : Network
        A language model.
    groups : mapping of str to sequence of str
        Addresses of the units found for each label.
    facts : DataFrame
        Columns ``text``, ``answer`` and `labels`; facts that were not used to find the units.
    labels : str
        The column that names the kind of fact.
    units : DataFrame
        All units that may be drawn: ``unit``, ``layer`` and ``weight`` (`weighed`).
    null : MatchedUnits
        How random units are matched.
    n_draws : int
        How many random groups each is compared with; p cannot go below 1 / (n_draws + 1).
    correction : {"max", "bh", "bonferroni"} or None
        Over all groups and labels.
    batch_size : int
        Prompts in a call.
    seed : int
        The seed of the draws.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each group and label, and one for each group against itself less the rest
        (``label`` is "own - others"): ``damage`` is the mean fall of the answer's log probability,
        in nats; effect, null mean, p and q against the matched units.

    Raises
    ------
    NisslError
        A group is empty, or names no label of the facts.

    Notes
    -----
    The random groups of a group are drawn anew for each, and ablated with zero, as it is.

    Examples
    --------
    >>> damage(net, {"capital": found.units}, tested, labels="relation",
    ...        units=weighed(net, rec))  # doctest: +SKIP
    """
    kinds = [str(kind) for kind in facts[labels].unique()]
    for name, members in groups.items():
        if not len(members):
            raise NisslError("a group has no units", where=name, do="find some, or leave it out")
        if name not in kinds:
            raise NisslError(f"no fact is of kind '{name}'", do=f"kinds are {', '.join(kinds)}")
    membership = np.stack([np.asarray(facts[labels] == kind) for kind in kinds])
    total = 1 + len(groups) * (1 + n_draws)
    names = np.asarray(units["unit"]).astype(str)
    rows, observed, draws = [], [], []
    with progress_bar("Ablating", total=total, unit="groups", progress=progress) as advance:
        before = _asked(net, facts, (), batch_size)
        advance(1)

        def fall(members: Sequence[str]) -> NDArray[np.float64]:
            lost = before - _asked(net, facts, members, batch_size)
            advance(1)
            return np.asarray(membership @ lost / membership.sum(1))

        for number, (name, members) in enumerate(groups.items()):
            own = kinds.index(name)
            drawn = null.draw(units, list(members), n_draws, seed=seed + number)
            made = [_with_contrast(fall(members), own)]
            made += [_with_contrast(fall(list(names[row])), own) for row in drawn]
            observed.append(made[0])
            draws.append(made[1:])
            rows += [(name, kind, len(members)) for kind in [*kinds, "own - others"]]
    found = against_null(
        np.concatenate(observed), np.concatenate(draws, axis=1), units=[r[0] for r in rows],
        score="damage", method="damage", null=null.name, alternative="greater",
        correction=correction,
    )  # fmt: skip
    table = found.table
    table.insert(1, "label", [row[1] for row in rows])
    table.insert(2, "n_units", [row[2] for row in rows])
    said = {**found.provenance, "seed": seed, "n_facts": len(facts), "network": net.name}
    return Finding(table, "damage", null.name, said, "damage")


def weighed(net: Network, rec: Recording) -> pd.DataFrame:
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
    >>> weighed(net, rec)  # doctest: +SKIP
    """
    from nissl.recording import units_table
    from nissl.recording.blocks import blocks

    table = units_table(rec)
    size = np.zeros(len(table))
    for block in blocks(rec):
        size += np.nansum(np.abs(block.values), axis=0)
    size /= max(rec.sizes["sample"], 1)
    weight = np.zeros(len(table))
    for site in dict.fromkeys(table["site"]):
        rows = np.flatnonzero(table["site"] == site)
        out = net.output_weights(str(site)).float().cpu().numpy()
        weight[rows] = output_weight(size[rows], out[np.asarray(table["index"])[rows]])
    return table.assign(weight=weight)


def _asked(
    net: Network, facts: pd.DataFrame, members: Sequence[str], batch_size: int
) -> NDArray[np.float64]:
    from contextlib import nullcontext

    from nissl.network import ablate

    silenced: Any = net.edit(ablate(list(members))) if len(members) else nullcontext()
    with silenced:
        return answered(
            net, list(facts["text"]), list(facts["answer"]), batch_size=batch_size, progress=False
        )[0]


def _with_contrast(by_kind: NDArray[np.float64], own: int) -> NDArray[np.float64]:
    """Append the fall of the group's own label less the mean fall of the others."""
    others = np.delete(by_kind, own)
    return np.append(by_kind, by_kind[own] - (others.mean() if len(others) else 0.0))
