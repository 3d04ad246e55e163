"""Edges needed: planted blocks need fewer than PCA's, and a random network does not."""

import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[3] / "replications/features/local_interaction_basis.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_planted_blocks_need_fewer_edges(script):
    parts, x = script["planted"](16, 4)
    assert script["ratio"](parts, x[:200]) < 0.8


def test_without_blocks_there_is_nothing_to_save(script):
    drawn = torch.Generator().manual_seed(0)
    x, w, p, last = (torch.randn(n, 16, generator=drawn) for n in (200, 100, 100, 16))
    parts = [lambda x: torch.sin(4 * x @ w.T) @ p, lambda x: x @ last]
    assert script["ratio"](parts, x) > 0.9


def test_what_does_not_matter_costs_no_edges(script):
    drawn = torch.Generator().manual_seed(0)
    x, w, p = (torch.randn(n, 16, generator=drawn) for n in (200, 100, 100))
    parts = [lambda x: torch.sin(4 * x @ w.T) @ p, lambda x: x[:, :5]]
    needed, edges = script["edges_needed"](parts, x, True)
    assert edges[0].shape == (5, 16)
    assert needed > 0.9 * edges[0].numel()
