"""Heads that matter: what ablating each attention head does to the answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from nissl.address import Address
from nissl.behaviour.log_probabilities import log_probabilities
from nissl.behaviour.prefix_sharing import chunked, of_one_length
from nissl.behaviour.prompts import first_tokens, token_ids
from nissl.errors import NisslError
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.statistics import Test, paired_test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.statistics import Finding

__all__ = ["head_damage"]

TOKENS = 2**14  # in a call: prompts times heads that are ablated together times what is computed


@method(system=158)
def head_damage(
    net: Network,
    facts: pd.DataFrame,
    *,
    sites: str | Iterable[str] = "attn.z",
    last: int | None = None,
    exchange: str | None = None,
    test: Test = Test(),
    batch_size: int = 64,
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
    exchange : str, optional
        A column of `facts`; those that share its value are one sample.
    test : Test
        Draws (999), tail, correction over all heads, seed. The null: in each sample, the runs with
        and without the head are swapped.
    batch_size : int
        Prompts in a call; they are of one length.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each head: ``damage`` (the mean fall of the answer's log probability, in nats),
        effect, null mean, p (one-sided), q, ``site``, ``layer`` and ``head``. Its heads can be
        ablated: ``ablate(found.top(1))``.

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
    import torch

    from nissl.network import ablate, restart, unembed
    from nissl.network.run.calls import sequence_call

    found = net.find(sites)
    for site in found:
        if not site.heads:
            raise NisslError(f"the units of '{site.name}' do not fall into heads")
    rows = [
        (str(Address(site.name, head=head)), site.name, site.layer, head)
        for site in found
        for head in range(site.heads or 0)
    ]
    units = pd.DataFrame(rows, columns=["unit", "site", "layer", "head"])
    ids = token_ids(net, facts["text"])
    first = first_tokens(net, facts["answer"])
    after = np.empty((len(ids), len(units)))
    before = np.empty_like(after)
    batches, read = of_one_length(ids, range(len(ids)), batch_size), unembed(net)
    end = f"blocks.{net.n_layers - 1}.resid_post"
    with progress_bar(
        "Ablating heads", total=len(units) * len(batches), unit="heads", progress=progress
    ) as advance:
        for batch in batches:
            call = sequence_call(net, [ids[row] for row in batch])
            length, again = len(ids[batch[0]]), None
            for site in found:
                # The last tokens are so few that to keep what is before them once is quickest.
                if again is None or last is None:
                    layers = [s.layer or 0 for s in ([site] if last is None else found)]
                    at = f"blocks.{min(layers)}.resid_pre"
                    again = restart(net, call, at=at, from_position=None if last is None else -last)
                columns = np.flatnonzero(units["site"] == site.name)
                most = TOKENS // (len(batch) * (last or length))
                for heads in chunked(len(columns), most):
                    # The network as it is goes along, so that it is rounded as they are.
                    without = [ablate(sites=site.name, heads=head) for head in heads]
                    with net.edit_batch([None, *without]), torch.inference_mode():
                        logits = read(again.run(sites=end)[end][:, -1])
                    wanted = np.tile(first[batch], 1 + len(heads))
                    said = log_probabilities(logits, wanted)[0].reshape(-1, len(batch))
                    some = np.ix_(np.asarray(batch), columns[heads])
                    before[some], after[some] = said[:1].T, said[1:].T
                    advance(len(heads))
    return paired_test(
        before,
        after,
        units=units,
        score="damage",
        exchange=None if exchange is None else facts[exchange],
        method="head_damage",
        test=test,
        progress=progress,
    ).assign({"network": net.name, "last": last or "all"})
