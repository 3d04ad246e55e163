"""How far edits move the distribution of each next token: the Kullback-Leibler divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network import Network

__all__ = ["edit_divergences"]

BYTES = 200e6  # of the logits of the copies that are run at once


def edit_divergences(
    net: Network,
    edits: Sequence[Any],
    prompt: str | Sequence[int],
    continuation: Sequence[int] = (),
    *,
    tell: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Return how far edits move the distribution of each next token from that without them.

    Parameters
    ----------
    net : Network
        A language model; no edits are in force.
    edits : sequence of Edit, of lists of them, or of None
        Each is measured by itself; several are run in one call (`Network.edit_batch`).
    prompt : str or sequence of int
        A text, or its token ids. Edits of a position from the end mean its end.
    continuation : sequence of int
        Tokens that it is gone on with, such as ``net.generate([prompt])[0]``.
    tell : callable, optional
        Is given how many are done after each call; what it raises ends the work.

    Returns
    -------
    array of float64, shape (n_edits, max(1, n_continuation))
        Kullback-Leibler divergence in nats of what is said under the edit from what is said without
        it, at the prompt's end and after every token of the continuation but the last.

    Examples
    --------
    >>> import nissl, torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> _ = torch.manual_seed(0)
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> net = nissl.load(LlamaForCausalLM(config), tokenizer=None)
    >>> edits = [None, nissl.network.clamp("blocks.1.mlp.neurons[0]", to=30.0)]
    >>> found = edit_divergences(net, edits, [5, 9, 7], [4, 6])
    >>> found.shape, bool((found[1] > found[0]).all())
    ((2, 2), True)
    """
    from nissl.behaviour.prompts import token_ids

    read = token_ids(net, [prompt])[0].tolist()
    ids, n = [*read, *continuation[:-1]], max(1, len(continuation))
    before = _log_probabilities(net, ids, [None], n, len(read))
    size = before[0].numel() * before.element_size()
    at_once = max(1, int(BYTES // size))
    found = np.zeros((len(edits), n))
    for first in range(0, len(edits), at_once):
        some = list(edits[first : first + at_once])
        after = _log_probabilities(net, ids, some, n, len(read))
        fall = (before.exp() * (before - after).nan_to_num()).sum(-1)
        found[first : first + len(some)] = fall.double().clamp_min(0).cpu().numpy()
        if tell is not None:
            tell(first + len(some))
    return found


def _log_probabilities(
    net: Network, ids: list[int], edits: list[Any], n: int, n_prompt: int
) -> Tensor:
    """Return log probabilities at the last n positions under each edit."""
    import torch

    from nissl.network.run.calls import call_model, sequence_call
    from nissl.network.run.partial_logits import partial_logits

    net.prompt_lengths.append(torch.tensor([n_prompt], device=net.device))
    try:
        with torch.inference_mode(), net.edit_batch(edits):
            call = sequence_call(net, [np.array(ids)])
            with partial_logits(net, call, last=n, tokens=None) as partial:
                logits: Tensor = call_model(net, partial).logits[:, -n:]
    finally:
        net.prompt_lengths.pop()
    return logits.float().log_softmax(-1)
