"""Circuits: whole they are the network, what is left out as unconnected has no effect."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Circuit, Patching, load_circuit
from nissl.behaviour.circuit_parts import EdgeParts, drawn_alike
from nissl.circuits import circuit
from tiny import tiny

QUIET = {"progress": False}


def behaviour(net, *, n=6, seed=0):
    rng = np.random.default_rng(seed)
    clean = [rng.integers(3, 40, 6) for _ in range(n)]
    corrupted = [row.copy() for row in clean]
    for row in corrupted:
        row[2] = (row[2] + 5) % 37 + 3
    return Behaviour(net, clean, corrupted, right=[5] * n, wrong=[9] * n)


@pytest.fixture(scope="module", params=["llama", "gpt2", "gpt_neox"])
def found(request):
    net = nissl.load(tiny(request.param))
    return circuit(behaviour(net), tested_on=behaviour(net, seed=1), size=0.1, **QUIET)


def test_the_whole_network_is_faithful_and_nothing_is_not(found):
    table = found.scores(sizes=(0.1, 0.5, 1.0), n_random=2, **QUIET)
    assert table["faithfulness"].iloc[-1] == pytest.approx(1.0, abs=1e-9)
    assert table["completeness"].iloc[-1] == pytest.approx(1.0, abs=1e-9)
    assert table["n"].is_monotonic_increasing
    at, off = table["size"], (1 - table["faithfulness"]).abs()
    assert table.attrs["CMD"] >= 0
    assert len(at) == len(off) == 3


def test_faithfulness_is_that_of_a_run_with_all_else_cut(found):
    pairs = found.tested_on
    patching = Patching(pairs, "noising")
    other = patching.given(found.parts.sites)
    with pairs.net.edit(*found.only(other)):
        alone = pairs.clean()
    with pairs.net.edit(*found.parts.edits(np.ones(len(found.parts), dtype=bool), other)):
        nothing = pairs.clean()
    assert torch.allclose(nothing, pairs.corrupted_value, atol=1e-9)
    wanted = (alone.mean() - nothing.mean()) / (pairs.clean_value.mean() - nothing.mean())
    table = found.scores(n_random=0, **QUIET)
    assert table["faithfulness"].item() == pytest.approx(float(wanted), abs=1e-9)


def test_edges_without_a_way_through_have_no_effect(found):
    parts = found.parts
    order = np.argsort(-np.abs(found.scores_of_parts))
    raw = np.zeros(len(parts), dtype=bool)
    raw[order[: len(parts) // 12]] = True
    pruned = parts.connected(raw)
    assert 0 < pruned.sum() < raw.sum()
    values = found._values(found.tested_on, [raw, pruned], False)
    assert values[0] == pytest.approx(values[1], abs=1e-9)


def test_random_circuits_have_the_same_layers(found):
    parts, kept = found.parts, found.kept()
    drawn = drawn_alike(parts.groups, kept, np.random.default_rng(0))
    assert drawn.sum() == kept.sum()
    assert not (drawn == kept).all()
    for group in np.unique(parts.groups):
        here = parts.groups == group
        assert drawn[here].sum() == kept[here].sum()


def test_minimality_is_what_each_edge_adds(found):
    small = Circuit(
        found.net, found.parts, found.scores_of_parts, 0.15, found.tested_on, found.name
    )
    table = small.minimality(**QUIET)
    kept = small.kept()
    without = kept.copy()
    units = list(small.parts.table()["unit"])
    without[units.index(table["unit"].iloc[0])] = False
    zero = np.zeros_like(kept)
    nothing, whole, less = small._values(small.tested_on, [zero, kept, without], False)
    clean = float(small.tested_on.clean_value.mean())
    wanted = (whole - less) / (clean - nothing)
    assert table["loss"].iloc[0] == pytest.approx(wanted, abs=1e-9)


def test_it_is_kept_in_a_file_and_drawn(found, tmp_path):
    import matplotlib.pyplot as plt

    again = load_circuit(found.net, found.save(tmp_path / "c.json"), tested_on=found.tested_on)
    assert again.units == found.units
    assert again.scores(n_random=0, **QUIET).equals(found.scores(n_random=0, **QUIET))
    graph = found.graph()
    assert all(".attn.q" not in node for node in graph)
    assert graph.number_of_edges() <= len(found)
    axes = found.plot()
    assert len(axes.texts) == graph.number_of_nodes()
    plt.close(axes.figure)


def test_a_circuit_of_nodes_in_any_network():
    torch.manual_seed(0)
    net = nissl.load(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).double())
    with torch.no_grad():
        net.model[2].weight[:, 4:] = net.model[2].weight[:1, 4:]  # four units tell nothing apart
    x = torch.randn(24, 6, dtype=torch.float64)

    def some(rows):
        return Behaviour(net, x[rows], -x[rows], right=[0] * 6, wrong=[1] * 6)

    options = {"over": "1", "method": "exact", "size": 0.5, **QUIET}
    found = circuit(some(slice(6)), tested_on=some(slice(6, 12)), **options)
    assert sorted(found.units) == ["1[0]", "1[1]", "1[2]", "1[3]"]
    table = found.scores(**QUIET)
    assert table["faithfulness"].item() == pytest.approx(1.0)
    assert table["p"].item() <= 0.1
    with pytest.raises(NisslError, match="circuit of nodes"):
        found.graph()


def test_key_heads_serve_their_queries():
    parts = EdgeParts(nissl.load(tiny("llama")))
    reader = parts.edges.readers.index("blocks.1.attn.k[head 1]")
    names = [parts.edges.writers[w] for w in parts.paths.owners[reader]]
    assert names == ["blocks.1.attn.z[head 2]", "blocks.1.attn.z[head 3]"]


def test_what_cannot_be_is_said(tmp_path):
    pairs = behaviour(nissl.load(tiny("llama")))
    with pytest.raises(NisslError, match="the network that it was found in"):
        circuit(pairs, tested_on=behaviour(nissl.load(tiny("llama"))), **QUIET)
    with pytest.raises(NisslError, match="other pairs"):
        circuit(pairs, **QUIET)
    with pytest.raises(NisslError, match="eap_ig"):
        circuit(pairs, tested_on=pairs, over="attn.z", method="eap_ig", **QUIET)
    assert "integrated" in circuit(pairs, tested_on=pairs, over="attn.z", **QUIET).name
    with pytest.raises(NisslError, match="no share"):
        circuit(pairs, tested_on=pairs, size=2, **QUIET)
    (tmp_path / "bad.json").write_text("[]", encoding="utf-8")
    with pytest.raises(NisslError, match="this is no circuit"):
        load_circuit(pairs.net, tmp_path / "bad.json")
    with pytest.raises(NisslError, match="this is no circuit"):
        load_circuit(pairs.net, tmp_path / "none.json")


@pytest.mark.real
def test_two_in_a_hundred_edges_name_the_indirect_object(smollm2):
    task = nissl.behaviour.indirect_object(smollm2, n=16, progress=False)
    table = circuit(task, size=0.02, **QUIET).scores(n_random=2, **QUIET)
    assert table["faithfulness"].item() > 0.6 > table["random"].item()
