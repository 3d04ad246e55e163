"""Trace a network: which axes of its tensors must be permuted together, operation by operation.

Each rule says how an operation hands permutations of its inputs to its outputs. What has no rule
holds the axes of its inputs fixed, so that a rule that is missing costs groups, not truth.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from nissl.errors import NisslError, first_line
from nissl.network.symmetries.axis import Axis, joined, regroup, unify

__all__ = ["Trace", "call", "tensors_of", "weights_of"]

Axes = list[Axis]
MATRIX = dict.fromkeys(("mm", "bmm", "mv", "dot"), (0, 1))
MATRIX |= dict.fromkeys(("addmm", "baddbmm", "addmv"), (1, 2))
RULES = {
    "_elementwise": "clone detach alias _to_copy contiguous lift_fresh copy native_dropout expand "
    "_softmax _log_softmax _safe_softmax _prelu_kernel",
    "_constant": "zeros_like ones_like full_like empty_like rand_like randn_like "
    "new_zeros new_ones new_full new_empty new_empty_strided",
    "_matrix": " ".join(MATRIX),
    "_reduction": "sum mean amax amin prod any all logsumexp var std var_mean linalg_vector_norm "
    "norm nansum",
    "_view": "view _unsafe_view _reshape_alias reshape",
    "_turn": "t transpose permute",
    "_squeeze": "squeeze unsqueeze",
    "_piece": "select slice split split_with_sizes unbind unsafe_split",
    "_cat": "cat stack",
    "_embedding": "embedding",
    "_convolution": "convolution",
    "_batch_norm": "native_batch_norm _native_batch_norm_legit cudnn_batch_norm miopen_batch_norm "
    "_native_batch_norm_legit_no_training _batch_norm_no_update",
    "_layer_norm": "native_layer_norm _fused_rms_norm",
    "_group_norm": "native_group_norm",
    "_pool": "max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d "
    "upsample_nearest1d upsample_nearest2d upsample_bilinear2d upsample_bicubic2d constant_pad_nd",
}
RULE = {name: rule for rule, names in RULES.items() for name in names.split()}
VIEWS = ("_view", "_turn", "_squeeze")  # and expand: they make nothing new


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, each tensor once.

    Parameters
    ----------
    model : nn.Module
        Any.

    Returns
    -------
    dict of str to Tensor
        The tensors themselves.
    """
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def tensors_of(output: Any) -> list[Tensor]:
    """Return the tensors of an output, however they are nested.

    Parameters
    ----------
    output : Any
        What a module returned.

    Returns
    -------
    list of Tensor
        In order.
    """
    return [x for x in tree_flatten(output)[0] if isinstance(x, Tensor)]


def call(model: nn.Module, example: Any) -> Any:
    """Call a model on an example without gradients.

    Parameters
    ----------
    model : nn.Module
        Any.
    example : Tensor, tuple or dict
        Its argument, its arguments, or its arguments by name.

    Returns
    -------
    Any
        The output.
    """
    args, kwargs = (), dict[str, Any]()
    if isinstance(example, Mapping):
        kwargs = dict(example)
    else:
        args = tuple(example) if isinstance(example, tuple | list) else (example,)
    # Fused kernels hide what they compute.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _open_cells(model):
            return model(*args, **kwargs)
    except Exception as error:
        raise NisslError(
            f"the model cannot be called on the example: {first_line(error)}",
            do="give example= as a tensor, a tuple of arguments, or a dict of them by name",
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _open_cells(model: nn.Module) -> Iterator[None]:
    """Run recurrent networks operation by operation."""
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield
        return
    with warnings.catch_warnings():  # torch warns of hardware that is not there
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _fixed(sizes: Iterable[int]) -> Axes:
    return [Axis(size, fixed=True) for size in sizes]


class Trace(TorchDispatchMode):
    """One run of a copy of a model, with the axes of every tensor.

    Parameters
    ----------
    model : nn.Module
        Any; it runs in evaluation mode.
    example : Tensor, tuple or dict
        What it is called on.
    """

    def __init__(self, model: nn.Module, example: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(model, nn.Module):
            raise NisslError(
                f"a {type(model).__name__} is no module of torch",
                do="give an nn.Module; of a Network, net.model",
            )
        model = copy.deepcopy(model).eval()
        self._axes: dict[int, Axes] = {}
        self._alive: list[Tensor] = []  # an id is a tensor's own only while it lives
        self._constants: list[Tensor] = []
        self.operations: list[str] = []
        self.unruled: list[tuple[str, Axes]] = []  # operations without a rule, and what they fixed
        self.made: list[tuple[Tensor, Axes]] = []  # what operations other than views gave
        kept = model.state_dict()  # other buffers are computed, and of no network's own
        weights = {name: x for name, x in weights_of(model).items() if name in kept}
        for x in weights.values():
            self._set(x, [Axis(size) for size in x.shape])
        for x in tensors_of(dict(example) if isinstance(example, Mapping) else example):
            self._set(x, _fixed(x.shape))
        self._met: set[int] = set()
        with self:
            output = call(model, example)
        for x in tensors_of(output):
            self._fix(self._of(x))
        # Parameters and buffers that were used.
        self.parameters = {k: self._of(x) for k, x in weights.items() if id(x) in self._met}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, then follow the axes through it."""
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        tensors, outs = tensors_of((args, kwargs)), tensors_of(out)
        self.operations.append(name)
        self._met.update(map(id, tensors))
        rule = RULE.get(name, "_elementwise" if torch.Tag.pointwise in func.tags else "")
        if not tensors:
            rule = "_constant"
        if func._schema.is_mutable:
            self._written(tensors[0])
        if rule == "_elementwise":
            self._elementwise(tensors, outs)
        elif rule == "_constant":
            self._constant(outs)
        elif not rule or getattr(self, rule)(args, out, dict(kwargs or {})) is False:
            self._unknown(name, tensors, outs)
        if rule not in VIEWS and name != "expand":
            self.made += [(x, self._of(x)) for x in outs if x.is_floating_point()]
        return out

    def _of(self, x: Tensor) -> Axes:
        """Return the axes of a tensor; one that is met for the first time is a constant."""
        if id(x) not in self._axes:
            self._constant([x])
        return self._axes[id(x)]

    def _set(self, x: Tensor, axes: Axes) -> Axes:
        if id(x) not in self._axes:
            self._alive.append(x)
        self._axes[id(x)] = [
            axis if axis.size == size else Axis(size, fixed=True)
            for axis, size in zip(axes, x.shape, strict=True)
        ]
        return self._axes[id(x)]

    def _fix(self, axes: Iterable[Axis]) -> None:
        for axis in axes:
            axis.fix()

    def _constant(self, outs: list[Tensor]) -> None:
        """Axes along which a constant does not change may be permuted as one likes."""
        for x in outs:
            axes = self._set(x, _fixed(x.shape))
            for d, axis in enumerate(axes):
                axis.loose = axis.size > 1 and bool((x == x.narrow(d, 0, 1)).all())
                axis.fixed = not axis.loose
            self._constants.append(x)

    def _written(self, x: Tensor) -> None:
        """What is written into a constant makes it one no longer."""
        for one in self._constants:
            if one.untyped_storage().data_ptr() == x.untyped_storage().data_ptr():
                for axis in self._of(one):
                    axis.loose = False
                    axis.fix()

    def _unknown(self, name: str, tensors: list[Tensor], outs: list[Tensor]) -> None:
        axes = [axis for x in tensors for axis in self._of(x)]
        self.unruled.append((name, [a for a in axes if any(not x.fixed for x in a.leaves())]))
        self._fix(axes)
        for x in outs:
            self._set(x, _fixed(x.shape))

    def _elementwise(self, tensors: list[Tensor], outs: list[Tensor]) -> None:
        """Axes that meet in an operation on elements are the same; those of one index spread."""
        for out in outs:
            axes: Axes = []
            for back in range(out.ndim, 0, -1):
                met = [self._of(x)[-back] for x in tensors if x.ndim >= back]
                wide = [axis for axis in met if axis.size == out.shape[-back]]
                wide.sort(key=lambda axis: axis.root().loose)
                axes.append(wide[0] if wide else Axis(out.shape[-back]))
                axes[-1].loose |= not wide
                for axis in wide[1:]:
                    unify(wide[0], axis)
            self._set(out, axes)

    def _matrix(self, args: Any, out: Tensor, kwargs: Any) -> None:
        name = self.operations[-1]
        a, b = (self._of(args[i]) for i in MATRIX[name])
        unify(a[-1], b[-2] if len(b) > 1 else b[-1])
        if name in ("bmm", "baddbmm"):
            unify(a[0], b[0])
        made = a[:-1] + (b[-1:] if len(b) > 1 else [])
        self._set(out, made)
        if MATRIX[name] == (1, 2):
            self._elementwise([args[0], out], [out])

    def _convolution(self, args: Any, out: Tensor, kwargs: Any) -> bool | None:
        x, weight, bias, groups = args[0], args[1], args[2], args[8]
        (batch, channels, *places), (first, second, *kernel) = self._of(x), self._of(weight)
        transposed = bool(args[6])
        if transposed and groups > 1:
            return False
        self._fix([*places, *kernel])
        into, outward = (first, second) if transposed else (second, first)
        if groups > 1:
            group = Axis(groups)
            unify(channels, joined("product", [group, into]))
            unify(first, joined("product", [group, Axis(first.size // groups)]))
        else:
            unify(channels, into)
        if bias is not None:
            unify(self._of(bias)[0], outward)
        self._set(out, [batch, outward, *_fixed(out.shape[2:])])
        return None

    def _batch_norm(self, args: Any, out: Any, kwargs: Any) -> None:
        axes = self._of(args[0])
        for one in args[1:]:
            if isinstance(one, Tensor):
                unify(self._of(one)[0], axes[1])
        self._set(tensors_of(out)[0], axes)
        for x in tensors_of(out)[1:]:
            self._set(x, [axes[1]])

    def _layer_norm(self, args: Any, out: Any, kwargs: Any) -> None:
        axes = self._of(args[0])
        for one in args[2:4]:
            if isinstance(one, Tensor):
                for scale, axis in zip(self._of(one), axes[-one.ndim :], strict=True):
                    unify(scale, axis)
        for x in tensors_of(out):
            self._set(x, axes[: x.ndim])  # means and deviations have ones where x is normed

    def _group_norm(self, args: Any, out: Any, kwargs: Any) -> None:
        x, groups = args[0], args[6]
        axes = self._of(x)
        # Groups change places as wholes, and channels within them, the same in each.
        unify(axes[1], joined("product", [Axis(groups), Axis(axes[1].size // groups)]))
        for one in args[1:3]:
            if isinstance(one, Tensor):
                unify(self._of(one)[0], axes[1])
        self._set(tensors_of(out)[0], axes)

    def _reduction(self, args: Any, out: Any, kwargs: Any) -> None:
        x = args[0]
        if self.operations[-1] in ("norm", "linalg_vector_norm"):
            dims = args[2] if len(args) > 2 else kwargs.get("dim")
        else:
            dims = args[1] if len(args) > 1 else kwargs.get("dim")
        dims = list(range(x.ndim)) if dims is None or dims == [] else dims
        gone = {d % x.ndim for d in (dims if isinstance(dims, list | tuple) else [dims])}
        axes = self._of(x)
        kept = [axis for d, axis in enumerate(axes) if d not in gone]
        for y in tensors_of(out):
            self._set(y, axes if y.ndim == x.ndim else kept)  # those of one index are no longer its

    def _pool(self, args: Any, out: Any, kwargs: Any) -> None:
        name = self.operations[-1]
        n = len(args[1]) // 2 if name == "constant_pad_nd" else int(re.findall(r"(\d)d", name)[0])
        axes = self._of(args[0])
        n = min(n, len(axes))
        self._fix(axes[len(axes) - n :])
        for x in tensors_of(out):
            self._set(x, axes[: x.ndim - n] + _fixed(x.shape[x.ndim - n :]))

    def _view(self, args: Any, out: Tensor, kwargs: Any) -> None:
        self._set(out, regroup(self._of(args[0]), out.shape))

    def _turn(self, args: Any, out: Tensor, kwargs: Any) -> None:
        axes, name = self._of(args[0]), self.operations[-1]
        order = list(range(len(axes)))
        if name == "permute":
            order = [d % len(axes) for d in args[1]]
        elif len(axes) > 1:
            one, other = (0, 1) if name == "t" else args[1:3]
            order[one], order[other] = order[other], order[one]
        self._set(out, [axes[d] for d in order])

    def _squeeze(self, args: Any, out: Tensor, kwargs: Any) -> None:
        wide = iter([axis for axis in self._of(args[0]) if axis.size > 1])
        self._set(out, [next(wide) if n > 1 else Axis(n) for n in out.shape])

    def _piece(self, args: Any, out: Any, kwargs: Any) -> bool | None:
        """Cut an axis: select, slice, split and unbind."""
        x, name, outs = args[0], self.operations[-1], tensors_of(out)
        numbers = {"split": 2, "split_with_sizes": 2}
        at = numbers.get(name.removeprefix("unsafe_"), 1)
        dim = (args[at] if len(args) > at else kwargs.get("dim", 0)) % x.ndim
        axes, n = self._of(x), x.shape[dim]
        one = name in ("select", "unbind")
        sizes = [1 if one else y.shape[dim] for y in outs]
        before = 0
        if name == "slice" and len(args) > 4 and args[4] != 1:
            return False
        if name in ("select", "slice"):
            start = args[2] if len(args) > 2 else 0
            before = min(max((start or 0) + (n if (start or 0) < 0 else 0), 0), n)
        if sizes != [n]:
            parts = [before, *sizes, n - before - sum(sizes)]
            cut = regroup([axes[dim]], parts, "sum")[1:-1]
        else:
            cut = [axes[dim]]
        for y, piece in zip(outs, cut, strict=True):
            self._set(y, [*axes[:dim], *([] if one else [piece]), *axes[dim + 1 :]])
        return None

    def _cat(self, args: Any, out: Tensor, kwargs: Any) -> None:
        stacked = self.operations[-1] == "stack"
        tensors = [x for x in args[0] if x.ndim == out.ndim - stacked]
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
        sides = [self._of(x) for x in tensors]
        for axes in sides[1:]:
            for d, axis in enumerate(axes):
                if d != dim or stacked:
                    unify(axis, sides[0][d])
        if stacked:
            self._set(out, [*sides[0][:dim], *_fixed([len(tensors)]), *sides[0][dim:]])
            return
        whole = joined("sum", [axes[dim] for axes in sides])
        self._set(out, [whole if d == dim else axis for d, axis in enumerate(sides[0])])

    def _embedding(self, args: Any, out: Tensor, kwargs: Any) -> None:
        rows, columns = self._of(args[0])
        rows.fix()
        self._set(out, [*self._of(args[1]), columns])
