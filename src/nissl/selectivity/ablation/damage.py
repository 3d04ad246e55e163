"""Damage: what ablating units does to the answers of each kind, against units matched to them.

The test that every detector of this room ends with. Units that were found to belong to a label are
silenced, and the answers of every label are asked again; the same is done with random units of the
same layers that write as much. What exceeds them is the units' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.prompt_scorer import PromptScorer, ablations
from nissl.selectivity.ablation.groups import ablated_groups
from nissl.statistics import Finding, Test
from nissl.statistics.matched import output_weight

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
    test: Test = Test(),
    batch_size: int = 64,
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
    test : Test
        Null (`MatchedUnits`), draws (19 random groups for each), tail, correction over all groups
        and labels, seed.
    batch_size : int
        Rows in a call: prompts times the groups that are ablated together.
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
    scorer = PromptScorer(net, list(facts["text"]), list(facts["answer"]))

    def ask(groups: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        return scorer.answers(ablations(groups), batch_size=batch_size, progress=False)[0]

    return ablated_groups(
        net,
        groups,
        ask,
        facts[labels],
        units=units,
        test=test,
        progress=progress,
        method="damage",
        item="fact",
    )


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
