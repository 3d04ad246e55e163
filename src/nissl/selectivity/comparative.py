"""Comparative neuron analysis: what a change of the network takes from each neuron's contribution.

A neuron adds its activity times its output weights to the residual stream. Its *increase* is how
much likelier an answer gets by that; a neuron that a head feeds loses its increase with the head.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour.log_increase import added_to_stream, log_increase
from nissl.behaviour.prompts import first_tokens, token_ids
from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.statistics import Test, paired_test

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.network import Network
    from nissl.statistics import Finding

__all__ = ["comparative"]

LEAST = 5  # facts: of fewer, no change is so consistent that chance could not make it


@method(system=158)
def comparative(
    net: Network,
    facts: pd.DataFrame,
    *,
    edit: Any,
    sites: str | Iterable[str] = "mlp.neurons",
    exchange: str | None = None,
    test: Test = Test(),
    batch_size: int = 16,
    progress: bool = True,
) -> Finding:
    """Compare what each neuron contributes to the answers with and without an edit.

    A neuron's increase is measured where the answer is read: the log probability of the answer with
    the neuron's output added to the stream it is added to, less that without it, to first order in
    what the neuron writes (`log_increase`). Its ``change`` is by how much the increase falls under
    the edit, the mean over facts.

    Parameters
    ----------
    net : Network
        A language model.
    facts : DataFrame
        Columns ``text`` and ``answer``: facts that it knows (`known`).
    edit : Edit
        What is compared with: the head that matters, ablated (`head_damage` finds it).
    sites : str or iterable of str
        Whose neurons: ``blocks.L.mlp.neurons``.
    exchange : str, optional
        A column of `facts`; those that share its value (the numbers that are added) are one sample.
    test : Test
        Draws (999), tail, correction over all neurons, seed. The null: in each sample, the runs
        with and without the edit are swapped.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each neuron: ``change`` (in nats; above zero, the edit takes from the answer),
        effect, null mean, p (one-sided) and q; ``increase`` (without the edit), ``site``,
        ``layer``, ``index``. A neuron that the edit does not reach has p = 1 and a note.

    Raises
    ------
    TooFewSamples
        There are fewer than five facts.
    NotExchangeable
        They are of fewer than five exchangeability blocks.
    NisslError
        A site is no MLP's, or edits are already in force.

    Notes
    -----
    Source: Yu and Ananiadou 2024, section 3, and Yu and Ananiadou 2024 (neuron-level knowledge
    attribution) for the log probability increase. Their code divides every stream by the final
    norm's divisor at the last block; here a stream is read through the norm as it is. The first-
    order form and the null are ours.

    Examples
    --------
    >>> comparative(net, facts, edit=nissl.ablate(sites="blocks.17.attn.z",
    ...                                           heads=3))  # doctest: +SKIP
    """
    import torch

    from nissl.network import unembed
    from nissl.network.record.recording_of import unit_table
    from nissl.network.sites.weights import folded_weights

    if len(facts) < LEAST:
        raise TooFewSamples(
            f"{len(facts)} facts are too few", do="give facts that the network knows"
        )
    if net.edit_blocks:
        raise NisslError("edits are in force", do="compare outside of net.edit")
    found, read = net.find(sites), unembed(net)
    prompts = token_ids(net, facts["text"])
    first = first_tokens(net, facts["answer"])
    answers = torch.from_numpy(first).to(net.device)
    write = [folded_weights(net, site.name).write for site in found]

    clean = added_to_stream(net, prompts, found, write, batch_size, progress)
    with net.edit(edit):
        edited = added_to_stream(net, prompts, found, write, batch_size, progress)
    before, after = [], []
    for w, one, other in zip(write, clean, edited, strict=True):
        both = [
            log_increase(read, stream, activity, w.to(stream), answers)
            # Where the edit does not reach, the same must not seem to differ by rounding.
            for stream, activity in ([one] if _same(one, other) else [one, other])
        ]
        before.append(both[0].double().cpu().numpy())
        after.append(both[-1].double().cpu().numpy())
    increase = np.concatenate(before, axis=1)
    return paired_test(
        increase,
        np.concatenate(after, axis=1),
        units=unit_table(net, {s.name: len(w) for s, w in zip(found, write, strict=True)}),
        exchange=None if exchange is None else facts[exchange],
        score="change",
        method="comparative",
        test=test,
        progress=progress,
    ).assign({"network": net.name, "edit": repr(edit)}, increase=increase.mean(axis=0))


def _same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    import torch

    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
