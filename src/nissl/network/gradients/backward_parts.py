"""Parts of a network that backward rules tell apart: norms, nonlinearities, products, attention."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nissl.network.gradients.backward_rules import (
    AttentionRule,
    BackwardRule,
    NonlinearityRule,
    NormRule,
    ProductRule,
)

__all__ = ["ELEMENTWISE", "PRODUCTS", "REFUSED", "is_activity", "is_attention", "is_elementwise"]
__all__ += ["is_gate", "is_innermost_attention", "is_norm"]


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Functions by the names torch has for them, without underscores around.
ELEMENTWISE = _names(
    "relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign tanh sigmoid expit "
    "logsigmoid log_sigmoid hardtanh hardswish hardsigmoid hardshrink softshrink "
    "tanhshrink threshold prelu clamp clamp_min clamp_max clip"
)
PRODUCTS = _names("mul multiply matmul bmm mm einsum")
_CURVED = _names(
    "exp exp2 expm1 log log2 log10 log1p square pow rpow abs sin cos tan sinh cosh asin acos atan "
    "asinh acosh atanh atan2 hypot sinc erf erfc logit maximum minimum logaddexp logsumexp xlogy "
    "log_softmax softmin prod cumprod addcdiv glu cosine_similarity pairwise_distance cdist"
)
_DIVISORS = _names(
    "rsqrt reciprocal rdiv sqrt std var std_mean var_mean norm linalg_norm linalg_vector_norm"
)
_RECURRENT = _names("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
_BILINEAR = _names(
    "linear bilinear conv1d conv2d conv3d outer inner dot mv tensordot cross kron vecdot"
)

# What no rule understands: the rules that claim it where these arguments are activities (of
# recurrent networks, any).
REFUSED: dict[str, tuple[tuple[type[BackwardRule], ...], tuple[int, ...]]] = {
    **dict.fromkeys(_CURVED, ((NonlinearityRule,), (0,))),
    **dict.fromkeys(_DIVISORS, ((NormRule, NonlinearityRule), (0,))),
    **dict.fromkeys(_RECURRENT, ((NonlinearityRule, ProductRule), ())),
    **dict.fromkeys(("div", "divide", "true_divide"), ((NonlinearityRule, ProductRule), (1,))),
    **dict.fromkeys(("baddbmm", "addbmm", "addmm", "addcmul"), ((ProductRule,), (1, 2))),
    **dict.fromkeys(_BILINEAR, ((ProductRule,), (0, 1))),
    "lerp": ((ProductRule,), (2,)),
    "multi_head_attention_forward": ((AttentionRule, ProductRule), (0,)),
    "local_response_norm": ((NormRule,), (0,)),
}

# Matrices times activities, and where the factors are among what a node has before it.
_MATRIX: dict[str, tuple[int, ...]] = {
    "MmBackward": (0, 1),
    "AddmmBackward": (1, 2),
    "BmmBackward": (0, 1),
    "ConvolutionBackward": (0,),
    "LinearBackward": (0,),
}
_OURS = ("_StraightThroughBackward", "_GateBackward", "_HalfBackward", "EmbeddingBackward")
_GATES = re.compile(
    "(Silu|Gelu|Sigmoid|Tanh|Relu|LeakyRelu|Prelu|Elu|Mish|Softplus|Hardtanh|Hardswish|"
    "Hardsigmoid|LogSigmoid|Threshold|Clamp|Softmax|_Gate)Backward"
)


def is_norm(module: nn.Module) -> bool:
    """Tell whether a module is a norm: one without parts, whose class is called so."""
    return "norm" in type(module).__name__.lower() and not any(module.children())


def is_attention(module: nn.Module) -> bool:
    """Tell whether a module is an attention: its class is called so."""
    return re.search("attention|attn", type(module).__name__, re.IGNORECASE) is not None


def is_innermost_attention(module: nn.Module) -> bool:
    """Tell whether a module is an attention that has no other in it, so that its softmax is."""
    ends = re.compile(r"(attention|attn)\w{0,3}$", re.IGNORECASE)
    return [m for m in module.modules() if ends.search(type(m).__name__)] == [module]


def is_elementwise(module: nn.Module, x: Any) -> bool:
    """Tell whether a module without parts acts on each value alone, and not linearly.

    Parameters
    ----------
    module : nn.Module
        The module; its forward is tried on a few numbers.
    x : Tensor
        What it is given, for its type and device.

    Returns
    -------
    bool
        False also where the module wants something else than one row of numbers.

    Examples
    --------
    >>> x = torch.ones(1, 3)
    >>> [is_elementwise(m, x) for m in (nn.GELU(), nn.Softmax(-1), nn.Identity())]
    [True, False, False]
    """
    if not isinstance(x, Tensor) or any(module.children()):
        return False
    if any(p.numel() != 1 for p in module.parameters()):
        return False
    row = torch.linspace(-3, 3, 41, dtype=x.dtype, device=x.device)[None] ** 3

    def f(given: Tensor) -> Tensor:
        out: Tensor = module.forward(given.clone())
        return out

    try:
        with torch.no_grad():
            y, column, fewer = f(row), f(row.T).T, f(row[:, :17])
            ends = f(row.new_tensor([[0.0, 1.0]]))[0]
            alone = torch.allclose(y, column) and torch.allclose(y[:, :17], fewer)
            return alone and not torch.allclose(y, ends[0] + (ends[1] - ends[0]) * row)
    except Exception:  # it wants something else, or returns it
        return False


def is_activity(x: Any, weights: Collection[int]) -> bool:
    """Tell whether a tensor with a gradient depends on what the network is given.

    Parameters
    ----------
    x : Any
        A tensor, or anything else.
    weights : collection of int
        The ids of the model's parameters.

    Returns
    -------
    bool
        False for weights and for what is computed from weights alone.
    """
    if not isinstance(x, Tensor) or not x.requires_grad:
        return False
    if x.grad_fn is None:
        return id(x) not in weights
    for node in _nodes(x.grad_fn, until=()):
        name = node.name()
        if name.endswith("AccumulateGrad"):
            if id(node.variable) not in weights:
                return True
        elif name.startswith(_OURS):
            return True
        else:
            # A matrix times something without gradient: that is what the network was given.
            factors = _MATRIX.get(name.rstrip("0123456789"), ())
            if any(node.next_functions[i][0] is None for i in factors):
                return True
    return False


def is_gate(x: Tensor) -> bool:
    """Tell whether a nonlinearity or a softmax came since the last matrix that made a tensor."""
    stops = (*_MATRIX, "_HalfBackward", "EmbeddingBackward")
    return x.grad_fn is not None and any(
        _GATES.match(node.name()) for node in _nodes(x.grad_fn, until=stops)
    )


def _nodes(start: Any, *, until: tuple[str, ...]) -> Iterator[Any]:
    """Walk back through autograd's graph, not past nodes of some names."""
    seen, left = {start}, [start]
    while left:
        node = left.pop()
        yield node
        if until and node.name().startswith(until):
            continue
        for before, _ in reversed(node.next_functions):
            if before is not None and before not in seen:
                seen.add(before)
                left.append(before)
