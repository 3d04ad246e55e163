"""What torch computes in one function, step by step, so that rules can act on a part of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.gradients.backward_parts import is_activity
from nissl.network.gradients.backward_rules import straight_through

__all__ = ["HELD_NORMS", "attention", "constant_divisor", "held"]


def constant_divisor(name: str, args: tuple[Any, ...], weights: Collection[int]) -> Any:
    """Return the arguments of a division with the divisor held constant.

    Parameters
    ----------
    name : str
        The function's name.
    args : tuple
        What it is given.
    weights : collection of int
        The ids of the model's parameters.

    Returns
    -------
    tuple or None
        None where the function divides by no activity.
    """
    other: Any = args[1] if len(args) > 1 else None
    if name in ("div", "divide", "true_divide"):
        return (args[0], other.detach()) if is_activity(other, weights) else None
    inverts = name in ("rsqrt", "reciprocal", "rdiv")
    inverts |= name == "pow" and isinstance(other, (int, float)) and other < 0
    return (args[0].detach(), *args[1:]) if inverts and is_activity(args[0], weights) else None


def held(name: str, func: Any, args: tuple[Any, ...], kwargs: Any, *, where: str) -> Tensor:
    """Call a norm of torch's with what it divides by held constant."""
    try:
        line = HELD_NORMS[name](*args, **kwargs)
    except _BatchStatistics:
        raise NisslError(
            "a norm over the batch mixes its items", where=where, do="call model.eval()"
        ) from None
    if line is None:
        out: Tensor = func(*args, **kwargs)
        return out
    with torch.no_grad():
        value: Tensor = func(*args, **kwargs)
    return straight_through(value, line)


class _BatchStatistics(Exception):
    """A batch norm in training."""


def _layer_norm(
    x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    dims = tuple(range(-len(tuple(shape)), 0))
    return _affine(_standardised(x, dims, eps), weight, bias)


def _rms_norm(x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    dims = tuple(range(-len(tuple(shape)), 0))
    with torch.no_grad():
        square = x.square().mean(dims, keepdim=True)
        scale = (square + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt()
    return _affine(x * scale, weight, None)


def _group_norm(
    x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    grouped = x.reshape(len(x), groups, -1)
    out = _standardised(grouped, (-1,), eps).reshape(x.shape)
    shape = (-1, *(1 for _ in x.shape[2:]))
    return _affine(out, *(None if w is None else w.view(shape) for w in (weight, bias)))


def _instance_norm(
    x: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor | None:
    return _group_norm(x, x.shape[1], weight, bias, eps) if use_input_stats else None


def _batch_norm(
    x: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *_: Any,
    **options: Any,
) -> None:
    if training:
        raise _BatchStatistics


def _normalize(
    x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None
) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x.detach(), p, dim, keepdim=True)
    return x / length.clamp_min(eps)


def _standardised(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    with torch.no_grad():
        scale = (x.var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
    return (x - x.mean(dims, keepdim=True)) * scale


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


HELD_NORMS: dict[str, Callable[..., Tensor | None]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "normalize": _normalize,
}


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute what scaled_dot_product_attention does, from scores, softmax and products.

    Parameters
    ----------
    query, key, value : Tensor, shape (batch..., head, position, d_head)
        As all others, what that function is given.
    attn_mask : Tensor, optional
        True at keys that are seen, or what is added to the scores.
    dropout_p : float
        Must be zero.
    is_causal : bool
        Each query sees keys up to its own place.
    scale : float, optional
        Of the scores; by default one over the root of d_head.
    enable_gqa : bool
        Several heads share a key.

    Returns
    -------
    Tensor, shape (batch..., head, position, d_head)
        Zero where a query sees nothing.
    """
    if dropout_p:
        raise NisslError("attention drops places out at random", do="call model.eval()")
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    scores = torch.matmul(query, key.transpose(-1, -2))
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones_like(scores, dtype=torch.bool).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    # A query that sees nothing (padding on the left) has no softmax: zeros, as torch gives.
    blind = (scores == -torch.inf).all(-1, keepdim=True)
    pattern = torch.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)
    return torch.matmul(pattern, value)
