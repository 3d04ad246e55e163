"""Numbers that an edit puts at units: given for each unit, or taken from a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.sites.attention import Pattern

if TYPE_CHECKING:
    from nissl.network.edits.selection import Chosen
    from nissl.network.sites.base import BaseNetwork

__all__ = ["PerUnit", "ValuesLike", "recorded", "reference_rows"]

ValuesLike: TypeAlias = "float | Tensor | np.ndarray[Any, Any] | Mapping[str, Any]"


@dataclass(frozen=True)
class PerUnit:
    """One number for each chosen unit.

    Parameters
    ----------
    given : number, tensor of shape (n_units,), or mapping of site to either
        For units given by address, in the order of the addresses; for sites, in the order of their
        chosen indices, or one for every unit of the site.
    at : dict of str to Tensor
        The numbers of each site, once they are looked up.
    """

    given: ValuesLike
    at: dict[str, Tensor] = field(default_factory=dict)

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> PerUnit:
        """Return the numbers looked up for each site.

        Raises
        ------
        NisslError
            There are more or fewer numbers than units.
        """
        given: Any = self.given
        if isinstance(given, Mapping):
            by_name = {s.name: value for name, value in given.items() for s in net.find(name)}
            missing = [name for name in chosen if name not in by_name]
            if missing:
                raise NisslError(f"no values are given for '{missing[0]}'", do="give one for each")
            unused = [name for name in by_name if name not in chosen]
            if unused:
                raise NisslError("values are given for a site that is not edited", where=unused[0])
            at = {name: _fit(as_tensor(by_name[name]), chosen[name], name) for name in chosen}
        else:
            value = as_tensor(given)
            at = {name: _fit(value, c, name) for name, c in chosen.items()}
        return PerUnit(given, at)

    def of(self, site: str, x: Tensor) -> Tensor:
        """Return the numbers for a tensor of chosen units, broadcast to its last axis."""
        value = self.at[site].to(x)
        if value.ndim and value.shape[-1] not in (1, x.shape[-1]):
            raise NisslError(
                f"{value.shape[-1]} values are given for {x.shape[-1]} units", where=site
            )
        return value


def reference_rows(
    net: BaseNetwork, reference: Any, chosen: Mapping[str, Chosen]
) -> dict[str, Tensor]:
    """Return activity of chosen units at the samples of a reference.

    Parameters
    ----------
    net : Network
        Runs the reference where that is inputs.
    reference : Recording, mapping of site to Tensor, or inputs
        Activity, or texts, token ids or images to be run as one batch.
    chosen : mapping of str to Chosen
        The units of each site.

    Returns
    -------
    dict of str to Tensor, each shape (n_samples, n_chosen)
        The same samples at every site; padding left out.

    Raises
    ------
    NisslError
        The recording lacks a unit, or a site is an attention pattern.
    """
    for site in net.find(list(chosen)):
        if isinstance(site.hook_point, Pattern):
            raise NisslError(
                "an attention pattern has as many units as there are keys, so that there is no "
                "mean or sample of others",
                where=site.name,
                do="give values, or patch it with the pattern of a run of the same length",
            )
    if hasattr(reference, "dims"):
        return {name: recorded(reference, c, name) for name, c in chosen.items()}
    if isinstance(reference, Mapping) and all(name in reference for name in chosen):
        raw: Mapping[str, Tensor] = reference
        mask = None
    else:
        from nissl.network.run.forward import run, single_call

        call = single_call(net, reference, sites=net.find(list(chosen)))
        raw, mask = run(net, call, sites=list(chosen)), call.mask
    rows = {}
    for name, c in chosen.items():
        x = c.of(raw[name].detach(), name)
        real = mask is not None and x.ndim == 3 and x.shape[:2] == mask.shape
        rows[name] = x[mask.bool()] if real and mask is not None else x.flatten(0, -2)
    return rows


def as_tensor(value: Any) -> Tensor:
    """Return numbers as a floating tensor, keeping its graph."""
    if isinstance(value, Tensor):
        return value
    try:
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "biuf":
            raise TypeError("no real numbers")
        return torch.as_tensor(numbers.astype(np.float64))
    except (TypeError, ValueError, RuntimeError) as error:
        raise NisslError(
            f"an edit takes numbers, not {value!r:.60} ({error})",
            do="give one number, or a tensor with one for each unit",
        ) from None


def _fit(value: Tensor, chosen: Chosen, site: str) -> Tensor:
    """Pick what belongs to one site from values for all units."""
    if value.ndim == 0 or (chosen.index is None and chosen.order is None):
        return value
    if value.ndim != 1:
        raise NisslError(f"values of shape {tuple(value.shape)} are not one per unit", where=site)
    if chosen.order is not None:
        if len(value) != chosen.n_named:
            raise NisslError(
                f"{len(value)} values are given for {chosen.n_named} units",
                do="give one number, or one for each address in their order",
            )
        if chosen.twice and len(value) > 1:
            raise NisslError(
                "a unit is named twice, with a value for each", where=site, do="name each unit once"
            )
        own = value[chosen.order.to(value.device)]
        return own if chosen.heads is None else own[:, None]
    assert chosen.index is not None
    if len(value) == len(chosen.index):
        return value
    if len(value) == chosen.width or (chosen.width is None and len(value) > chosen.index.max()):
        return value[chosen.index.to(value.device)]
    raise NisslError(f"{len(value)} values are given for {len(chosen.index)} units", where=site)


def recorded(rec: Any, chosen: Chosen, site: str) -> Tensor:
    """Return a site's chosen units of a Recording.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Holds the units, and may hold others.
    chosen : Chosen
        Which units.
    site : str
        Of which site.

    Returns
    -------
    Tensor, shape (n_samples, n_chosen)
        A copy.

    Raises
    ------
    NisslError
        The recording lacks a unit.
    """
    place = {str(unit): i for i, unit in enumerate(rec["unit"].values)}
    if chosen.index is None:
        columns = [i for unit, i in place.items() if unit.rpartition("[")[0] == site]
        index = [int(u.rpartition("[")[2][:-1]) for u in place if u.rpartition("[")[0] == site]
        if sorted(index) != list(range(len(index))) or not index:
            raise NisslError(f"the recording does not hold every unit of '{site}'", where=site)
        columns = [c for _, c in sorted(zip(index, columns, strict=True))]
    else:
        wanted = [f"{site}[{i}]" for i in chosen.index.tolist()]
        missing = [address for address in wanted if address not in place]
        if missing:
            raise NisslError("the recording lacks a unit that is edited", where=missing[0])
        columns = [place[address] for address in wanted]
    return torch.from_numpy(np.ascontiguousarray(rec.values[:, columns]))
