"""Where items and units lie in a module's tensor: which axis is the batch, and which the units.

Kinds of modules say it (a convolution keeps channels second, a recurrent net may keep time first);
what only passes a tensor on, such as a nonlinearity, follows from how its tensor was made. That is
seen in the first call of a model with convolutions: while it runs, every function of torch hands
the axis on from what it is given to what it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nissl.errors import NisslError

__all__ = ["Layout", "following_axes", "layout_of", "reads_time_first"]

CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
LAST = (nn.Linear, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
UNKNOWN = -1
# By name, as torch calls them: what keeps channels second, what gives units last, what moves axes.
OF_CHANNELS = ("conv", "batch_norm", "instance_norm", "group_norm")
OF_LAST = ("linear", "layer_norm", "rms_norm", "embedding")
MOVES = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t")
RESHAPES = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel")
# What is known of the places of each model.
_known: WeakKeyDictionary[nn.Module, dict[Any, Any]] = WeakKeyDictionary()


def layout_of(
    model: nn.Module,
    module: nn.Module,
    path: str,
    point: int | str | None = None,
    *,
    axis: int | None = None,
    flat: bool = False,
) -> Layout:
    """Return how one tensor of a module lies.

    Parameters
    ----------
    model : nn.Module
        The whole model.
    module : nn.Module
        The module.
    path : str
        Its path.
    point : int, str or None
        Which item of what it returns, or "in" for what it is given.
    axis : int, optional
        The axis of units, where it is told.
    flat : bool
        The tensor is (batch x position, unit).

    Returns
    -------
    Layout
        The same each time, so that what is seen of it holds.
    """
    known = _known.setdefault(model, {})
    key = path, point, axis, flat, type(module)
    if key not in known:
        if axis is None and isinstance(module, CHANNELS_FIRST):
            axis = 1
        elif axis is None and (isinstance(module, LAST) or type(module) is nn.LayerNorm):
            axis = -1
        known[key] = Layout(path, axis, flat, _time_first(model, path, point))
    found: Layout = known[key]
    return found


class Layout:
    """How one tensor of a module is viewed as (batch, place..., unit), and back.

    Parameters
    ----------
    path : str
        Path of the module, for messages.
    axis : int or None
        The axis of units; None is to be seen.
    flat : bool
        The tensor is (batch x position, unit).
    time_first : bool
        The batch is the second axis.
    """

    def __init__(self, path: str, axis: int | None, flat: bool, time_first: bool) -> None:
        self.path, self.axis, self.flat, self.time_first = path, axis, flat, time_first

    @property
    def asks(self) -> bool:
        """Whether the batch of the call is of use."""
        return self.flat or self.axis is None

    def there(self, tensor: Tensor, module: nn.Module, batch: Any) -> Tensor:
        """View a tensor as (batch, place..., unit); a flat one by the `Batch` of the call."""
        if self.flat and tensor.ndim == 2 and batch is not None and batch.positions is not None:
            # As many items as there are: ablations together give several copies of the batch.
            return tensor.reshape(-1, batch.positions.shape[1], tensor.shape[-1])
        order = self._order(tensor, module, batch)
        return tensor if order is None else tensor.permute(order)

    def back(self, new: Tensor, tensor: Tensor, module: nn.Module) -> Tensor:
        """Give a replacement the form of the tensor that it replaces."""
        order = self._order(tensor, module)
        if new.ndim == tensor.ndim + 1:
            new = new.flatten(0, 1)
        elif order is not None:
            new = new.permute([order.index(axis) for axis in range(tensor.ndim)])
        if new.shape != tensor.shape:
            raise NisslError(f"an edit made {tuple(new.shape)} of {tuple(tensor.shape)}")
        return new

    def _order(self, tensor: Tensor, module: nn.Module, batch: Any = None) -> list[int] | None:
        """Return the axes in the order batch, places, unit; None where they lie so."""
        if tensor.ndim < 3:
            return None
        axis = self.axis
        if axis is None:
            axis = self._seen(tensor, module, batch)
        if not -tensor.ndim <= axis < tensor.ndim:
            raise NisslError(
                f"a tensor of shape {tuple(tensor.shape)} has no axis {axis}", where=self.path
            )
        batch, unit = int(self.time_first), axis % tensor.ndim
        if (batch, unit) == (0, tensor.ndim - 1):
            return None
        rest = [each for each in range(tensor.ndim) if each not in (batch, unit)]
        return [batch, *rest, unit]

    def _seen(self, tensor: Tensor, module: nn.Module, batch: Any) -> int:
        """Return the axis of units as it follows from how the tensor was made."""
        found = _following.modes[-1].axes.get(tensor) if _following.modes else None
        positions = getattr(batch, "positions", None)
        if found == UNKNOWN and positions is not None and tensor.shape[:-1] == positions.shape:
            found = tensor.ndim - 1  # one vector for each token
        if found == UNKNOWN:
            raise NisslError(
                f"which axis of {tuple(tensor.shape)} counts units cannot be told from how the "
                "tensor was made",
                where=self.path or type(module).__name__,
                do="say it once: net.set_unit_axis(site, axis)",
            )
        if found is not None:
            self.axis = found
            return int(found)
        # Norms inside heads work along the last axis of four; images are given channels second.
        weight = getattr(module, "weight", None)
        along = isinstance(weight, Tensor) and weight.shape[-1:] == tensor.shape[-1:]
        return -1 if tensor.ndim == 3 or along else 1


class _Stack(threading.local):
    """What each thread follows: networks in other threads have their own."""

    def __init__(self) -> None:
        self.modes: list[_Following] = []


_following = _Stack()


@contextmanager
def following_axes(model: nn.Module, layouts: Iterable[Layout]) -> Iterator[None]:
    """Follow the axis of units through every function of torch called inside the block.

    Parameters
    ----------
    model : nn.Module
        The model. One without convolutions has units last everywhere, so that nothing is done.
    layouts : iterable of Layout
        What is looked at; nothing is done where their axes are known.

    Yields
    ------
    None
        For calls of the model.
    """
    known = _known.setdefault(model, {})
    if all(layout.axis is not None for layout in layouts) or not known.setdefault(
        "convolves", any(isinstance(m, CHANNELS_FIRST) for m in model.modules())
    ):
        yield
        return
    mode = _Following()
    _following.modes.append(mode)
    try:
        with mode:
            yield
    finally:
        _following.modes.remove(mode)


def reads_time_first(module: nn.Module) -> bool:
    """Tell whether a module reads (time, batch, unit): torch's default for sequences.

    Parameters
    ----------
    module : nn.Module
        The module; a chain of modules reads what its first does.

    Returns
    -------
    bool
        False for modules of other kinds.
    """
    kinds = (nn.RNNBase, nn.MultiheadAttention, nn.Transformer)
    if isinstance(module, kinds):
        return not module.batch_first
    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return reads_time_first(module.self_attn)
    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)):
        return reads_time_first(module.layers[0])
    if isinstance(module, nn.Sequential):
        for part in module:
            if reads_time_first(part):
                return True
            if not isinstance(part, (nn.Linear, nn.LayerNorm, nn.Dropout, nn.ReLU, nn.Identity)):
                return False
    return False


def _time_first(model: nn.Module, path: str, point: int | str | None) -> bool:
    """Tell whether time lies first in a tensor of a module, by its kind or what it is part of."""
    module = model.get_submodule(path)
    if isinstance(module, nn.RNNBase) and point == 1:
        return True  # last states: (layer, batch, unit), whatever batch_first says
    if isinstance(module, nn.MultiheadAttention) and point == 1:
        return False  # patterns
    names = path.split(".") if path else []
    around = [model.get_submodule(".".join(names[:n])) for n in range(len(names) + 1)]
    return any(map(reads_time_first, around))


class _Following(TorchFunctionMode):
    """Hands the axis of units on from tensor to tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.axes: dict[Tensor, int] = WeakIdKeyDictionary()  # type: ignore[assignment]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = list(_tensors((args, kwargs or {})))
        for tensor in _tensors(out):
            if tensor.ndim > 2 and not any(tensor is x and x in self.axes for x in given):
                axis = self._axis(getattr(func, "__name__", ""), func, tensor, args, kwargs, given)
                if axis is not None:
                    self.axes[tensor] = axis
        return out

    def _axis(
        self,
        name: str,
        func: Any,
        out: Tensor,
        args: Any,
        kwargs: Mapping[str, Any] | None,
        given: list[Tensor],
    ) -> int | None:
        if name.startswith(OF_CHANNELS):
            return 1
        if name in OF_LAST:
            return out.ndim - 1
        if name in (
            "matmul",
            "__matmul__",
            "bmm",
            "addmm",
            "baddbmm",
            "scaled_dot_product_attention",
        ):
            return out.ndim - 1
        known = [(x, self.axes[x]) for x in given if x in self.axes]
        if not known:
            return None
        if any(axis == UNKNOWN for _, axis in known):
            return UNKNOWN
        source, axis = known[0]
        if name in MOVES or name == "__get__":
            return _moved(func, source, axis, args, kwargs)
        if name in RESHAPES:
            return _reshaped(source.shape, out.shape, axis)
        same = {a for x, a in known if x.ndim == out.ndim}
        if out.ndim == source.ndim and len(same) == 1 and "einsum" not in name:
            return same.pop()
        if out.shape[: axis + 1] == source.shape[: axis + 1] and out.ndim < source.ndim:
            return axis  # places behind it are summed or chosen
        return UNKNOWN


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)


def _moved(
    func: Any, source: Tensor, axis: int, args: Any, kwargs: Mapping[str, Any] | None
) -> int | None:
    """Return where an axis went: the same is done to a tensor whose axes have different lengths."""
    sizes = list(range(2, 2 + source.ndim))
    twin = torch.empty(sizes, device="meta")
    with torch._C.DisableTorchFunction():
        moved = func(*(twin if x is source else x for x in args), **(kwargs or {}))
    if not isinstance(moved, Tensor) or moved.ndim != source.ndim:
        return UNKNOWN if isinstance(moved, Tensor) else None
    return list(moved.shape).index(sizes[axis])


def _reshaped(old: torch.Size, new: torch.Size, axis: int) -> int:
    """Return where an axis lies after the others were split or joined; unknown where it was."""
    before = prod(old[:axis])
    at = [i for i, size in enumerate(new) if size == old[axis] and prod(new[:i]) == before]
    return at[-1] if at else UNKNOWN
