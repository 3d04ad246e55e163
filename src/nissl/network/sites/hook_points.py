"""Hook points: how the tensor of a site is reached in a running model, to be read or replaced.

A hook point hands a visitor the tensor in one form, ``(batch, place..., unit)``: places are
positions of a sequence or rows and columns of a map. What the visitor returns, if it is another
tensor, takes the tensor's place in the computation. Attaching a hook point registers hooks;
removing the handles undoes it.

The kinds: `Output` and `Input` of a module; `FusedPart` of a fused projection; `ResidMid`, the
residual stream between attention and MLP, which a block uses twice; `Heads`, what each head adds to
the residual. `Rotated` (attention.py) is what the attention scores see, `Expert` (experts.py) the
neurons of one expert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.sites.arguments import bound
from nissl.network.sites.layout import Layout, layout_of
from nissl.network.sites.linear_map import is_plain, require_linear, without_hooks

if TYPE_CHECKING:
    from nissl.network.sites.batch import Batch

__all__ = [
    "FusedPart",
    "Handle",
    "Heads",
    "HookPoint",
    "Input",
    "Output",
    "ResidMid",
    "Visit",
    "module_at",
]

HEADS = "_nissl_heads"
Visit = Callable[[Tensor], Tensor]
"""Given a site's tensor, shape (batch, place..., unit); returns it, or what replaces it."""


class Handle(Protocol):
    """Something that can be undone."""

    def remove(self) -> None:
        """Undo it."""


class HookPoint(Protocol):
    """How a site's tensor is reached."""

    @property
    def path(self) -> str:
        """The module whose call fires the hook point."""

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the model so that ``visit`` is called whenever the tensor is computed."""


@dataclass(frozen=True)
class Output:
    """The output of a module.

    Parameters
    ----------
    path : str
        Path of the module; "" is the model itself.
    item : int or str, optional
        Which item of a tuple or dict; by default the only tensor, or the first of a tuple.
    flat : bool
        The module is given (batch x position, unit), so its output is put back into
        (batch, position, unit).
    axis : int, optional
        The axis of units; by default that of the module's kind, or seen as the model runs.
    scale : float
        What the block multiplies the output by before it is added to the residual stream (Granite);
        the site is what is added.
    """

    path: str
    item: int | str | None = None
    flat: bool = False
    axis: int | None = None
    scale: float = 1.0

    def layout(self, model: nn.Module) -> Layout:
        """Return how the tensor lies."""
        module = module_at(model, self.path)
        return layout_of(model, module, self.path, self.item, axis=self.axis, flat=self.flat)

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the module's output."""
        layout = self.layout(model)

        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            tensor = pick(output, self.item, where=self.path)
            own = layout.there(tensor, module, batch() if layout.asks else None)
            view = own if self.scale == 1 else own * self.scale
            new = visit(view)
            if new is view:
                return None
            if self.scale != 1:
                new = unscaled(new, view, own, self.scale)
            return put(output, self.item, layout.back(new, tensor, module))

        return [module_at(model, self.path).register_forward_hook(hook)]


@dataclass(frozen=True)
class Input:
    """The input of a module: its first positional argument, or its only tensor by name.

    Parameters
    ----------
    path : str
        Path of the module.
    flat, axis
        As in `Output`.
    """

    path: str
    flat: bool = False
    axis: int | None = None

    def layout(self, model: nn.Module) -> Layout:
        """Return how the tensor lies."""
        module = module_at(model, self.path)
        return layout_of(model, module, self.path, "in", axis=self.axis, flat=self.flat)

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the module's input."""
        layout = self.layout(model)

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            tensor = first_input(module, args, kwargs, where=self.path)
            view = layout.there(tensor, module, batch() if layout.asks else None)
            new = visit(view)
            if new is view:
                return None
            return replace_input(module, args, kwargs, layout.back(new, tensor, module))

        return [module_at(model, self.path).register_forward_pre_hook(hook, with_kwargs=True)]


@dataclass(frozen=True)
class FusedPart:
    """One of the projections that a fused module computes together.

    Parameters
    ----------
    path : str
        Path of the fused projection.
    index, of : int
        Which part, of how many.
    n_heads : int, optional
        Where parts are interleaved by head, (head, part, unit), the number of heads; where they
        follow one another, None.
    sizes : tuple of int, optional
        How many units each part has (of a head where they are interleaved); by default as many.
    """

    path: str
    index: int
    of: int = 3
    n_heads: int | None = None
    sizes: tuple[int, ...] | None = None

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the fused projection's output."""

        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            parts = self.parts(output)
            view = parts[self.index].flatten(-2)
            new = visit(view)
            if new is view:
                return None
            parts[self.index] = new.unflatten(-1, (self.n_heads or 1, -1))
            return torch.cat(parts, -1).flatten(-2)

        return [module_at(model, self.path).register_forward_hook(hook)]

    def parts(self, output: Tensor) -> list[Tensor]:
        """Return every part of the projection's output, each shape (..., head or 1, unit)."""
        heads: Tensor = output.unflatten(-1, (self.n_heads or 1, -1))
        return list(heads.split(self.sizes or heads.shape[-1] // self.of, -1))

    def part(self, output: Tensor) -> Tensor:
        """Return this part of the projection's output, shape (..., unit)."""
        return self.parts(output)[self.index].flatten(-2)


@dataclass(frozen=True)
class ResidMid:
    """The residual stream between attention and MLP.

    The block keeps it as the residual before it goes into the norm, so replacing the norm's input
    alone would leave the stream as it was: the difference is added to the block's output too.

    Parameters
    ----------
    path : str
        Path of the norm that reads the stream before the MLP.
    block : str
        Path of the block.
    flat : bool
        As in `Output`.
    later : tuple of str
        Paths of further norms of the block that read the stream after it (a decoder's, after it
        has read its encoder).
    """

    path: str
    block: str
    flat: bool = False
    later: tuple[str, ...] = ()

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the norm's input, those of later norms, and the block's output."""
        change: list[Tensor] = []
        norm, block = module_at(model, self.path), module_at(model, self.block)
        layout = layout_of(model, norm, self.path, "in", axis=-1, flat=self.flat)

        def before_norm(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            tensor = first_input(module, args, kwargs, where=self.path)
            view = layout.there(tensor, module, batch() if layout.asks else None)
            change.clear()  # a call that was cut short by an exception leaves its own behind
            new = visit(view)
            if new is view:
                return None
            change.append(new - view)
            return replace_input(module, args, kwargs, layout.back(new, tensor, module))

        def before_later(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not change:
                return None
            tensor = first_input(module, args, kwargs, where=self.block)
            return replace_input(module, args, kwargs, tensor + change[-1].to(tensor.device))

        def after_block(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if not change:
                return None
            tensor = pick(output, None, where=self.block)
            return put(output, None, tensor + change.pop().to(tensor.device))

        return [
            norm.register_forward_pre_hook(before_norm, with_kwargs=True),
            # First, so that whoever reads the block's output sees the changed stream.
            block.register_forward_hook(after_block, prepend=True),
            *(
                module_at(model, path).register_forward_pre_hook(
                    before_later, with_kwargs=True, prepend=True
                )
                for path in self.later
            ),
        ]


@dataclass(frozen=True)
class Heads:
    """What each head adds to the residual stream, shape (batch, position, head x d_model).

    Parameters
    ----------
    path : str
        Path of the output projection, which reads the heads side by side.
    n_heads : int
        How many heads.
    post_norm : str, optional
        Path of the norm between the output projection and the residual (Gemma); each head's share
        is scaled as the sum is.
    transposed : bool
        The projection keeps its weight as (in, out).
    scale : float
        As in `Output`.
    """

    path: str
    n_heads: int
    post_norm: str | None = None
    transposed: bool = False
    scale: float = 1.0

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the output projection, and the norm after it where there is one."""
        projection = module_at(model, self.path)
        last = projection if self.post_norm is None else module_at(model, self.post_norm)
        # What the projection was given and made of it, and what the last module made of that,
        # before any edit.
        given: list[tuple[Tensor, Tensor]] = []
        raw: list[Tensor] = []

        def projected(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
        ) -> None:
            given[:] = [(first_input(module, args, kwargs, where=self.path), output)]

        def computed(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            raw[:] = [output]
            last.__dict__.pop(HEADS, None)

        def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            heads, rest = self._heads(projection, *given.pop())
            heads = heads if self.scale == 1 else heads * self.scale
            if self.post_norm is not None:
                gain = frozen_gain(module, args[0])
                heads = heads * gain.unsqueeze(-2)
                rest = None if rest is None else rest * gain
            # An edit of the heads before this one leaves them as it made them.
            view: Tensor
            view, total = last.__dict__.get(HEADS, (heads.flatten(-2), raw.pop()))
            new = visit(view)
            if new is view:
                return None
            if output is total:
                # Summed again from the heads, so that heads set to zero add exactly zero.
                summed: Tensor = new.unflatten(-1, (self.n_heads, -1)).sum(-2) / self.scale
                summed = summed if rest is None else summed + rest
            else:  # an edit of the sum came before: keep what it did
                change = (new - view).unflatten(-1, (self.n_heads, -1)).sum(-2)
                summed = output + change / self.scale
            last.__dict__[HEADS] = (new, summed)
            return summed

        return [
            projection.register_forward_hook(projected, prepend=True, with_kwargs=True),
            last.register_forward_hook(computed, prepend=True),
            last.register_forward_hook(after),
            _Forgotten(last),
        ]

    def _heads(
        self, projection: nn.Module, given: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return each head's share, shape (batch, position, head, d_model), and the bias."""
        z = given.unflatten(-1, (self.n_heads, -1))
        if is_plain(projection):
            weight: Tensor = projection.weight  # type: ignore[assignment]
            bias: Tensor | None = getattr(projection, "bias", None)
            matrix = (weight.T if not self.transposed else weight).unflatten(0, (self.n_heads, -1))
            return torch.einsum("bphi,hid->bphd", z, matrix), bias
        # Adapters, or weights that are in memory during a call only: the module projects one head
        # at a time.
        one = torch.eye(self.n_heads, dtype=z.dtype, device=z.device)
        alone = (z.unsqueeze(0) * one[:, None, None, :, None]).flatten(-2)
        with without_hooks(projection):
            rest = projection.forward(torch.zeros_like(given[:1, :1]))
            shares = (projection.forward(alone) - rest).movedim(0, -2)
        require_linear(shares.sum(-2) + rest, output, projection, where=self.path)
        return shares, rest


class _Forgotten:
    """Takes what edits of heads leave for each other off the module."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def remove(self) -> None:
        """Take it off."""
        self.module.__dict__.pop(HEADS, None)


def module_at(model: nn.Module, path: str) -> nn.Module:
    """Return the module at a path, or say which modules are near.

    Parameters
    ----------
    model : nn.Module
        The model.
    path : str
        Names joined by dots; "" is the model itself.

    Returns
    -------
    nn.Module
        The module.

    Raises
    ------
    UnknownName
        There is none.

    Examples
    --------
    >>> module_at(nn.Sequential(nn.Linear(2, 3)), "0").out_features
    3
    """
    try:
        found = model.get_submodule(path)
    except AttributeError:
        from nissl.errors import UnknownName

        known = [name for name, _ in model.named_modules() if name]
        raise UnknownName("module", path, known, do="net.sites() lists them") from None
    if isinstance(found, torch.jit.ScriptModule):
        raise NisslError(
            "a scripted or traced module keeps no hooks",
            where=path,
            do="give the model from before torch.jit",
        )
    return found


def pick(output: Any, item: int | str | None, *, where: str) -> Tensor:
    """Return the tensor of a module's output that a site means."""
    found: Any = output
    if item is not None:
        try:
            found = output[item]
        except (KeyError, IndexError, TypeError) as error:
            raise NisslError(
                f"the output has no item {item!r}",
                where=where,
                do=f"it is {_describe(output)}",
            ) from error
    elif isinstance(output, (tuple, list)) and output and not hasattr(output, "_fields"):
        found = output[0]
    elif isinstance(output, Mapping):
        tensors = [key for key, value in output.items() if isinstance(value, Tensor)]
        if len(tensors) != 1:
            raise NisslError(
                f"the output holds several tensors: {', '.join(map(str, tensors))}",
                where=where,
                do=f"name one, as in '{where}:{tensors[0] if tensors else 'key'}'",
            )
        found = output[tensors[0]]
    if isinstance(found, nn.utils.rnn.PackedSequence):
        raise NisslError("the output is a packed sequence", where=where, do="give padded sequences")
    if not isinstance(found, Tensor):
        raise NisslError(f"the output is {_describe(found)}, not a tensor", where=where)
    return found


def put(output: Any, item: int | str | None, new: Tensor) -> Any:
    """Return a module's output with one tensor replaced."""
    if isinstance(output, Tensor):
        return new
    if isinstance(output, (tuple, list)):
        index = 0 if item is None else int(item)
        items = [*output[:index], new, *output[index + 1 :]]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    key = item
    if key is None:
        key = next(k for k, value in output.items() if isinstance(value, Tensor))
    if isinstance(output, MutableMapping):
        changed: Any = type(output)(**output) if hasattr(output, "to_tuple") else dict(output)
        changed[key] = new
        return changed
    return {**output, key: new}


def first_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, where: str
) -> Tensor:
    """Return the tensor a module is given: the first by its forward function."""
    if args and isinstance(args[0], Tensor):
        return args[0]
    found: Tensor = bound(module, args, kwargs)[_first(module, args, kwargs, where)]
    return found


def replace_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], new: Tensor
) -> tuple[Any, Any]:
    """Return a module's arguments with the tensor that `first_input` picks replaced."""
    if args and isinstance(args[0], Tensor):
        return (new, *args[1:]), kwargs
    key = _first(module, args, kwargs, "")
    if key in kwargs:
        return args, {**kwargs, key: new}
    index = list(bound(module, args, {})).index(key)
    return (*args[:index], new, *args[index + 1 :]), kwargs


def _first(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], where: str) -> str:
    for name, value in bound(module, args, kwargs).items():
        if isinstance(value, Tensor):
            return name
    raise NisslError("the module was given no tensor", where=f"{where}:in")


def unscaled(new: Tensor, view: Tensor, own: Tensor, scale: float) -> Tensor:
    """Divide what came of ``view = own * scale``; what was left as it was keeps its bits."""
    divided = new / scale
    rounding = torch.where(new == view, own - divided, 0.0).nan_to_num().detach()
    return divided + rounding


def frozen_gain(norm: nn.Module, x: Tensor) -> Tensor:
    """Return the factor by which a root-mean-square norm multiplies each value of its input.

    That of a layer scale (DINOv2), which is no norm, is the same for every input.
    """
    if hasattr(norm, "lambda1"):
        return norm.lambda1  # type: ignore[return-value]
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    if eps is None:
        raise NisslError(f"{type(norm).__name__} is not a root-mean-square norm that is known")
    ones = torch.ones_like(x[..., :1, :])
    # Its forward, not a call, which would fire the hooks on the norm again.
    weight = norm.forward(ones) * (1 + eps) ** 0.5
    scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)
    gain: Tensor = weight * scale.to(x.dtype)
    return gain


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(str, value))}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
