"""Backward rules in force: the forward pass as it is, gradients sent back by rules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.edits.editing import editing, refuse_compiled
from nissl.network.gradients.backward_mode import BackwardMode, Bound, Frame, recomputed
from nissl.network.gradients.backward_rules import BackwardRule, StopGradient

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["backward"]

MODE = "_nissl_backward"


@contextmanager
def backward(net: BaseNetwork, *rules: Any) -> Iterator[None]:
    """Send gradients back by rules in every run inside the block: see `Network.backward`.

    Parameters
    ----------
    net : Network
        The network.
    *rules : NormRule, NonlinearityRule, ProductRule, AttentionRule, StopGradient
        Where several hold for a part, the last does; those of an inner block come after those of
        an outer. What no rule holds for has autograd's gradient.

    Yields
    ------
    None
        Outputs stay what they are. Gradients of what was run inside may be taken later.

    Raises
    ------
    NisslError
        On entering: a site is not in the network; the model is compiled. Inside: a part has no
        known rule though one claims all of its kind, or a part is computed again for the backward
        pass (gradient checkpointing). On leaving, where the model ran: a rule with ``at=`` met no
        part of its kind.

    Examples
    --------
    >>> from nissl.network import Network
    >>> from nissl.network.gradients import NonlinearityRule
    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> with backward(net, NonlinearityRule("identity")):
    ...     net.model(x).sum().backward()
    >>> bool(torch.allclose(x.grad, net.model[2].weight @ net.model[0].weight))
    True
    """
    for rule in rules:
        if not isinstance(rule, (BackwardRule, StopGradient)):
            raise NisslError(
                f"{rule!r} is no backward rule",
                do="give NormRule, NonlinearityRule, ProductRule, AttentionRule or StopGradient",
            )
    bound = [_bind(net, rule) for rule in rules if isinstance(rule, BackwardRule)]
    stops = [_Stop(rule) for rule in rules if isinstance(rule, StopGradient)]
    refuse_compiled(net.model)
    for path, module in net.model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise NisslError("what a scripted module computes cannot be ruled", where=path)
        if module.training and getattr(module, "gradient_checkpointing", False):
            raise recomputed(path or type(module).__name__)
    with ExitStack() as stack:
        if stops:
            stack.enter_context(editing(net, *stops))
        if bound:
            stack.enter_context(_ruled(net.model, bound))
        yield


class _Stop:
    """The edit that changes no value and lets no gradient through."""

    reads: tuple[str, ...] = ()

    def __init__(self, rule: StopGradient) -> None:
        self.writes = (rule.sites,) if isinstance(rule.sites, str) else tuple(rule.sites)

    def __repr__(self) -> str:
        return f"StopGradient({', '.join(self.writes)})"

    def begin(self, batch: Any) -> None:
        """Begin a prompt: nothing to do."""

    def apply(self, site: str, x: Tensor, positions: Any, phase: Any) -> Tensor:
        """Return the same values, detached."""
        return x.detach()


@contextmanager
def _ruled(model: nn.Module, bound: list[Bound]) -> Iterator[None]:
    """Put rules in force, after those that already are."""
    mode = model.__dict__.get(MODE)
    with _watched(model) if mode is None else nullcontext(mode) as mode:
        before, runs = mode.bound, mode.runs
        mode.bound = [*before, *bound]
        try:
            yield
        finally:
            mode.bound = before
        unmet = [b.rule for b in bound if b.inside is not None and not b.met]
        if unmet and mode.runs > runs:
            raise NisslError(
                "a rule met nothing of its kind in the modules that it names",
                where=repr(unmet[0]),
                do="net.sites() lists sites and modules; of several rules for a part the last "
                "holds",
            )


@contextmanager
def _watched(model: nn.Module) -> Iterator[BackwardMode]:
    """Let every module of a model tell when it is called, and rules act on what it computes."""
    mode = BackwardMode(model)
    wrapped: list[tuple[dict[str, Any], Any]] = []
    try:
        for path, module in model.named_modules():
            state = module.__dict__
            wrapped.append((state, state.get("_call_impl")))
            state["_call_impl"] = _Watched(mode, path, module)
        model.__dict__[MODE] = mode
        yield mode
    finally:
        model.__dict__.pop(MODE, None)
        for state, own in wrapped:
            _put_back(state, "_call_impl", own)


class _Watched:
    """The call of a module: its hooks, and inside them its forward, on which rules act."""

    def __init__(self, mode: BackwardMode, path: str, module: nn.Module) -> None:
        self.mode, self.path, self.module = mode, path, module
        self.compute: Callable[..., Any] = module._call_impl

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or self.mode.quiet:
            return self.compute(*args, **kwargs)
        # The forward of this very moment: others replace it too (experts, replayed runs).
        state, forward = self.module.__dict__, self.module.forward

        @functools.wraps(forward)
        def watched(*args: Any, **kwargs: Any) -> Any:
            frame = Frame(self.path, self.module, hooks=False)
            return self.mode.call(frame, forward, args, kwargs)

        own = state.get("forward")
        state["forward"] = watched
        try:
            frame = Frame(self.path, self.module, hooks=True)
            return self.mode.call(frame, self.compute, args, kwargs)
        finally:
            _put_back(state, "forward", own)

    def __deepcopy__(self, memo: Any) -> Any:
        raise NisslError("the model is copied under backward rules", do="copy it outside the block")

    __reduce_ex__ = __deepcopy__


def _put_back(state: dict[str, Any], name: str, own: Any) -> None:
    del state[name]
    if own is not None:
        state[name] = own


def _bind(net: BaseNetwork, rule: BackwardRule) -> Bound:
    if rule.at is None:
        return Bound(rule, None)
    return Bound(rule, tuple(site.hook_point.path for site in net.find(rule.at)))
