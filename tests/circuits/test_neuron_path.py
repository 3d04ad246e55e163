"""Neuron paths: completeness, a slow form of the search, and a planted path."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour
from nissl.circuits import neuron_path
from tiny import tiny

QUIET = {"progress": False}


def language(name="llama", lengths=(5, 6)):
    rng = np.random.default_rng(0)
    clean = [rng.integers(3, 40, n) for n in lengths]
    return Behaviour(nissl.load(tiny(name)), clean, clean, right=[5] * 2, wrong=[9] * 2)


def lost(pairs, units, position):
    """Set units to zero by hand: what is taken from the metric."""
    handles = []
    for site, index in units:

        def forced(module, args, index=index):
            x = args[0].clone()
            at = slice(None) if position is None else position
            x.view(1, -1, x.shape[-1])[0, at, index] = 0
            return (x,)

        module = pairs.net.model.get_submodule(pairs.net.find(site)[0].hook_point.path)
        handles.append(module.register_forward_pre_hook(forced))
    falls = []
    for row, ids in enumerate(pairs.clean_ids):
        with torch.no_grad():
            logits = pairs.net.model(torch.as_tensor(ids)[None]).logits[0, -1]
        falls.append(float(pairs.clean_value[row] - logits[5] + logits[9]))
    for handle in handles:
        handle.remove()
    return float(np.mean(falls))


@pytest.mark.parametrize("position", [-1, None])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_search_is_that_of_a_slow_form(name, position):
    pairs = language(name)
    sites = [f"blocks.{layer}.mlp.neurons" for layer in range(3)]
    width = len(pairs.net.output_weights(sites[0]))
    found = neuron_path(pairs, position=position, candidates=width, steps=1, **QUIET)
    path = []
    for site in sites:
        each = [lost(pairs, [*path, (site, i)], position) for i in range(width)]
        path.append((site, int(np.argmax(each))))
    assert found.units == [f"{site}[{i}]" for site, i in path]
    assert found.provenance["joint_influence"] == pytest.approx(max(each), abs=1e-6)


def test_parts_add_up_to_what_zeros_take():
    found = neuron_path(language(), steps=300, candidates=2, **QUIET)
    assert found.provenance["joint_influence"] > 0.01
    assert abs(found.provenance["gap"]) < 1e-4 * found.provenance["joint_influence"]
    assert found.table["layer"].tolist() == [0, 1, 2]


class Either(nn.Module):
    """Says yes by a unit of either layer; one of the first says so by itself too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()

    def forward(self, x):
        a, b = self.first(x), self.second(x.clone())
        yes = a[:, 3] + b[:, 2] - a[:, 3] * b[:, 2]
        yes = yes + 0.4 * a[:, 3] + 0.3 * a[:, 1] + 0.3 * b[:, 4]
        return torch.stack([yes, torch.zeros_like(yes)], 1)


def test_a_planted_path_is_found_whose_second_unit_matters_only_with_the_first():
    x = torch.ones(4, 5, dtype=torch.float64)
    pairs = Behaviour(nissl.load(Either()), x, x, right=[0] * 4, wrong=[1] * 4)
    options = {"position": None, "candidates": 5, **QUIET}
    assert neuron_path(pairs, sites=["first", "second"], **options).units == [
        "first[3]",
        "second[2]",
    ]
    assert neuron_path(pairs, sites="second", **options).units == ["second[4]"]


def test_what_cannot_be_is_said():
    with pytest.raises(NisslError, match="0 steps"):
        neuron_path(language(), steps=0, **QUIET)
    with pytest.raises(NisslError, match="none at position -9"):
        neuron_path(language(), position=-9, **QUIET)
