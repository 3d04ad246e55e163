"""Attention scores: what attention patterns are the softmax of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.network.run.calls import call_model
from nissl.network.run.forward import visited
from nissl.network.sites.attention import BeforeSoftmax

if TYPE_CHECKING:
    from nissl.network.run.calls import Call
    from nissl.network.sites.base import BaseNetwork

__all__ = ["attention_scores"]


def attention_scores(
    net: BaseNetwork, call: Call, patterns: str | Iterable[str]
) -> dict[str, Tensor]:
    """Run a network and return the scores of attention before the softmax.

    Parameters
    ----------
    net : Network
        The network; edits in force are seen.
    call : Call
        What it is called with.
    patterns : str or iterable of str
        Sites of patterns, such as ``blocks.3.attn.pattern``.

    Returns
    -------
    dict of str to Tensor, each shape (batch, position, head, position read)
        By the pattern's site; minus infinity where a mask is. A sink is a last position more.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def read(_: Any, x: Tensor) -> Tensor:
            kept[name] = x.detach()
            return x

        return read

    sites = net.find(patterns)
    before = (replace(s, hook_point=BeforeSoftmax(s.hook_point.path)) for s in sites)
    visits = [(b, keep(s.name)) for b, s in zip(before, sites, strict=True)]
    with torch.no_grad(), visited(net, visits) as fired:
        call_model(net, call)
        fired.require(why="read")
    return kept
