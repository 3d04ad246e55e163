"""Pruning effects: what a network still answers when all but a few units are pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.errors import NisslError
from nissl.statistics import Finding, MatchedUnits, Test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["pruning_effect"]


def pruning_effect(
    net: Network,
    kept: Sequence[str],
    facts: pd.DataFrame,
    *,
    units: pd.DataFrame,
    values: ArrayLike | None = None,
    test: Test = Test(),
    batch_size: int = 64,
    progress: bool = True,
) -> Finding:
    """Prune all units but a few, and measure what is still answered, against keeping others.

    Parameters
    ----------
    net : Network
        A language model.
    kept : sequence of str
        Addresses of the units that are kept.
    facts : DataFrame
        Columns ``text`` and ``answer``; facts that were not used to find the units.
    units : DataFrame
        All units that are pruned but for those kept, or kept in a draw: ``unit``, ``layer`` and
        ``weight`` (`output_magnitude`).
    values : array, shape (n_units,), optional
        What takes the place of each of `units` where it is pruned: its mean. Zero by default.
    test : Test
        Null (`MatchedUnits`, of units that are kept instead), draws (19 random groups), seed. P is
        by rank, and there is no correction.
    batch_size : int
        Rows in a call: prompts times the prunings that are tried in one batch.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        Two rows, by ``label``: ``accuracy`` (the share of facts whose answer is likeliest) and
        ``log_probability`` (of the answer, the mean in nats), as ``kept``; ``whole`` (nothing is
        pruned) and ``pruned`` (nothing is kept); effect, ``null_mean``, ``null_max`` and p against
        matched units.

    Raises
    ------
    NisslError
        No unit is kept, or all are.
    UnknownName
        A unit that is kept is not in `units`.

    Examples
    --------
    >>> pruning_effect(net, found.top(154).units, tested, units=units)  # doctest: +SKIP
    """
    import pandas as pd

    from nissl.network import ablate, site_of_unit

    test = test.own()
    test.require(tail=("permutation",), alternative=(None, "greater"))
    null, n_draws = test.null_or(MatchedUnits()), test.draws(19)
    names = np.asarray(units["unit"]).astype(str)
    level = np.zeros(len(names)) if values is None else np.asarray(values, dtype=float)
    if level.shape != names.shape:
        raise NisslError(f"{level.size} values for {len(names)} units", do="give one for each")
    if not 0 < len(kept) < len(names):
        raise NisslError(
            f"{len(kept)} of {len(names)} units are kept", do="keep some, and prune the others"
        )
    drawn = null.draw(units, list(kept), n_draws, seed=test.seed)
    site, index = map(np.asarray, zip(*map(site_of_unit, names), strict=True))
    by_site = {name: np.flatnonzero(site == name) for name in dict.fromkeys(site.tolist())}

    def without(stay: NDArray[np.bool_]) -> list[Any]:
        pruned = [(name, rows[~stay[rows]]) for name, rows in by_site.items()]
        return [
            ablate(sites=name, indices=index[rows], to=level[rows])
            for name, rows in pruned
            if len(rows)
        ]

    groups = [np.zeros(len(names), dtype=bool), np.isin(names, list(kept))]
    groups += [np.isin(np.arange(len(names)), rows) for rows in drawn]
    scorer = PromptScorer(net, list(facts["text"]), list(facts["answer"]))
    edits = [None, *(without(stay) for stay in groups)]
    said, right = scorer.answers(edits, batch_size=batch_size, progress=progress)
    # Accuracy and log probability: of the whole network, with all pruned, as asked, and drawn.
    whole, none, observed, *draws = np.column_stack([right.mean(axis=1), said.mean(axis=1)])
    taken = np.asarray(draws)
    # By rank, which holds also where no other units keep anything and the draws do not vary.
    p = (1 + (taken >= observed).sum(axis=0)) / (1 + n_draws)
    table = pd.DataFrame(
        {
            "unit": "kept",
            "label": ["accuracy", "log_probability"],
            "kept": observed,
            "effect": observed - taken.mean(axis=0),
            "null_mean": taken.mean(axis=0),
            "null_max": taken.max(axis=0),
            "p": p,
            "whole": whole,
            "pruned": none,
        }
    )
    notes: dict[str, str | int | float] = {
        "network": net.name,
        "n_facts": len(facts),
        "n_kept": len(kept),
        "n_units": len(names),
        "n_draws": n_draws,
        "seed": test.seed,
    }
    return Finding(table, "pruning_effect", null.name, notes, "kept")
