"""Keeping: what a network still answers when all but a few units are pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.behaviour.prompts import first_tokens, token_ids
from nissl.behaviour.restarted_prompts import restarted_prompts
from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics import Finding, MatchedUnits, Test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["keeping"]


def keeping(
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
        Prompts in a call.
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
    >>> keeping(net, found.top(154).units, tested, units=units)  # doctest: +SKIP
    """
    import pandas as pd

    from nissl.network import ablate, site_of_unit, unembed

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
    prompts = token_ids(net, facts["text"])
    first = first_tokens(net, facts["answer"])
    drawn = null.draw(units, list(kept), n_draws, seed=test.seed)
    site, index = map(np.asarray, zip(*map(site_of_unit, names), strict=True))
    by_site = {name: np.flatnonzero(site == name) for name in dict.fromkeys(site.tolist())}
    at, read = str(site[int(np.argmin(units["layer"]))]), unembed(net)
    asked = restarted_prompts(net, prompts, first, read=read, at=at, batch_size=batch_size)

    def ask() -> tuple[float, float]:
        said, right = map(np.concatenate, zip(*(batch.answers() for batch in asked), strict=True))
        advance(1)
        return float(right.mean()), float(said.mean())

    def without(stay: NDArray[np.bool_]) -> tuple[float, float]:
        pruned = [(name, rows[~stay[rows]]) for name, rows in by_site.items()]
        edits = [
            ablate(sites=name, indices=index[rows], to=level[rows])
            for name, rows in pruned
            if len(rows)
        ]
        with net.edit(edits):
            return ask()

    with progress_bar("Pruning", total=n_draws + 3, unit="groups", progress=progress) as advance:
        whole = ask()
        none = without(np.zeros(len(names), dtype=bool))
        observed = without(np.isin(names, list(kept)))
        draws = [without(np.isin(np.arange(len(names)), rows)) for rows in drawn]
    taken = np.asarray(draws)
    # By rank, which holds also where no other units keep anything and the draws do not vary.
    p = (1 + (taken >= np.asarray(observed)).sum(axis=0)) / (1 + n_draws)
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
    said: dict[str, str | int | float] = {
        "network": net.name,
        "n_facts": len(prompts),
        "n_kept": len(kept),
        "n_units": len(names),
        "n_draws": n_draws,
        "seed": test.seed,
    }
    return Finding(table, "keeping", null.name, said, "kept")
