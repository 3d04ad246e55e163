"""The patching grid: as one patch at a time, and nothing where nothing differs."""

import sys

import numpy as np
import pytest

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, patching_grid
from tiny import N_HEADS, N_LAYERS, tiny

CLEAN, CORRUPTED = [[5, 6, 7, 8], [9, 10, 11, 3]], [[5, 6, 17, 8], [9, 10, 18, 3]]


def behaviour(name="llama", clean=CLEAN, corrupted=CORRUPTED, **options):
    net = nissl.load(tiny(name))
    return Behaviour(net, clean, corrupted, right=[20, 21], wrong=[22, 23], **options)


def one_at_a_time(asked, site, position, heads=None):
    values = asked.net.run(asked.clean_call, sites=site)
    with asked.net.edit(nissl.patch(values, sites=site, heads=heads, positions=position)):
        return asked.normalised(asked.corrupted())


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("metric", ["logit_difference", "kl"])
def test_cells_are_those_of_one_patch_at_a_time(name, metric, monkeypatch):
    asked = behaviour(name, metric=metric)
    module = sys.modules["nissl.behaviour.patching"]
    monkeypatch.setattr(module, "TOKENS_PER_CALL", 24)
    grid = patching_grid(asked, "blocks.*.resid_pre")
    assert grid.shape == (N_LAYERS, 4)
    for layer in range(N_LAYERS):
        for position in range(4):
            expected = one_at_a_time(asked, f"blocks.{layer}.resid_pre", position)
            assert grid.loc[layer].iloc[position] == pytest.approx(expected, abs=1e-9)


def test_heads_are_those_of_one_patch_at_a_time():
    asked = behaviour()
    grid = patching_grid(asked, "blocks.*.attn.z", heads=True, positions=-1)
    assert grid.index.names == ["layer", "head"]
    assert list(grid.columns) == ["3 8"]
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            expected = one_at_a_time(asked, f"blocks.{layer}.attn.z", -1, head)
            assert grid.loc[(layer, head)].iloc[0] == pytest.approx(expected, abs=1e-9)


def test_the_answer_is_where_the_texts_differ_and_at_the_end_where_it_is_said():
    grid = patching_grid(behaviour(), ["blocks.0.resid_pre", "blocks.*.resid_post"])
    assert list(grid.index[:2]) == ["blocks.0.resid_pre", "blocks.0.resid_post"]
    np.testing.assert_allclose(grid.loc["blocks.0.resid_pre"], [0, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(grid.iloc[-1], [0, 0, 0, 1], atol=1e-9)
    # Before the word that differs nothing can: exactly 0, without a run.
    assert (grid.iloc[:, :2] == 0).all(axis=None)


def test_inputs_of_different_lengths():
    asked = behaviour(clean=[[5, 6, 7, 8], [9, 10, 11]], corrupted=[[5, 6, 17, 8], [19, 10, 11]])
    grid = patching_grid(asked, positions=[2, 3])
    assert list(grid.columns) == ["2 7", "3 8"]
    for column, position in enumerate([2, 3]):
        expected = one_at_a_time(asked, "blocks.1.resid_post", position)
        assert grid.loc[1].iloc[column] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(NisslError, match="do not end at one position"):
        patching_grid(asked, positions=-1)


def test_what_has_no_heads_or_positions_is_refused():
    asked = behaviour()
    with pytest.raises(NisslError, match="do not fall into heads"):
        patching_grid(asked, heads=True)
    with pytest.raises(NisslError, match="has no units"):
        patching_grid(asked, "blocks.*.attn.pattern")
    with pytest.raises(NisslError, match="no position 4"):
        patching_grid(asked, positions=[0, 4])
    uneven = behaviour(corrupted=[[5, 6, 17], [9, 10, 18, 3]], aligned=False)
    with pytest.raises(NisslError, match="no common positions"):
        patching_grid(uneven)
