"""Backward rules: what a backward pass sends through one kind of part of a network.

Each rule is a few numbers and names; `backward` puts them in force. A rule without ``at=`` speaks
for every part of its kind, so that a part it does not understand is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from nissl.errors import NisslError

__all__ = ["AttentionRule", "BackwardRule", "NonlinearityRule", "NormRule", "ProductRule"]
__all__ += ["StopGradient", "straight_through"]


@dataclass(frozen=True)
class BackwardRule:
    """What a backward pass sends through one kind of part.

    Parameters
    ----------
    at : str or tuple of str, optional
        Sites or module paths: the rule holds in the modules that compute them and in all that
        these contain. By default everywhere.
    """

    at: str | tuple[str, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class NormRule(BackwardRule):
    """Norms are linear: what they divide by is held constant.

    Of layer norm, group norm and instance norm the mean is still subtracted; of a
    root-mean-square norm every value is multiplied by a constant. Batch norm in evaluation is
    linear as it is.

    Parameters
    ----------
    at : str or tuple of str, optional
        As in `BackwardRule`.

    Notes
    -----
    Source: the LN-rule of Ali et al. 2022, XAI for transformers: better explanations through
    conservative propagation.
    """


@dataclass(frozen=True)
class NonlinearityRule(BackwardRule):
    """Elementwise nonlinearities are multiplied by a constant slope.

    Parameters
    ----------
    how : {"secant", "identity", "guided"}
        The slope of f at x. "secant": (f(x) - f(0)) / x, and f'(0) at zero, so that x times its
        gradient is f(x) - f(0) times that of f. "identity": 1. "guided": f'(x) where x and the
        gradient that comes are both positive, elsewhere 0.
    at : str or tuple of str, optional
        As in `BackwardRule`.

    Notes
    -----
    Source: secant, the identity rule of AttnLRP (Achtibat et al. 2024); identity, the
    straight-through estimator; guided, Springenberg et al. 2014, where f is a ReLU.
    """

    how: Literal["secant", "identity", "guided"] = "secant"

    def __post_init__(self) -> None:
        if self.how not in ("secant", "identity", "guided"):
            raise NisslError(
                f"a nonlinearity has no rule {self.how!r}",
                do="give 'secant', 'identity' or 'guided'",
            )

    def apply(self, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return f(x), with the gradient of the rule.

        Parameters
        ----------
        f : callable
            Acts on each value alone; it may write into what it is given.
        x : Tensor
            What it acts on.

        Returns
        -------
        Tensor, shape of `x`
            f(x); this is x itself where f writes into it.
        """
        before, version = x.detach().clone(), x._version
        with torch.no_grad():
            # Of x itself: of a copy that lies otherwise in memory it may round otherwise.
            value = f(x.detach())
        in_place = x._version > version
        if self.how == "secant":
            line = x * _secant(f, before, value)
        elif self.how == "identity":
            line = x
        else:
            line = _call(_PositivePart, x * (_derivative(f, before) * (before > 0)))
        out = straight_through(value.clone() if in_place else value, line, gate=True)
        return x.copy_(out) if in_place else out


@dataclass(frozen=True)
class ProductRule(BackwardRule):
    """A product of two activities shares its gradient between them.

    These are gates (act(gate) * up), scores (query @ key) and what attention reads (pattern @
    value, where the pattern is not held).

    Parameters
    ----------
    how : {"half", "hold gate"}
        "half": each factor has half of its gradient. "hold gate": the factor that a nonlinearity
        or a softmax made is held constant, and the other has all.
    at : str or tuple of str, optional
        As in `BackwardRule`.

    Notes
    -----
    Source: the uniform rule of AttnLRP (Achtibat et al. 2024), the half rule of RelP (Jafari et
    al. 2025) and gradient normalization of GIM (Edin et al. 2025); the held gate of the detached
    Jacobian (Golden 2025).
    """

    how: Literal["half", "hold gate"] = "half"

    def __post_init__(self) -> None:
        if self.how not in ("half", "hold gate"):
            raise NisslError(f"a product has no rule {self.how!r}", do="give 'half' or 'hold gate'")

    def factors(self, factors: tuple[Tensor, Tensor], gate: int | None) -> tuple[Tensor, ...]:
        """Return two factors of the same value, with the gradients of the rule.

        Parameters
        ----------
        factors : tuple of two Tensor
            They may have any shapes.
        gate : int or None
            Which of them is the gate.

        Returns
        -------
        tuple of two Tensor
            The gate detached, or both with half of their gradient.
        """
        if self.how == "half":
            return tuple(_call(_Half, x) for x in factors)
        return tuple(x.detach() if i == gate else x for i, x in enumerate(factors))


@dataclass(frozen=True)
class AttentionRule(BackwardRule):
    """Attention patterns are held constant, or their softmax is made softer for the gradient.

    Parameters
    ----------
    temperature : float, optional
        With p the softmax of the scores divided by it, a gradient g of the pattern becomes
        p (g - sum(p g)) of the scores; at 1 that is autograd's. By default the pattern is held
        constant, and queries and keys have no gradient.
    at : str or tuple of str, optional
        As in `BackwardRule`. A softmax outside modules called attention (the router of a mixture
        of experts) is ruled where it is named here, else an error.

    Notes
    -----
    Source: held, Ali et al. 2022; temperature, GIM (Edin et al. 2025), who take 2.
    """

    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise NisslError(f"a temperature is above zero, not {self.temperature}")

    def softmax(self, f: Callable[[Tensor], Tensor], scores: Tensor) -> Tensor:
        """Return a pattern, with the gradient of the rule.

        Parameters
        ----------
        f : callable
            The softmax.
        scores : Tensor
            What it is given.

        Returns
        -------
        Tensor, shape of `scores`
            f(scores).
        """
        with torch.no_grad():
            value = f(scores)
        if self.temperature is None:
            return value
        return straight_through(value, self.temperature * f(scores / self.temperature), gate=True)


@dataclass(frozen=True)
class StopGradient:
    """No gradient goes back through sites.

    The gradient at a site itself is what comes from behind it; nothing before it has a share.

    Parameters
    ----------
    sites : str or iterable of str
        Names, globs or module paths: ``("blocks.3.attn.out", "blocks.3.mlp.out")`` leaves of a
        block the residual stream alone.

    Notes
    -----
    Source: GradDrop of AtP* (Kramar et al. 2024) averages over blocks that are stopped in turn.
    """

    sites: str | Iterable[str]


def straight_through(value: Tensor, line: Tensor, *, gate: bool = False) -> Tensor:
    """Return a value whose gradient goes to something else.

    Parameters
    ----------
    value : Tensor
        The number, which nothing else writes into.
    line : Tensor, shape of `value`
        What has its gradient.
    gate : bool
        The value is of a nonlinearity or a softmax: a factor of a product that has it is the gate.

    Returns
    -------
    Tensor, shape of `value`
        The very tensor `value` where it is no view.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> y = straight_through(torch.tensor([5.0, 6.0]), 3 * x)
    >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([5.0, 6.0], [3.0, 3.0])
    """
    function = _Gate if gate else _StraightThrough
    return _call(function, line, [value.clone() if value._is_view() else value])


def _call(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    apply: Callable[..., Tensor] = function.apply
    return apply(*args)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, line: Tensor, value: list[Tensor]) -> Tensor:
        # In a list, since an input that is returned may not be written into by what follows.
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return gradient[0], None


class _Gate(_StraightThrough):
    pass


class _Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return gradient[0] / 2


class _PositivePart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return gradient[0].clamp_min(0)


def _secant(f: Callable[[Tensor], Tensor], x: Tensor, value: Tensor) -> Tensor:
    """Return the slope of the line from f at zero to f at x."""
    # One value is enough; channels are kept for those that differ by channel (PReLU).
    zero = x.new_zeros([1, *x.shape[1:2], *(1 for _ in x.shape[2:])] if x.ndim else [])
    with torch.no_grad():
        offset = f(zero.clone())
    if not bool(torch.isfinite(offset).all()):
        raise NisslError(
            f"a nonlinearity is {float(offset.flatten()[0].detach())} at zero, so it has no secant",
            do="give NonlinearityRule at= other modules",
        )
    # What f adds at zero is lost beside it in rounding where x is small.
    small = torch.where(offset == 0, 0.0, torch.finfo(x.dtype).eps ** 0.5)
    near = x.abs() <= small
    slope = (value - offset) / torch.where(near, 1.0, x)
    return torch.where(near, _derivative(f, zero), slope)


def _derivative(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = f(x.clone())
    return torch.autograd.grad(y.sum(), x)[0] if y.requires_grad else torch.zeros_like(x)
