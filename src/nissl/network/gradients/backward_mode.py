"""What backward rules make of the modules and functions that a model calls.

Norms and elementwise nonlinearities are ruled as modules. Whatever else a model computes passes
through torch's function mode, which sees every function with its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nissl.errors import NisslError
from nissl.network.gradients.backward_parts import (
    ELEMENTWISE,
    PRODUCTS,
    REFUSED,
    is_activity,
    is_attention,
    is_elementwise,
    is_gate,
    is_innermost_attention,
    is_norm,
)
from nissl.network.gradients.backward_rules import (
    AttentionRule,
    BackwardRule,
    NonlinearityRule,
    NormRule,
    ProductRule,
    straight_through,
)
from nissl.network.gradients.decompositions import HELD_NORMS, attention, constant_divisor, held

__all__ = ["BackwardMode", "Bound", "Frame", "recomputed"]

R = TypeVar("R", bound=BackwardRule)


@dataclass
class Bound:
    """A rule in force.

    Parameters
    ----------
    rule : BackwardRule
        The rule.
    inside : tuple of str or None
        Paths of the modules in which it holds; None everywhere.
    met : bool
        It met a part of its kind.
    """

    rule: BackwardRule
    inside: tuple[str, ...] | None
    met: bool = False

    def covers(self, path: str) -> bool:
        """Tell whether it holds in a module."""
        return self.inside is None or any(
            not p or f"{path}.".startswith(f"{p}.") for p in self.inside
        )


@dataclass
class Frame:
    """A module under way.

    Parameters
    ----------
    path : str
        Its path.
    module : nn.Module
        The module.
    hooks : bool
        It is the hooks around its forward, which are no part of the model.
    met : bool
        A divisor that was held, or a softmax, came by in it.
    """

    path: str
    module: nn.Module
    hooks: bool
    met: bool = False

    def __str__(self) -> str:
        return f"{self.path} ({type(self.module).__name__})".strip()


class BackwardMode(TorchFunctionMode):
    """The rules in force for a model, and its modules under way.

    Parameters
    ----------
    model : nn.Module
        The model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.bound: list[Bound] = []
        self.frames: list[Frame] = []
        self.weights = {id(p) for p in model.parameters()}
        self.elementwise: dict[nn.Module, bool] = {}
        self.runs = 0
        # A module that is ruled as a whole is under way.
        self.quiet = False
        # Softmax and products are those of `attention`.
        self.attending = False
        self.saving: Any = None

    def find(self, kind: type[R], *, named: bool = False) -> R | None:
        """Return the last rule of a kind that holds for the module under way.

        Parameters
        ----------
        kind : type
            The rule's class.
        named : bool
            Among the rules that name modules alone.

        Returns
        -------
        BackwardRule or None
            The rule.
        """
        path = self.frames[-1].path
        for bound in reversed(self.bound):
            if isinstance(bound.rule, kind) and bound.covers(path):
                if named and bound.inside is None:
                    continue
                bound.met = True
                return bound.rule
        return None

    def call(self, frame: Frame, compute: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a module, or the hooks around it.

        Parameters
        ----------
        frame : Frame
            The module.
        compute : callable
            Its own function.
        args, kwargs : tuple and dict
            What it is given.

        Returns
        -------
        Any
            What it returns.
        """
        outermost = not self.frames
        saving = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if outermost:
            self.runs, self.saving = self.runs + 1, saving
        if saving != self.saving or _is_recomputed(args):
            raise recomputed(str(frame))
        self.frames.append(frame)
        try:
            with self if outermost else nullcontext():
                if frame.hooks or not self._any_active((*args, *kwargs.values())):
                    return compute(*args, **kwargs)
                if not kwargs and len(args) == 1 and self._is_elementwise(frame.module, args[0]):
                    rule = self.find(NonlinearityRule)
                    with self._quiet():
                        return compute(*args) if rule is None else rule.apply(compute, args[0])
                output = compute(*args, **kwargs)
                self._check(frame)
                return output
        finally:
            self.frames.pop()

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False

    def _is_elementwise(self, module: nn.Module, x: Any) -> bool:
        if module not in self.elementwise:
            with self._quiet():
                self.elementwise[module] = not is_norm(module) and is_elementwise(module, x)
        return self.elementwise[module]

    def _check(self, frame: Frame) -> None:
        """Raise where a rule claims a module in which it met nothing that it knows."""
        module, kind = frame.module, type(frame.module).__name__.lower()
        rule: BackwardRule | None = None
        # That of a batch divides by a constant, in evaluation.
        if not frame.met and is_norm(module) and (module.training or "batchnorm" not in kind):
            part, why = "norm", "it divides by nothing that could be held constant"
            rule = self.find(NormRule)
        elif not frame.met and is_innermost_attention(module):
            part, why = "attention", "no softmax came by; attn_implementation 'eager' has one"
            rule = self.find(AttentionRule) or self.find(ProductRule)
        if rule is not None:
            raise self._unknown(rule, part, why)

    def _unknown(self, rule: BackwardRule, part: str, why: str) -> NisslError:
        return NisslError(
            f"{rule!r} claims a part that it does not know: {part}, {why}",
            where=str(self.frames[-1]),
            do="give it at= the modules in which it is to hold; a function of each value alone is "
            "known where it is a module of its own",
        )

    # What functions are given

    def _is_active(self, x: Any) -> bool:
        return is_activity(x, self.weights)

    def _active(self, args: tuple[Any, ...], places: tuple[int, ...]) -> bool:
        return all(i < len(args) and self._is_active(args[i]) for i in places)

    def _any_active(self, args: tuple[Any, ...]) -> bool:
        return any(
            self._any_active(tuple(x)) if isinstance(x, (tuple, list)) else self._is_active(x)
            for x in args
        )

    # Functions

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch by its rule."""
        kwargs = dict(kwargs or {})
        if self.quiet or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        for given, key in enumerate(("input", "other")):
            if len(args) == given and key in kwargs:
                args = (*args, kwargs.pop(key))
        name, frame = _name(func), self.frames[-1]
        if is_norm(frame.module):
            return self._in_norm(name, func, args, kwargs)
        if frame.hooks:
            return func(*args, **kwargs)
        if name == "softmax":
            return self._softmax(func, args, kwargs)
        if name == "scaled_dot_product_attention":
            return self._attention(func, args, kwargs)
        if name in PRODUCTS:
            return self._product(name, func, args, kwargs)
        if name in HELD_NORMS and self._active(args, (0,)) and self.find(NormRule):
            return held(name, func, args, kwargs, where=str(frame))
        if name in ELEMENTWISE and self._active(args, (0,)):
            rule = self.find(NonlinearityRule)
            if rule is not None:
                return rule.apply(lambda x: func(x, *args[1:], **kwargs), args[0])
        if name in REFUSED:
            kinds, places = REFUSED[name]
            active = self._active(args, places) if places else self._any_active(args)
            claims = next(filter(None, map(self.find, kinds)), None) if active else None
            if claims is not None:
                raise self._unknown(claims, name, "it is no function with a rule")
        return func(*args, **kwargs)

    def _in_norm(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        frame = self.frames[-1]
        rule = self.find(NormRule)
        if rule is None:
            return func(*args, **kwargs)
        if name in HELD_NORMS:
            frame.met = True
            return held(name, func, args, kwargs, where=str(frame))
        if (constant := constant_divisor(name, args, self.weights)) is not None:
            frame.met = True
            return func(*constant, **kwargs)
        if name in ELEMENTWISE and not frame.hooks and self._active(args, (0,)):
            raise self._unknown(rule, "norm", f"it computes {name}")
        return func(*args, **kwargs)

    def _attends(self) -> bool:
        """Tell whether attention is under way; nn.Softmax is a part of what calls it."""
        owner = next((f for f in self.frames[::-1] if not isinstance(f.module, nn.Softmax)), None)
        return self.attending or (owner is not None and is_attention(owner.module))

    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        if not self._active(args, (0,)):
            return func(*args, **kwargs)
        known = self._attends()
        rule = self.find(AttentionRule, named=not known)
        if known or rule is not None:
            for frame in self.frames:
                frame.met = True
        elif claims := self.find(AttentionRule) or self.find(NonlinearityRule):
            why = "in no attention; AttentionRule(at=...) may name its module"
            raise self._unknown(claims, "softmax", why)
        if rule is None:
            return func(*args, **kwargs)
        return rule.softmax(lambda x: func(x, *args[1:], **kwargs), args[0])

    def _attention(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        for frame in self.frames:
            frame.met = True
        rules = (self.find(AttentionRule), self.find(ProductRule))
        if rules == (None, None) or not self._any_active((*args, *kwargs.values())):
            return func(*args, **kwargs)
        with torch.no_grad():
            value = func(*args, **kwargs)
        self.attending = True
        try:
            with self:  # so that softmax and products are ruled as those of eager attention
                return straight_through(value, attention(*args, **kwargs))
        finally:
            self.attending = False

    def _product(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        if name == "einsum" and isinstance(args[1], (list, tuple)):
            args = (args[0], *args[1])
        first = int(name == "einsum")
        places = [i for i in range(first, len(args)) if self._is_active(args[i])]
        rule = self.find(ProductRule) if len(places) > 1 else None
        if rule is None:
            return func(*args, **kwargs)
        if len(places) > 2:
            raise self._unknown(rule, name, "it multiplies more than two activities")
        factors = (args[places[0]], args[places[1]])
        gate = None
        if rule.how == "hold gate":
            gates = [is_gate(x) for x in factors]
            if sum(gates) != 1:
                # Queries times keys have no gradient where their pattern is held.
                scored = name != "mul" and self._attends()
                held_pattern = self.find(AttentionRule) if scored else None
                if held_pattern is not None and held_pattern.temperature is None:
                    return func(*args, **kwargs)
                which = "both factors are" if all(gates) else "no factor is"
                raise self._unknown(rule, name, f"{which} a gate")
            gate = gates.index(True)
        changed = list(args)
        for i, factor in zip(places, rule.factors(factors, gate), strict=True):
            changed[i] = factor
        if func.__name__ in ("mul_", "multiply_"):
            # Multiplied beside it: what is written over is needed for the gradient.
            return args[0].copy_(torch.mul(changed[0].clone(), changed[1]))
        return func(*changed, **kwargs)


def _name(func: Any) -> str:
    name: str = getattr(func, "__name__", "").strip("_")
    return name.removeprefix("special_")


def _is_recomputed(args: tuple[Any, ...]) -> bool:
    """Tell whether a module is called for the backward pass, or behind one that will be."""
    inputs = (x.grad_fn for x in args if isinstance(x, Tensor) and x.grad_fn is not None)
    backward_pass: int = torch._C._current_graph_task_id()
    return backward_pass != -1 or any(f.name().startswith("CheckpointFunction") for f in inputs)


def recomputed(where: str) -> NisslError:
    """Return the error of modules that are called again for the backward pass.

    Parameters
    ----------
    where : str
        Which module.

    Returns
    -------
    NisslError
        To be raised.
    """
    return NisslError(
        "gradient checkpointing computes modules again, without backward rules",
        where=where,
        do="call model.gradient_checkpointing_disable()",
    )
