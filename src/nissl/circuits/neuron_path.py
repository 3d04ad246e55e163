"""Neuron paths: one neuron of each layer, chosen for what they do together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from nissl.behaviour import Behaviour, Task
from nissl.behaviour.pair_test import pairs_of
from nissl.behaviour.patching import Patching, at_position
from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.edits.fixed import ablate
from nissl.network.edits.patch import patch
from nissl.progress import progress_bar
from nissl.statistics import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["neuron_path"]


@method(system=193)
def neuron_path(
    behaviour: Behaviour | Task,
    *,
    sites: str | Iterable[str] = "mlp.neurons",
    position: int | None = -1,
    steps: int = 5,
    candidates: int = 8,
    progress: bool = True,
) -> Finding:
    """Choose a neuron of each layer, so that all together have the largest joint influence.

    Layer after layer, the candidates are those units whose integrated gradient is largest while the
    path so far moves with them from zero to its activity; the one that is taken has the largest
    joint influence with the path.

    Parameters
    ----------
    behaviour : Behaviour or Task
        Only the clean inputs are used, as one batch.
    sites : str or iterable of str
        A site for each layer, in the order of the path.
    position : int or None
        At which position, the last by default; None for all of them together, and for inputs that
        have none.
    steps : int
        Points of the integral.
    candidates : int
        Units of each layer of which each is tried in a run.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        A row for each layer: its unit and its part of the joint ``influence``, the mean over inputs
        in units of the metric. Provenance has the ``joint_influence``, and its ``gap`` to the sum.
        There is no null, since the path was searched for: ablate it on other inputs, beside paths
        drawn at random.

    Raises
    ------
    NisslError
        There are no steps or candidates, or a site has no such position.

    Notes
    -----
    The joint influence is the sum over the path of activity times gradient, averaged while all of
    it is scaled from zero to what it is. By completeness this is what zeros in the whole path take
    from the metric, so that one run measures it for a candidate.

    Source: Wang et al. 2025, section 3, for vision; the candidates are ours.

    Examples
    --------
    >>> path = neuron_path(task.halves[0])  # doctest: +SKIP
    >>> with net.edit(nissl.ablate(path, positions=-1)):  # doctest: +SKIP
    ...     task.halves[1].behaviour().clean()
    """
    import pandas as pd

    if steps < 1 or candidates < 1:
        raise NisslError(f"{steps} steps and {candidates} candidates", do="give at least one")
    pairs = pairs_of(behaviour)
    net, found = pairs.net, pairs.net.find(sites)
    one = Patching(pairs, "noising")
    clean = one.base([site.name for site in found])
    path: list[str] = []
    joint = 0.0
    with progress_bar("Neuron path", total=len(found), unit="layers", progress=progress) as advance:
        for site in found:
            mean = _shares(one, clean, path, [site.name], position, steps)[site.name]
            best = mean.topk(min(candidates, len(mean))).indices.tolist()
            tried = [[*path, f"{site.name}[{index}]"] for index in best]
            without = one.each(ablate(units, positions=position) for units in tried)
            lost = [float((one.value - value).double().mean()) for value in without]
            path, joint = tried[int(np.argmax(lost))], max(lost)
            advance(1)
    names = [site.name for site in found]
    shares = _shares(one, clean, path, names, position, steps)
    indices = [int(unit.rpartition("[")[2][:-1]) for unit in path]
    parts = [float(shares[name][i]) for name, i in zip(names, indices, strict=True)]
    table = pd.DataFrame({"unit": path, "site": names, "influence": parts})
    table["layer"] = [-1 if site.layer is None else site.layer for site in found]
    about: dict[str, str | int | float] = {"network": net.name, "inputs": len(pairs)}
    about |= {"joint_influence": joint, "gap": float(table["influence"].sum()) - joint}
    return Finding(table, "neuron_path", "none", about, "influence")


def _shares(
    one: Patching,
    clean: Mapping[str, Tensor],
    path: list[str],
    sites: list[str],
    position: int | None,
    steps: int,
) -> dict[str, Tensor]:
    """Return activity times the gradient averaged along a path, each shape (n_units,)."""
    shares = {name: torch.zeros_like(clean[name]) for name in sites}
    for step in range(steps):
        scaled = {name: (step + 0.5) / steps * x for name, x in clean.items()}
        with one.net.edit(*([patch(scaled, units=path, positions=position)] if path else [])):
            found = one.gradients(sites)
        for name in sites:
            shares[name] += clean[name] * found[name] / steps
    for name, x in shares.items():
        each = x if position is None else at_position(x, position, one.lengths)
        shares[name] = each.reshape(len(each), -1, each.shape[-1]).sum(1).double().mean(0).cpu()
    return shares
