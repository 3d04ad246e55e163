"""How large an effect may be that was never looked for: a bound from subsets of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import patch
from nissl.statistics import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nissl.behaviour.patching import Patching
    from nissl.network import Nodes
    from nissl.network.edits.patch import Patch

__all__ = ["false_negative_bound"]


@method(system=310)
def false_negative_bound(
    patching: Patching,
    nodes: Nodes,
    *,
    verified: Finding | None = None,
    n_subsets: int = 400,
    share: float = 0.1,
    confidence: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Bound the effects of nodes that have not been patched one by one.

    Random subsets of them are patched at once. What a node adds to the subsets it is in has a
    Welch interval; the largest end of all is a bound on the largest effect, with no correction for
    how many there are, since one node has the largest.

    Parameters
    ----------
    patching : Patching
        The run that is changed and what is put into it.
    nodes : Nodes
        Where; each position apart where there are positions.
    verified : Finding, optional
        Rows of `effects` whose effects are known, such as ``found.top(50)``: they are left out.
    n_subsets : int
        How many runs.
    share : float
        Of the places in each subset. Few places add up, many stand in each other's way.
    confidence : float
        Of the bound.
    seed : int
        Of the subsets.

    Returns
    -------
    Finding
        One row for each node and position that changes and is not in `verified`, the largest bound
        first: ``bound`` on the size of its effect, ``effect`` as estimated, both in units of the
        metric, means over the pairs. ``found.table["bound"].max()`` bounds them all.

    Raises
    ------
    NisslError
        Nothing is left to be bounded, or a place is in too few subsets, or in too many.

    Notes
    -----
    An effect here is the mean of what changing the node does beside random others that are changed
    too: it is the node's own where effects add up.

    Source: Kramár et al. 2024, section 3.3.
    """
    longest = max(patching.lengths, default=0)
    shifts = [longest - length for length in patching.lengths]  # ends correspond
    given, rows = patching.given(nodes.names), nodes.table()
    changes = patching.changes(nodes.names, given=given)
    moved = nodes.summed({k: (x != 0).to(x) for k, x in changes.items()}, positions=bool(longest))
    if any(shifts):
        moved = torch.stack([x.roll(shift, 0) for x, shift in zip(moved, shifts, strict=True)])
    left, start = (moved > 0).any(0), -longest if any(shifts) else 0
    if verified is not None:
        for _, row in verified.table.iterrows():
            where = np.flatnonzero(rows["unit"] == row["unit"])
            left[(int(row["position"]) - start, where) if longest else where] = False
    places = left.nonzero()
    if not len(places):
        raise NisslError("every place that changes is verified", do="give more nodes")
    chosen = np.random.default_rng(seed).random((n_subsets, len(places))) < share
    subsets = _subsets(nodes, given, left, chosen, shifts)
    values = [float((x - patching.value).mean()) * patching.sign for x in patching.each(subsets)]
    estimate, bound = _welch(chosen, np.asarray(values), confidence)
    table = rows.iloc[places[:, -1].tolist()].reset_index(drop=True)
    if longest:
        table["position"] = (places[:, 0] + start).tolist()
    table = table.assign(bound=bound, effect=estimate).sort_values("bound", ascending=False)
    said = {"n_subsets": n_subsets, "share": share, "confidence": confidence, "seed": seed}
    return Finding(table, "false_negative_bound", "Welch interval", said, "bound")


def _subsets(
    nodes: Nodes, given: dict[str, Tensor], left: Tensor, chosen: Any, shifts: list[int]
) -> Iterator[Patch]:
    """Yield the patch of each subset of the places that are left."""
    for subset in torch.from_numpy(chosen).to(left.device):
        mask = torch.zeros_like(left)
        mask[left] = subset
        each = torch.stack([mask.roll(-shift, 0) for shift in shifts]) if shifts else mask[None]
        parts = dict(zip(nodes.names, each.split(nodes.counts, -1), strict=True))
        # Where there is no number nothing is changed.
        yield patch({name: _kept(x, parts[name]) for name, x in given.items()})


def _kept(x: Tensor, part: Tensor) -> Tensor:
    """Return activity at the places of a subset, and no number elsewhere."""
    mask = part.repeat_interleave(x.shape[-1] // part.shape[-1], -1)
    mask = mask.unflatten(0, (len(mask), *[1] * (x.ndim - mask.ndim)))
    return torch.where(mask, x, torch.nan)


def _welch(chosen: Any, values: Any, confidence: float) -> tuple[Any, Any]:
    """Return differences of means between subsets with and without each place, and their bounds."""
    from scipy import stats

    inside = chosen.astype(float)
    means, errors, freedom = [], [], []
    for weights in (inside, 1 - inside):
        n = weights.sum(0)
        if n.min() < 2:
            raise NisslError("a place is in too few subsets, or in too many", do="n_subsets=400")
        mean = values @ weights / n
        spread = ((values[:, None] - mean) ** 2 * weights).sum(0) / (n - 1) / n
        means.append(mean)
        errors.append(spread)
        freedom.append(spread**2 / (n - 1))
    estimate, error = means[0] - means[1], sum(errors)
    df = error**2 / np.maximum(sum(freedom), np.finfo(float).tiny)
    return estimate, np.abs(estimate) + stats.t.ppf(confidence, np.maximum(df, 1)) * error**0.5
