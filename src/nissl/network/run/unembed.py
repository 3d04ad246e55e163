"""Unembed: read logits from a residual stream, through the final norm and the unembedding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["unembed"]

FINAL = ("final_norm", "decoder.final_norm")


def unembed(net: BaseNetwork) -> Callable[[Tensor], Tensor]:
    """Return what reads logits from a residual stream, through the final norm and the unembedding.

    Parameters
    ----------
    net : Network
        A language model. Half precision is read in float32; edits are not seen.

    Returns
    -------
    callable
        Given a stream, shape (..., d_model), returns logits, shape (..., vocabulary), with their
        graph. Of the last block's ``resid_post`` these are the network's own.

    Raises
    ------
    NisslError
        The network has no unembedding, or it is not known what lies between its stream and its
        logits: its sites have no names, or its logits are scaled.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=1, num_attention_heads=2)
    >>> net = Network(LlamaForCausalLM(config))
    >>> tuple(unembed(net)(torch.ones(3, 16)).shape)
    (3, 40)
    """
    unembedding = net.unembedding
    _refuse_unknown_path(net)
    dtype = net.dtype if net.dtype == torch.float64 else torch.float32
    weight = unembedding.to(dtype)
    model: Any = net.model
    bias = getattr(model.get_output_embeddings(), "bias", None)
    bias = bias() if callable(bias) and not isinstance(bias, Tensor) else bias  # packed int8
    bias = None if bias is None else bias.detach().to(dtype) * net.logit_scale
    norm: Any = torch.nn.Identity()
    last = next((s for name, s in net.named_sites.items() if name in FINAL), None)
    if last is not None:
        norm = net.model.get_submodule(last.hook_point.path)
        # A copy: its own type, and none of the hooks of an edit in force.
        norm = copy.deepcopy(norm).to(dtype).requires_grad_(False)
        norm._forward_hooks.clear()
        norm._forward_pre_hooks.clear()
    cap: float | None = getattr(getattr(net.model, "config", None), "final_logit_softcapping", None)

    def read(stream: Tensor) -> Tensor:
        logits = torch.nn.functional.linear(norm(stream.to(dtype)), weight, bias)
        return logits if cap is None else cap * (logits / cap).tanh()

    return read


def _refuse_unknown_path(net: BaseNetwork) -> None:
    """Refuse what would be read wrong: without its final norm, or off by the scale of its logits.

    A model whose class is not of transformers' making says nothing of either, and is read plainly.
    """
    config: Any = getattr(net.model, "config", None)
    if config is None:
        return
    if net.architecture is None:
        raise NisslError(
            f"the final norm of {net.name} ({type(net.model).__name__}) is not known",
            do="give nissl.load an architecture=, which names it",
        )
    known = (net.architecture.logit_scale or "").removeprefix("/")
    for name in {"logit_scale", "logits_scaling", "lm_head_multiplier"} - {known}:
        scale = getattr(config, name, None)
        if scale not in (None, 1):
            raise NisslError(
                f"{net.name} scales its logits ({name}={scale}), which the lens does not",
                do="read run(..., sites='logits') for what the network says",
            )
