"""The edits: ablate, clamp, scale, add and project. `patch` and `gate` have files of their own.

Each says which units (by address or by site) and where (positions, items of the batch), works out
of place, keeps the graph, and does nothing until ``with net.edit(...)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from nissl.errors import NisslError
from nissl.network.edits.edit import Change, Rule
from nissl.network.edits.options import known_options
from nissl.network.edits.rules import Added, Bounded, Mean, Projected, Resample, Scaled, SetTo
from nissl.network.edits.selection import Items, Places, PositionsLike, Units, UnitsLike
from nissl.network.edits.values import PerUnit, ValuesLike

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ablate", "add", "clamp", "project", "scale"]


@known_options
def ablate(
    units: UnitsLike = None,
    *,
    sites: str | Iterable[str] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    to: ValuesLike | Literal["zero", "mean", "resample"] = "zero",
    of: Any = None,
    positions: PositionsLike = None,
    items: Items = None,
    seed: int | None = None,
) -> Change:
    """Take units out: set them to zero, to a mean, or to their activity at random samples.

    It has nine parameters since what is ablated, to what, and where are three questions.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Which units (``blocks.3.mlp.neurons[812]``), heads (``blocks.3.attn.z[head 5]``), layers
        (``blocks.3``: what its attention and its MLP add to the stream) or sites, mixed; or
        anything with ``.units``.
    sites : str or iterable of str, optional
        Whole sites instead.
    indices : sequence of int or boolean mask, optional
        Which units of each of `sites`.
    heads : int or sequence of int, optional
        Which heads of each of `sites`.
    to : {"zero", "mean", "resample"}, or number, tensor of shape (n_units,), or mapping of site
        What takes their place: zero, given values, or the mean or random samples of `of`.
    of : Recording, mapping of site to Tensor, or inputs, optional
        Samples for ``"mean"`` and ``"resample"``. Inputs are run as one batch when the edit is
        entered; padding is left out.
    positions : int, ints, slice, boolean mask or callable, optional
        Where; negative ones count from the end of the prompt (`Places`).
    items : int, ints, slice or boolean mask, optional
        Which items of the batch.
    seed : int, optional
        Of the samples drawn by ``"resample"`` (0): one for each item and position, the same at
        every site.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        Neither or both of units and sites are given, or options that do not belong together.

    Examples
    --------
    >>> import torch
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()))
    >>> with net.edit(ablate("0[1]")):
    ...     float(net.run(torch.ones(1, 2), sites="1")["1"][0, 1].detach())
    0.0
    """
    rule: Rule
    kind = to if isinstance(to, str) else "values"
    sampled = kind in ("mean", "resample")
    if sampled != (of is not None):
        raise NisslError(
            f"ablation to {kind} " + ("needs samples" if sampled else "takes no of="),
            do="give to='mean' or to='resample' with of= (a Recording, or inputs to run)",
        )
    if seed is not None and kind != "resample":
        raise NisslError(f"ablation to {kind} draws nothing", do="leave seed= out")
    if not isinstance(to, str):
        rule = SetTo(PerUnit(to))
    elif to == "zero":
        rule = SetTo(PerUnit(0.0))
    elif to == "mean":
        rule = Mean(of)
    elif to == "resample":
        rule = Resample(of, seed or 0)
    else:
        raise NisslError(f"to is 'zero', 'mean', 'resample' or values, not {to!r}")
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "ablate")


@known_options
def clamp(
    units: UnitsLike = None,
    *,
    sites: str | Iterable[str] | None = None,
    to: ValuesLike | None = None,
    between: tuple[ValuesLike | None, ValuesLike | None] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    items: Items = None,
) -> Change:
    """Hold units at values, or within bounds.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Which units.
    sites : str or iterable of str, optional
        Whole sites instead.
    to : number, tensor of shape (n_units,), or mapping of site to either, optional
        The values to hold them at.
    between : pair of values as `to` or None, optional
        Or the lowest and the highest value to keep them between; None is no bound.
    indices, heads, positions, items
        As in `ablate`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        Neither a value nor a bound is given, or both.

    Examples
    --------
    >>> clamp("blocks.3.mlp.neurons[812]", to=10.0)
    clamp(blocks.3.mlp.neurons)
    """
    if (to is None) == (between is None):
        raise NisslError("clamp is given either to=, or between=(low, high)")
    rule: Rule
    if between is None:
        assert to is not None
        rule = SetTo(PerUnit(to))
    else:
        if not isinstance(between, (tuple, list)) or len(between) != 2 or between == (None, None):
            raise NisslError(
                f"between is a pair of bounds, not {between!r}", do="between=(low, high)"
            )
        rule = Bounded(*(None if bound is None else PerUnit(bound) for bound in between))
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "clamp")


@known_options
def scale(
    units: UnitsLike = None,
    *,
    by: ValuesLike,
    sites: str | Iterable[str] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    items: Items = None,
) -> Change:
    """Multiply units.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Which units.
    by : number, tensor of shape (n_units,), or mapping of site to either
        The factors.
    sites : str or iterable of str, optional
        Whole sites instead.
    indices, heads, positions, items
        As in `ablate`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Examples
    --------
    >>> scale(sites="blocks.3.attn.z", heads=2, by=0.5)
    scale(blocks.3.attn.z)
    """
    rule = Scaled(PerUnit(by))
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "scale")


@known_options
def add(
    units: UnitsLike = None,
    *,
    by: ValuesLike,
    sites: str | Iterable[str] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    items: Items = None,
) -> Change:
    """Add to units: a direction to a site, to steer, or a number to each unit.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Which units.
    by : number, tensor of shape (n_units,), or mapping of site to either
        What is added. A direction at a site is one number for each of its units. Its graph is kept.
    sites : str or iterable of str, optional
        Whole sites instead.
    indices, heads, positions, items
        As in `ablate`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Examples
    --------
    >>> import torch
    >>> add(sites="blocks.3.resid_post", by=4.0 * torch.ones(576))
    add(blocks.3.resid_post)
    """
    rule = Added(PerUnit(by))
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "add")


@known_options
def project(
    directions: Tensor,
    *,
    units: UnitsLike = None,
    sites: str | Iterable[str] | None = None,
    onto: bool = False,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    items: Items = None,
) -> Change:
    """Take a subspace out of activity at sites, or keep it alone.

    Parameters
    ----------
    directions : Tensor, shape (n_units,) or (n_directions, n_units)
        They span the subspace, and need be neither orthogonal nor of length one.
    units : Finding, address, or iterable of addresses, optional
        Of which units `directions` speak, in this order.
    sites : str or iterable of str, optional
        Whole sites instead.
    onto : bool
        Keep what lies in the subspace, not what lies outside.
    indices, heads, positions, items
        As in `ablate`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        On entering the block: the directions are zero, or of another width than the site.

    Examples
    --------
    >>> import torch
    >>> project(torch.ones(576), sites="resid_post")
    project(resid_post)
    """
    rule = Projected(directions, onto)
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "project")
