"""Heads that matter: what ablating each attention head does to the answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.asked import Asked
from nissl.network.prompts import encoded
from nissl.progress import progress_bar
from nissl.statistics import paired_test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.statistics import Finding

__all__ = ["head_damage"]


@method(system=158)
def head_damage(
    net: Network,
    facts: pd.DataFrame,
    *,
    sites: str | Iterable[str] = "attn.z",
    last: int | None = None,
    block: str | None = None,
    n_permutations: int = 999,
    correction: str | None = "max",
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Finding:
    """Ablate each head by itself, and measure how much less likely the answers get.

    Parameters
    ----------
    net : Network
        A language model.
    facts : DataFrame
        Columns ``text`` and ``answer``: facts that it knows (`known`).
    sites : str or iterable of str
        Whose heads: ``blocks.L.attn.z``.
    last : int, optional
        Ablate at so many tokens at the end of each prompt, with what comes before as it was (the
        examples of a few-shot prompt), and compute these alone; by default everywhere.
    block : str, optional
        A column of `facts`; those that share its value are one sample.
    n_permutations : int
        Draws of the null: in each sample, the runs with and without the head trade places.
    correction : {"max", "bh", "bonferroni"} or None
        Over all heads.
    batch_size : int
        Prompts in a call; they are of one length.
    seed : int
        The seed of the draws.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each head: ``damage`` (the mean fall of the answer's log probability, in nats),
        effect, null mean, p (one-sided), q, ``site``, ``layer`` and ``head``, for
        ``ablate(sites=row.site, heads=row.head)``.

    Raises
    ------
    NisslError
        A site's units do not fall into heads, or a prompt has no more than `last` tokens.

    Notes
    -----
    Source: Yu and Ananiadou 2024, section 3.1: each head is set to zero by itself. Whether one may
    begin at the question is ours, as is the null.

    Examples
    --------
    >>> head_damage(net, facts, last=7).top(1)  # doctest: +SKIP
    """
    import pandas as pd

    from nissl.network import ablate, readout

    found = net.find(sites)
    for site in found:
        if not site.heads:
            raise NisslError(f"the units of '{site.name}' do not fall into heads")
    rows = [
        (f"{site.name}[head {head}]", site.name, site.layer, head)
        for site in found for head in range(site.heads or 0)
    ]  # fmt: skip
    units = pd.DataFrame(rows, columns=["unit", "site", "layer", "head"])
    ids, first = encoded(net, list(facts["text"]), list(facts["answer"]))
    after = np.empty((len(ids), len(units)))
    before = np.empty(len(ids))
    batches, read = _of_one_length(ids, batch_size), readout(net)
    with progress_bar(
        "Ablating heads", total=len(units) * len(batches), unit="runs", progress=progress
    ) as advance:
        for batch in batches:
            prompts = [ids[row] for row in batch]
            prompts = [ids[row] for row in batch]
            for site in found:
                # The last tokens are so few that to keep their prefix once is quickest.
                if last is None or site is found[0]:
                    asked = Asked(net, prompts, first[batch], read=read, at=site.name, last=last)
                    before[batch] = asked.answer()[0]
                for column in np.flatnonzero(units["site"] == site.name):
                    with net.edit(ablate(sites=site.name, heads=int(units["head"][column]))):
                        after[batch, column] = asked.answer()[0]
                    advance(1)
    about: dict[str, str | int | float] = {"network": net.name, "last": last or "all"}
    return paired_test(
        np.repeat(before[:, None], len(units), axis=1), after, units=units, score="damage",
        block=None if block is None else facts[block], method="head_damage", said=about,
        n_permutations=n_permutations, correction=correction, seed=seed, progress=progress,
    )  # fmt: skip


def _of_one_length(ids: list[Any], batch_size: int) -> list[NDArray[np.int64]]:
    """Return rows of prompts that are read together: only texts of one length can be cut."""
    length = np.asarray([len(i) for i in ids])
    batches = []
    for n in np.unique(length):
        rows = np.flatnonzero(length == n)
        batches += [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    return batches
