"""Log probability increase: how much likelier an answer gets by what each neuron writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nissl.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network import Network

__all__ = ["added_to_stream", "log_increase"]


def log_increase(
    read: Callable[[Tensor], Tensor],
    stream: Tensor,
    activity: Tensor,
    write: Tensor,
    answers: Tensor,
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

    Returns
    -------
    Tensor, shape (n_facts, n_neurons)
        log p(answer | stream + activity x write) - log p(answer | stream), in nats, to first order:
        activity times the derivative of the log probability along the output weights, whose error
        grows with the square of what is written.

    Notes
    -----
    Source: Yu and Ananiadou 2024 (neuron-level knowledge attribution); the first order is ours.

    Examples
    --------
    >>> import torch
    >>> zeros, one = torch.zeros(1, 4), torch.ones(1, 1)
    >>> log_increase(lambda x: x, zeros, one, torch.eye(4)[:1], torch.tensor([0])).item()
    0.75
    """
    import torch

    with torch.enable_grad():
        at = stream.detach().clone().requires_grad_()
        logits = read(at)
        said = logits.gather(-1, answers[:, None])[:, 0] - logits.logsumexp(-1)
        (slope,) = torch.autograd.grad(said.sum(), at)
    return activity * (slope @ write.T)


def added_to_stream(
    net: Network,
    prompts: list[Any],
    found: list[Any],
    write: list[Tensor],
    batch_size: int,
    progress: bool,
) -> list[tuple[Tensor, Tensor]]:
    """Return for each site of neurons, at the last position, the stream and their activity."""
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
