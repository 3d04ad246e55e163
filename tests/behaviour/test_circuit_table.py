"""A circuit's file is read without its network, as the network reads it."""

import json

import numpy as np
import pytest

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Circuit, CircuitTable, grouped, load_circuit, read_circuit
from nissl.behaviour.circuit_parts import EdgeParts, NodeParts
from nissl.network import nodes_of
from tiny import tiny

NODES = ["attn.z", "mlp.out"]


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("llama"))


def made(net, parts, *, size=0.1):
    effects = np.random.default_rng(0).standard_normal(len(parts))
    return Circuit(net, parts, effects, size, None, "made up")


@pytest.fixture(scope="module", params=["edges", "nodes"])
def found(request, net):
    return made(
        net, EdgeParts(net) if request.param == "edges" else NodeParts(nodes_of(net, NODES))
    )


def test_what_the_file_says_is_what_the_network_says(found, tmp_path):
    table = read_circuit(found.save(tmp_path / "c.json"))
    assert repr(table) == repr(found)
    assert (table.kept == found.kept()).all()
    assert list(table.table["unit"]) == found.units
    assert list(table.table["indirect_effect"]) == list(found.table["indirect_effect"])
    again = load_circuit(found.net, tmp_path / "c.json")
    assert again.units == found.units


def test_edges_are_summed_from_node_to_node(net):
    circuit = made(net, EdgeParts(net), size=0.5)
    edges, total = circuit.as_table().edges(), circuit.table["indirect_effect"].sum()
    assert sum(edges.values()) == pytest.approx(total)
    assert not any(f".attn.{kind}[" in end for ends in edges for end in ends for kind in "qkv")
    begin, end = next(ends for ends in edges if ends[1] != "logits" and "head" in ends[1])
    layer, head = int(end.split(".")[1]), int(end.rpartition(" ")[2].rstrip("]"))
    shared = (
        net.named_sites[f"blocks.{layer}.attn.z"].heads
        // net.named_sites[f"blocks.{layer}.attn.k"].heads
    )
    wanted = 0.0
    used = set(circuit.table["writer"])
    for row in circuit.table[circuit.table["writer"] == begin].to_dict("records"):
        if row["reader"] == f"blocks.{layer}.attn.q[head {head}]":
            wanted += row["indirect_effect"]
        for kind in "kv":
            if row["reader"] == f"blocks.{layer}.attn.{kind}[head {head // shared}]":
                first = head // shared * shared
                heads = [f"blocks.{layer}.attn.z[head {h}]" for h in range(first, first + shared)]
                wanted += row["indirect_effect"] / sum(h in used for h in heads)
    assert edges[begin, end] == pytest.approx(wanted)


def test_groups_sum_what_goes_in_and_out(net):
    edges = made(net, EdgeParts(net), size=0.5).as_table().edges()
    inside = ["blocks.0.mlp.out", "blocks.1.attn.z[head 2]", "blocks.1.mlp.out"]
    found = grouped(edges, {"the middle": inside})
    out = sum(x for (a, b), x in edges.items() if a in inside and b not in inside)
    into = sum(x for (a, b), x in edges.items() if b in inside and a not in inside)
    assert sum(x for (a, _), x in found.items() if a == "the middle") == pytest.approx(out)
    assert sum(x for (_, b), x in found.items() if b == "the middle") == pytest.approx(into)
    kept = sum(x for (a, b), x in edges.items() if not (a in inside and b in inside))
    assert sum(found.values()) == pytest.approx(kept)
    assert not {end for ends in found for end in ends} & set(inside)
    assert grouped(edges, {}) == edges


def test_what_else_is_kept_is_read_again(tmp_path):
    table = CircuitTable("a", "b", "nodes", 0.5, ["x[0]", "x[1]"], np.array([1.0, -2.0]))
    table.about["prompt"] = "<b>東京</b>"
    assert read_circuit(table.save(tmp_path / "c.json")).about == table.about
    assert list(read_circuit(tmp_path / "c.json").table["unit"]) == ["x[1]"]
    with pytest.raises(NisslError, match="of nodes has no edges"):
        table.edges()
    with pytest.raises(NisslError, match="cannot be written"):
        table.save(tmp_path / "none" / "c.json")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "nissl.edit"},
        {"kind": "triangles"},
        {"kind": "nodes"},
        {"effects": {}},
        {"effects": {"embed -> logits": "NaN"}},
        {"effects": {"embed": 1.0}},
        {"effects": [1.0]},
        {"size": None},
        {"about": []},
        {"sites": None},
    ],
)
def test_what_is_no_circuit_is_said(tmp_path, change):
    units = ["embed -> blocks.0.mlp.out", "blocks.0.mlp.out -> logits"]
    path = CircuitTable("a", "b", "edges", 1.0, units, np.ones(2)).save(tmp_path / "c.json")
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(said | change), encoding="utf-8")
    with pytest.raises(NisslError, match="this is no circuit"):
        read_circuit(path)
    path.write_text(json.dumps(said)[:80], encoding="utf-8")  # half written
    with pytest.raises(NisslError, match="JSONDecodeError"):
        read_circuit(path)


def test_another_network_is_said(found, tmp_path):
    path = found.save(tmp_path / "c.json")
    for layers in (2, 4) if found.parts.kind == "edges" else (2,):
        other = nissl.load(tiny("llama", num_hidden_layers=layers))
        with pytest.raises(NisslError, match=f"no circuit of {other.name}"):
            load_circuit(other, path)


def test_progress_is_told(net):
    ids = [[3, 4, 5, 6]], [[3, 4, 9, 6]]
    pair = Behaviour(net, *ids, right=[5], wrong=[9])
    circuit = made(net, EdgeParts(net))
    told = []
    one = Circuit(net, circuit.parts, circuit.scores_of_parts, 0.1, pair, "made up")
    one.scores(n_random=2, progress=lambda *amounts: told.append(amounts))
    assert told == [(float(n), 5) for n in range(1, 6)]
