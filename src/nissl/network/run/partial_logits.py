"""Partial logits: of the last positions and of some tokens alone, where no more is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.network.run.calls import Call
from nissl.network.run.early_stop import knows_order, outside_body
from nissl.network.sites.arguments import names_of

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["partial_logits"]


@contextmanager
def partial_logits(
    net: BaseNetwork, call: Call, *, last: int, tokens: Tensor | None, sites: Iterable[Site] = ()
) -> Iterator[Call]:
    """Spare the logits that are not read, in calls inside the block.

    Parameters
    ----------
    net : Network
        The network. Nothing is spared where it is no language model of transformers, or where
        edits in force lie behind its body.
    call : Call
        What it is given.
    last : int
        How many positions are read, from the end.
    tokens : Tensor or None, shape (n_tokens,), int64
        Which tokens' logits are read, each once; None for all. Others are not a number.
    sites : iterable of Site
        What else is read.

    Yields
    ------
    Call
        The call to make.
    """
    if outside_body(net, sites):
        yield call
        return
    if "logits_to_keep" in names_of(net.model):
        call = Call(call.args, {**call.kwargs, "logits_to_keep": last}, call.mask)
    head: Any = getattr(net.model, "get_output_embeddings", lambda: None)()
    plain = type(head) is nn.Linear and head.weight.device.type != "meta" and knows_order(net)
    if tokens is None or not plain or "forward" in head.__dict__:
        yield call
        return
    tokens = tokens.to(head.weight.device)

    def forward(x: Tensor) -> Tensor:
        bias = None if head.bias is None else head.bias[tokens]
        read = nn.functional.linear(x, head.weight[tokens], bias)
        whole = read.new_full((*read.shape[:-1], len(head.weight)), torch.nan)
        return whole.index_copy_(-1, tokens, read)

    try:
        head.__dict__["forward"] = forward
        yield call
    finally:
        del head.__dict__["forward"]
