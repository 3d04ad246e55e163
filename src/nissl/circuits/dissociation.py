"""Double dissociation: units of one behaviour that another does without, and the reverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour import Behaviour, BehaviourMeasure, Task, ablation_effect
from nissl.behaviour.pair_test import pairs_of
from nissl.errors import NisslError
from nissl.methods import method
from nissl.statistics import Finding, MatchedUnits, Test, shared_units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["dissociation"]

DRAWS = 999  # of the labels of pairs


@method(system=37)
def dissociation(
    groups: Mapping[str, Sequence[str] | Finding],
    *,
    on: Mapping[str, Behaviour | Task],
    units: pd.DataFrame,
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Ablate the units of each of two behaviours and measure both; count the units they share.

    Parameters
    ----------
    groups : mapping of str to sequence of str, or to Finding
        Addresses of the units found for each behaviour.
    on : mapping of str to Behaviour or Task
        The two behaviours: pairs that were not used to find the units.
    units : DataFrame
        All units that could have been found: ``unit``, ``layer``, and ``weight`` if those that are
        drawn are to write as much (`output_magnitude`).
    test : Test
        As in `ablation_effect`; by default 19 draws of units of the same layers (and weight).
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        Of `ablation_effect`. ``damage`` is the share of a behaviour that is lost, 1 where it is as
        corrupted; ``p_pairs`` of "own - others" permutes to which behaviour pairs belong.
        Provenance has ``p_dissociation``, the largest p of "own - others"; ``shared``, how many
        units are in both groups, ``shared_by_chance`` and ``p_shared``, drawn from each layer.

    Raises
    ------
    NisslError
        There are not two behaviours of one network with a group each, or as `ablation_effect`.

    Notes
    -----
    Matched units tell whether one behaviour is hurt more by anything; permuted pairs, whether a
    group that both need alike hurts one more by chance. Both tests, and chance, are ours.

    Source: the question, Fartale et al. 2025; the overlap, Merullo et al. 2024.

    Examples
    --------
    >>> dissociation({"facts": a, "sums": b}, on={"facts": facts, "sums": sums},
    ...              units=heads).provenance["p_dissociation"]  # doctest: +SKIP
    """
    import pandas as pd

    pairs = {k: pairs_of(x) for k, x in on.items()}
    members: dict[str, Any] = {k: getattr(x, "units", x) for k, x in groups.items()}
    chosen = {k: [str(unit) for unit in x] for k, x in members.items()}
    nets = {id(one.net): one.net for one in pairs.values()}
    if len(pairs) != 2 or set(chosen) != set(pairs) or len(nets) != 1:
        raise NisslError(
            f"groups of {', '.join(groups)} are ablated for {', '.join(pairs)}",
            do="give two behaviours of one network, and a group of each by the same name",
        )
    (net,), measure = nets.values(), BehaviourMeasure(pairs)
    for one in pairs.values():
        one.normalised(one.clean_value)  # refuses a behaviour whose inputs do not differ
    kind = np.repeat(list(pairs), [len(one) for one in pairs.values()])
    usual = MatchedUnits(("layer", "weight") if "weight" in units else ("layer",))
    found = ablation_effect(
        net,
        chosen,
        on=pd.DataFrame({"behaviour": kind}),
        labels="behaviour",
        units=units,
        measure=measure,
        test=replace(test, null=test.null_or(usual)),
        progress=progress,
    )
    rng = np.random.default_rng(test.seed)
    whole, *left = measure.bind(net)[0]([[], *chosen.values()])
    p_pairs = {k: _p_more(whole - x, kind == k, rng) for k, x in zip(chosen, left, strict=True)}
    own = found.table["label"] == "own - others"
    each = found.table["unit"].map(p_pairs).where(own)
    p = float(max(found.table.loc[own, "p"].max(), each.max()))
    first, second = chosen.values()
    about = {"p_dissociation": p, **shared_units(first, second, units)}
    return found.assign(about, p_pairs=each)


def _p_more(lost: Any, own: Any, rng: np.random.Generator) -> float:
    """Return p of own pairs losing more than the others, with labels permuted."""
    labels = np.concatenate([own[None], rng.permuted(np.tile(own, (DRAWS, 1)), axis=1)])
    more = labels @ lost / own.sum() - ~labels @ lost / (~own).sum()
    return float((more >= more[0] - 1e-12).mean())
