"""Comparative neuron analysis: what a change of the network takes from each neuron's contribution.

A neuron adds its activity times its output weights to the residual stream. Its *increase* is how
much likelier an answer gets by that; a neuron that a head feeds loses its increase with the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour.prompts import first_tokens, token_ids
from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.statistics import Test, paired_test

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.network import Network
    from nissl.statistics import Finding

__all__ = ["comparative", "log_increase"]

LEAST = 5  # facts: of fewer, no change is so consistent that chance could not make it
CHUNK_BYTES = 2**26  # of logits, in an exact increase


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
    import pandas as pd
    import torch

    from nissl.network import unembed
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

    clean = _added(net, prompts, found, write, batch_size, progress)
    with net.edit(edit):
        edited = _added(net, prompts, found, write, batch_size, progress)
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
    units = [
        (f"{s.name}[{i}]", s.name, s.layer, i)
        for s, w in zip(found, write, strict=True)
        for i in range(len(w))
    ]
    table = pd.DataFrame(units, columns=["unit", "site", "layer", "index"])
    return paired_test(
        increase,
        np.concatenate(after, axis=1),
        units=table,
        exchange=None if exchange is None else facts[exchange],
        score="change",
        method="comparative",
        test=test,
        progress=progress,
    ).assign({"network": net.name, "edit": repr(edit)}, increase=increase.mean(axis=0))


def log_increase(
    read: Callable[[Tensor], Tensor],
    stream: Tensor,
    activity: Tensor,
    write: Tensor,
    answers: Tensor,
    *,
    exact: bool = False,
) -> Tensor:
    """Return how much likelier each answer gets by what each neuron adds to the stream.

    Parameters
    ----------
    read : callable
        Logits of a stream: `nissl.network.unembed`.
    stream : Tensor, shape (n_facts, d_model)
        The stream that the neurons are added to.
    activity : Tensor, shape (n_facts, n_neurons)
        Their activity.
    write : Tensor, shape (n_neurons, d_model)
        Their output weights.
    answers : Tensor, shape (n_facts,), int64
        Token ids.
    exact : bool
        In full, a chunk of neurons at a time; otherwise activity times the derivative of the log
        probability along the output weights, whose error grows with the square of what is written.

    Returns
    -------
    Tensor, shape (n_facts, n_neurons)
        log p(answer | stream + activity x write) - log p(answer | stream), in nats.

    Examples
    --------
    >>> import torch
    >>> zeros = torch.zeros(1, 4)
    >>> log_increase(lambda x: x, zeros, torch.ones(1, 1), torch.eye(4)[:1], torch.tensor([0]),
    ...              exact=True).exp().mul(10).round().item()
    19.0
    """
    import torch

    def said(x: Tensor, answer: Tensor) -> Tensor:
        logits = read(x)
        return logits.gather(-1, answer[:, None])[:, 0] - logits.logsumexp(-1)

    stream = stream.detach()
    if not exact:
        with torch.enable_grad():
            at = stream.clone().requires_grad_()
            (slope,) = torch.autograd.grad(said(at, answers).sum(), at)
        return activity * (slope @ write.T)
    with torch.no_grad():
        before = said(stream, answers)
        rows = []
        width = read(stream[:1]).shape[-1] * stream.element_size()
        step = max(1, CHUNK_BYTES // width)
        for fact, answer in enumerate(answers):
            parts = [
                said(
                    stream[fact] + activity[fact, a : a + step, None] * write[a : a + step],
                    answer.expand(min(step, len(write) - a)),
                )
                for a in range(0, len(write), step)
            ]
            rows.append(torch.cat(parts) - before[fact])
    return torch.stack(rows)


def _added(
    net: Network,
    prompts: list[Any],
    found: list[Any],
    write: list[Tensor],
    batch_size: int,
    progress: bool,
) -> list[tuple[Tensor, Tensor]]:
    """Return for each site, at the last position, the stream and the activity added to it."""
    import torch

    from nissl.network.run.calls import sequence_call

    post_norm = net.architecture is not None and net.architecture.norms[1] is not None
    needed = {site.name: _needed(net, site, post_norm) for site in found}
    asked = list(dict.fromkeys(name for names in needed.values() for name in names))
    parts: dict[str, list[Tensor]] = {name: [] for name in asked}
    with progress_bar(
        f"Reading {net.name}", total=len(prompts), unit="prompts", progress=progress
    ) as advance:
        for at in range(0, len(prompts), batch_size):
            call = sequence_call(net, prompts[at : at + batch_size], padding="left")
            for name, x in net.run(call, sites=asked).items():
                parts[name].append(x[:, -1].to(torch.promote_types(x.dtype, torch.float32)))
            advance(min(batch_size, len(prompts) - at))
    made = []
    for site, w in zip(found, write, strict=True):
        activity, *streams = (torch.cat(parts[name]) for name in needed[site.name])
        if post_norm:
            # What the norm after the MLP divides by is the same for every neuron.
            out, raw = streams.pop(), activity @ w.to(activity)
            activity = activity * (raw * out).sum(1, True) / raw.square().sum(1, True)
        made.append((torch.stack(streams).sum(0), activity))
    return made


def _needed(net: Network, site: Any, post_norm: bool) -> list[str]:
    """Name what a site's neurons are, what they are added to, and what the norm after them says."""
    block = site.name.removesuffix("mlp.neurons")
    # Where attention and MLP read one stream, neurons are added to what attention made of it.
    parallel = f"{block}resid_mid" not in net.named_sites
    streams = ["resid_pre", "attn.out"] if parallel else ["resid_mid"]
    return [site.name, *(block + name for name in [*streams, *["mlp.out"] * post_norm])]


def _same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    import torch

    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
