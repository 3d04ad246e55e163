"""What the samples of a site are, seen from one small call before a recording begins."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.network.run.calls import call_model
from nissl.network.sites.batch import Batch, watch_batch
from nissl.network.sites.hooks import visiting
from nissl.network.sites.modes import evaluated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from nissl.network.run.plan import Plan, Step
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["Grid", "grids_of", "grouped", "unit_columns", "units_of"]


@dataclass(frozen=True)
class Grid:
    """What the samples of a site are: tokens, items, or places of a grid in each item.

    Parameters
    ----------
    site : Site
        The site.
    width : int
        How many units it has.
    places : tuple of int
        The grid of places in one item; of tokens, the probe's.
    tokens : bool
        Samples are tokens.
    calls : int
        How often the site is computed in one run; more than one is a dimension of the grid.
    """

    site: Site
    width: int
    places: tuple[int, ...]
    tokens: bool
    calls: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """What the dimensions of the grid are."""
        called = ("call",) if self.calls > 1 else ()
        rest = len(self.places) - len(called)
        return called + {0: (), 1: ("position",), 2: ("row", "column")}.get(
            rest, tuple(f"place{i}" for i in range(rest))
        )

    def n_samples(self, plan: Plan) -> int:
        """Return how many samples the plan gives."""
        return plan.n_samples if self.tokens else plan.n_items * self.n_places

    def start(self, step: Step) -> int:
        """Return the index of a call's first sample."""
        return step.start if self.tokens else step.items.start * self.n_places

    @property
    def n_places(self) -> int:
        """How many places one item has."""
        return int(np.prod(self.places, dtype=np.int64))

    def samples(self, plan: Plan, items: range | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """Return the coordinates of the samples of items, by default of all."""
        return plan.samples(items, None if self.tokens else self.places, self.names)

    def rows(self, x: Tensor, step: Step) -> Tensor:
        """Return the samples of a call, shape (n_rows, n_units), without a copy where all are.

        Parameters
        ----------
        x : Tensor, shape (batch, place..., unit)
            The site's; of a module that is given all tokens of the batch in one row,
            (batch x position, unit).
        step : Step
            The call.

        Returns
        -------
        Tensor, shape (n_rows, n_units)
            As many as the plan has.

        Raises
        ------
        NisslError
            There are not as many values as samples.
        """
        mask = step.call.mask
        if self.tokens and mask is not None:
            expected, fits = tuple(mask.shape), x.shape[:-1] in (mask.shape, (mask.numel(),))
        else:
            expected = (len(step.items), *self.places)
            fits = x.shape[:-1] == expected
        if not fits or x.shape[-1] != self.width:
            raise NisslError(
                f"the site gives {tuple(x.shape)} for samples of {expected}, {self.width} units "
                "each, so that it is not known which value belongs to which",
                where=self.site.name,
                do="give batch_size=1; net.run(inputs, sites=...) returns raw tensors",
            )
        if self.tokens and step.keep is not None:
            return x.reshape(*step.keep.shape, self.width)[step.keep]
        return x.reshape(-1, self.width)


def grids_of(net: BaseNetwork, plan: Plan, sites: str | Iterable[str]) -> list[Grid]:
    """Run one small call to see which samples and units each site has, and that it fires."""
    found = net.find(sites)
    if any(getattr(edit, "n_copies", 1) > 1 for block in net.edit_blocks for edit in block.edits):
        raise NisslError(
            "a recording is of one batch, and `edit_batch` runs several copies of it",
            do="record under one edit after the other, or take raw tensors from net.run",
        )
    patterns = [site.name for site in found if site.name.endswith("attn.pattern")]
    if patterns:
        raise NisslError(
            "an attention pattern is not one number for each sample and unit",
            where=patterns[0],
            do="net.run(inputs, sites=...) returns it as a raw tensor",
        )
    shapes: dict[str, list[tuple[int, ...]]] = {site.name: [] for site in found}

    def look(site: Site, x: Tensor) -> Tensor:
        shapes[site.name].append(tuple(x.shape))
        return x

    probe = plan.probe(net)
    now: list[Batch] = []
    visits = ((site, look) for site in found)
    with (
        evaluated(net.model),
        torch.inference_mode(),
        watch_batch(net.model, net.body, now.append),
        visiting(net.model, visits, batch=lambda: now[-1]) as fired,
    ):
        call_model(net, probe, until=found)
        fired.require(why="recorded")
    sequence = None if probe.mask is None or not plan.tokens else tuple(probe.mask.shape)
    n_items = plan.n_probed if sequence is None else sequence[0]
    return [_grid(site, shapes[site.name], n_items, sequence) for site in found]


def _grid(
    site: Site, shapes: list[tuple[int, ...]], n_items: int, sequence: tuple[int, ...] | None
) -> Grid:
    shape, calls = shapes[0], len(shapes)
    if any(s != shape for s in shapes) or len(shape) < 2:
        raise NisslError(
            f"the site gives {' and '.join(map(str, sorted(set(shapes))))}, which is not one "
            "number for each sample and unit",
            where=site.name,
            do="net.run(inputs, sites=...) returns raw tensors",
        )
    places = ((calls,) if calls > 1 else ()) + shape[1:-1]
    tokens = calls == 1 and sequence is not None and shape[:-1] in (sequence, (prod(sequence),))
    if not tokens and shape[0] != n_items:
        raise NisslError(
            f"the site gives {shape} for {n_items} items, so that it is not known which value "
            "belongs to which",
            where=site.name,
            do="record another site; a part that reads time first needs batch_first=True, or a "
            "model that turns its inputs; net.run(inputs, sites=...) returns raw tensors",
        )
    if sequence is not None and not tokens and places and sequence[1] in places:
        raise NisslError(
            f"the site gives {shape} for {sequence[1]} tokens: more than one number for each",
            where=site.name,
            do="net.run(inputs, sites=...) returns raw tensors",
        )
    return Grid(site, shape[-1], places, tokens, calls)


def grouped(grids: list[Grid]) -> dict[str, list[Grid]]:
    """Sites whose samples are the same become one recording."""
    groups: dict[tuple[Any, ...], list[Grid]] = {}
    for grid in grids:
        key = (grid.tokens, () if grid.tokens else grid.places, () if grid.tokens else grid.names)
        groups.setdefault(key, []).append(grid)
    return {group[0].site.name: group for group in groups.values()}


def unit_columns(site: Site, n: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return the coordinates of a site's units: site, layer (-1 for none), index, and head."""
    columns: dict[str, np.ndarray[Any, Any]] = {
        "site": np.full(n, site.name),
        "layer": np.full(n, -1 if site.layer is None else site.layer, dtype=np.int32),
        "index": np.arange(n, dtype=np.int32),
    }
    if site.heads:
        columns["head"] = (columns["index"] // (n // site.heads)).astype(np.int32)
    return columns


def units_of(widths: Iterable[tuple[Site, int]]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the coordinates that the units of several sites share, one site after the other."""
    tables = [unit_columns(site, n) for site, n in widths]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in shared}
