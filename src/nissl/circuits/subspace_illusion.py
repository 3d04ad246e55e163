"""The subspace patching illusion: a direction that acts by a pathway which is otherwise dormant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nissl.behaviour import Behaviour, Task
from nissl.behaviour.pair_test import pair_test, pairs_of
from nissl.behaviour.patching import at_position, patchings
from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.edits.patch import patch
from nissl.statistics import Finding, Test

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["subspace_illusion"]

N_RANDOM = 8  # directions


@method(system=17)
def subspace_illusion(
    behaviour: Behaviour | Task,
    site: str,
    direction: Tensor,
    *,
    reads: Tensor | None = None,
    positions: int | None = -1,
    test: Test = Test(),
    batch_size: int = 32,
    progress: bool = True,
) -> Finding:
    """Ask whether patching along a direction acts by what it reads, or by a dormant pathway.

    The direction is the sum of a part in the row space of the weights that read the site and a part
    in their null space, which nothing sees. Where the second differs between the prompts of a pair
    and the first does not, a patch pushes the first to values that it never has: an illusion.

    Parameters
    ----------
    behaviour : Behaviour or Task
        Pairs; clean activity is put into the corrupted run. Not those the direction was found on.
    site : str
        One site, such as ``blocks.8.mlp.neurons``.
    direction : Tensor, shape (n_units,)
        Of any length.
    reads : Tensor, shape (n_units, n_read), optional
        The weights by which the rest of the network reads the site: by default those of an MLP's
        neurons. There is a null space where fewer numbers are read than there are units.
    positions : int or None
        At which position, the last by default; None for inputs without positions.
    test : Test
        Draws (999), tail, correction over the rows, alternative ("two-sided"), seed, which is that
        of the random directions too. The null is that the prompts of a pair trade places.
    batch_size : int
        Pairs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        A row each for the "whole" direction, its part in the "row space", that in the "null space",
        their "illusory" rest (whole less row space), and the mean of eight "random" directions.
        ``restored``: 0 as corrupted, 1 as clean. ``activity``: the share of the difference between
        the prompts along the direction that lies along the part. ``norm``: the part's share of the
        squared length. The verdict, in the provenance, is "illusion" where the illusory rest is
        significant and more than half of the whole, "dormant" where nothing is restored, else
        "no illusion".

    Raises
    ------
    NisslError
        The site is not one, it is not known what reads it, or nothing differs there.
    TooFewSamples
        There are fewer than eight pairs.

    Notes
    -----
    Source: Makelov, Lange and Nanda 2023, sections 3 and 4; the shares and the test are ours. A
    part is patched along its own unit vector.

    Examples
    --------
    >>> found = subspace_illusion(task, "blocks.20.mlp.neurons", direction)  # doctest: +SKIP
    >>> found.provenance["verdict"]  # doctest: +SKIP
    'illusion'
    """
    import pandas as pd

    pairs = pairs_of(behaviour, test)
    net = pairs.net
    name, *more = [found.name for found in net.find(site)]
    if more:
        raise NisslError(f"'{site}' names {1 + len(more)} sites", do="give one")
    parts = _parts(direction, net.output_weights(name) if reads is None else reads)
    drawn = torch.Generator().manual_seed(test.seed)
    several = [torch.randn(len(direction), generator=drawn).double() for _ in range(N_RANDOM)]
    effects, activity = [], []
    how: Any = {"batch_size": batch_size, "title": f"Patching {name}", "progress": progress}
    for one in patchings(pairs, "denoising", **how):
        given = one.given(name)
        change = one.changes(name, given=given)[name]
        if positions is not None:
            change = at_position(change, positions, one.lengths)
        elif change.ndim != 2:
            raise NisslError(f"'{name}' has positions", do="give positions=")
        edits = (
            patch(given, positions=positions, directions=x) if x.any() else None
            for x in (*parts.values(), *several)
        )
        effects.append(torch.stack([value - one.value for value in one.each(edits)]))
        activity.append(torch.stack([change @ part.to(change) for part in parts.values()]))
    effect, along = (torch.cat(x, 1).double().cpu().numpy() for x in (effects, activity))
    whole, row, null, *random = effect / float(
        (pairs.clean_value - pairs.corrupted_value).double().mean()
    )
    if not along[0].any():
        raise NisslError(f"nothing differs along the direction at '{name}'")
    table = pd.DataFrame({"unit": [*parts, "illusory", "random"]}).assign(
        site=name,
        activity=[*(along @ along[0] / (along[0] @ along[0])), np.nan, np.nan],
        norm=[*(float(part @ part) for part in parts.values()), np.nan, np.nan],
    )
    each = np.stack([whole, row, null, whole - row, np.mean(random, 0)], axis=1)
    options: Any = {"score": "restored", "test": test, "progress": progress}
    found = pair_test(pairs, each, units=table, method="subspace_illusion", **options)
    restored, q = (found.table.set_index("unit")[column] for column in ("restored", "q"))
    verdict = "no illusion"
    if q["whole"] > 0.05 or restored["whole"] <= 0:
        verdict = "dormant"
    elif q["illusory"] <= 0.05 and restored["illusory"] > restored["whole"] / 2:
        verdict = "illusion"
    return found.assign({"verdict": verdict, "site": name})


def _parts(direction: Tensor, reads: Tensor) -> dict[str, Tensor]:
    """Return a direction of length one, and its parts in row space and null space, in doubles."""
    whole, weights = direction.detach().double().cpu(), reads.detach().double().cpu()
    if whole.ndim != 1 or weights.ndim != 2 or len(weights) != len(whole) or not whole.any():
        raise NisslError(
            f"a direction of shape {tuple(whole.shape)} is read by weights of shape "
            f"{tuple(weights.shape)}",
            do="give one direction, not zero, and reads= with a row for each unit of the site",
        )
    whole = whole / whole.norm()
    basis, size, _ = torch.linalg.svd(weights, full_matrices=False)
    basis = basis[:, size > size.max() * 1e-6]
    row = basis @ (basis.T @ whole)
    null = whole - row
    # What is left of rounding is no direction.
    row, null = (part * bool(part.norm() > 1e-6) for part in (row, null))
    return {"whole": whole, "row space": row, "null space": null}
