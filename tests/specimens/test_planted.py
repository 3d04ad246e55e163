"""Planted circuits: their truth by exact patching, and nothing where nothing is planted."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, first_tokens, make_task
from nissl.circuits import effects, pair_effects
from nissl.errors import UnknownName
from nissl.network import cut_edges
from nissl.network.edits.edges import edges_of
from nissl.specimens import fetch, load, specimens
from nissl.specimens.planted import backup_head, circuits

TABLE = specimens()
NAMES = TABLE.loc[TABLE["kind"] == "circuit", "name"].tolist()
NODES, QUIET = ["attn.z", "attn.q", "attn.k", "mlp.out"], {"progress": False}


def opened(name, variant="planted", *, n=64, seed=0):
    """The specimen, and its pairs as a behaviour."""
    planted = load(name, variant=variant, seed=seed)
    net = nissl.load(planted.module, tokenizer=planted.tokenizer)
    pairs = planted.pairs.iloc[:: 64 // n]
    right, wrong = (first_tokens(net, pairs[c].tolist()).tolist() for c in ("answer", "wrong"))
    texts = pairs["text"].tolist(), pairs["corrupted"].tolist()
    return planted, Behaviour(net, *texts, right=right, wrong=wrong)


def shares(pairs, method, how="noising"):
    """By node, its effect as a share of what corrupting the whole prompt does."""
    whole = float((pairs.clean_value - pairs.corrupted_value).mean())
    each, rows = pair_effects(
        pairs, over=NODES, method=method, patching=how, positions="all", **QUIET
    )
    return dict(zip(rows["unit"], each.mean(0) / whole, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_all_answers_are_right_and_halves_share_no_word(name):
    planted = load(name)
    net = nissl.load(name, progress=False)
    task = make_task(net, planted.pairs, name=name, **QUIET)
    assert len(task) == 64
    said = task.behaviour().reference.argmax(-1)
    assert said.tolist() == first_tokens(net, planted.pairs["answer"].tolist()).tolist()
    words = set(circuits.WORDS)
    first, second = ({w for t in half.items["text"] for w in t.split()} for half in task.halves)
    assert not first & second & words


@pytest.mark.parametrize("name", NAMES)
def test_patching_a_node_of_the_truth_and_no_other_loses_the_behaviour(name):
    planted, pairs = opened(name, n=16)
    found = shares(pairs, "exact")
    truth = planted.nodes | planted.inputs
    assert truth <= found.keys()
    for node, share in found.items():
        assert abs(share) > 0.7 if node in truth else abs(share) < 0.05, (node, share)


@pytest.mark.parametrize("name", NAMES)
def test_cutting_an_edge_of_the_truth_and_no_other_loses_the_behaviour(name):
    planted, pairs = opened(name, n=8)
    whole = float((pairs.clean_value - pairs.corrupted_value).mean())
    edges = edges_of(pairs.net)
    other = pairs.net.run(pairs.corrupted_call, sites=edges.writer_sites)
    every = edges.names(*edges.allowed.nonzero().T.tolist())
    assert planted.edges <= set(every)
    others = [edge for edge in every if edge not in planted.edges]
    drawn = np.random.default_rng(0).choice(others, 60, replace=False)
    for edge in [*planted.edges, *drawn]:
        with pairs.net.edit(cut_edges(edge, to=other)):
            share = float((pairs.clean_value - pairs.clean()).mean()) / whole
        assert abs(share) > 0.7 if edge in planted.edges else abs(share) < 0.05, (edge, share)
    with pairs.net.edit(cut_edges(others, to=other)):  # the circuit alone
        assert float((pairs.clean_value - pairs.clean()).mean()) / whole < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_distractors_move_the_stream(name):
    _planted, pairs = opened(name, n=16)
    net = pairs.net
    sites = ["blocks.*.attn.heads", "blocks.*.mlp.out"]
    added = net.run(pairs.clean_call, sites=sites)
    length = [
        float(part.norm(dim=-1).mean()) for site, x in added.items() for part in x.split(72, dim=-1)
    ]
    assert np.median(length) > 0.5
    assert np.quantile(length, 0.1) > 0.3


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_where_the_circuit_is_zero(name):
    planted, pairs = opened(name, "zeroed")
    assert not planted.nodes | planted.edges | planted.inputs | planted.backups
    assert float(pairs.clean_value.abs().mean()) < 1.5
    assert 0.3 < float((pairs.clean_value > 0).double().mean()) < 0.7
    options = {"method": "exact", "patching": "noising", "positions": "all", **QUIET}
    found = effects(pairs, over=["attn.z", "mlp.out"], **options)
    assert not len(found.significant(q=0.005))
    whole, zeroed = load(name).module.state_dict(), planted.module.state_dict()
    changed = [key for key in whole if not torch.equal(whole[key], zeroed[key])]
    assert 0 < len(changed) < len(whole) / 2
    for key in changed:
        assert not zeroed[key][whole[key] != zeroed[key]].any()


def test_gradients_miss_what_saturates_and_what_cancels():
    _, pairs = opened("planted-saturated-gate", n=16)
    found = shares(pairs, "attribution")
    assert abs(found["blocks.1.attn.q[head 0]"]) < 0.01
    assert abs(found["blocks.0.attn.z[head 5]"]) < 0.1
    _planted, pairs = opened("planted-cancelling-paths", n=16)
    assert abs(shares(pairs, "attribution")["blocks.1.attn.z[head 1]"]) < 0.15


def test_the_backup_acts_where_the_first_head_is_ablated():
    planted, pairs = opened("planted-backup-head", n=16)
    (first,), (backup,) = planted.nodes, planted.backups
    assert abs(shares(pairs, "exact", "zero")[first]) < 0.1
    with pairs.net.edit(nissl.ablate(first)):
        assert float(pairs.clean().min()) > 3
    with pairs.net.edit(nissl.ablate(backup)):
        assert float(pairs.clean().min()) > 3
    with pairs.net.edit(nissl.ablate(first), nissl.ablate(backup)):
        assert float(pairs.clean().abs().mean()) < 1.5


def test_seeds_change_distractors_and_variants_are_checked():
    one, two = (backup_head(seed=seed).module.state_dict() for seed in (0, 1))
    assert all(
        torch.equal(one[key], value) for key, value in backup_head().module.state_dict().items()
    )
    assert not torch.equal(one["lm_head.weight"], two["lm_head.weight"])
    with pytest.raises(UnknownName, match="zeroed"):
        backup_head("zero")
    with pytest.raises(NisslError, match="made here"):
        fetch("planted-induction")
