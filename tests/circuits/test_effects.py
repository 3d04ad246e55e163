"""Effects of nodes: equal to runs by hand, and approximations exact where all is linear."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Patching
from nissl.circuits import effects, pair_effects
from nissl.circuits.effects import EFFECT_METHODS
from nissl.network import nodes_of
from nissl.statistics import Test
from tiny import tiny

HOW = ("denoising", "noising", "zero", "mean", "resample")
QUIET = {"progress": False}


def behaviour(name="llama", *, n=8, lengths=(6, 6, 7, 7), **options):
    """Pairs that differ in the third token."""
    rng = np.random.default_rng(0)
    clean = [rng.integers(3, 40, lengths[i % len(lengths)]) for i in range(n)]
    corrupted = [row.copy() for row in clean]
    for row in corrupted:
        row[2] = (row[2] + 5) % 37 + 3
    net = nissl.load(tiny(name, **options))
    metric = (lambda x: x[:, 0] - x[:, 1]) if name == "bert" else "logit_difference"
    return Behaviour(net, clean, corrupted, metric=metric, right=[5] * n, wrong=[9] * n)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text", "gpt_neox", "mixtral", "bert"])
def test_exact_effects_equal_runs_by_hand(name, how):
    pairs = behaviour(name)
    net = pairs.net
    found, rows = pair_effects(
        pairs, over=["attn.z", "mlp.out"], method="exact", patching=how, batch_size=4, **QUIET
    )
    node = "blocks.1.attn.z[head 2]"
    position = -3  # counted from the end, since lengths differ
    column = np.flatnonzero((rows["unit"] == node) & (rows["position"] == position))[0]
    patching = Patching(pairs, how)
    given = patching.given("blocks.1.attn.z")["blocks.1.attn.z"]
    for pair, ids in enumerate(pairs.corrupted_ids if how == "denoising" else pairs.clean_ids):
        at = len(ids) + position

        def hook(module, args, pair=pair, at=at):
            x = args[0].clone()
            x[0, at, 8:12] = given[pair, at, 8:12]
            return (x,)

        module = net.model.get_submodule(net.find("blocks.1.attn.z")[0].hook_point.path)
        handle = module.register_forward_pre_hook(hook)
        with torch.no_grad():
            new = pairs.score(net.model(torch.as_tensor(ids)[None]), rows=slice(pair, pair + 1))
        handle.remove()
        effect = patching.sign * float(new[0] - patching.value[pair])
        assert found[pair, column] == pytest.approx(effect, abs=1e-12)


@pytest.mark.parametrize("method", ["attribution", "integrated", "relp", "gim"])
def test_approximations_are_exact_where_the_network_is_linear(method):
    torch.manual_seed(0)
    net = nissl.load(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)).double())
    x = torch.randn(10, 4, dtype=torch.float64)
    pairs = Behaviour(net, x, torch.randn_like(x), right=[0] * 10, wrong=[1] * 10)
    for how in ("denoising", "noising", "zero", "mean"):
        options = {"over": ["0", "1"], "patching": how, "positions": "all", **QUIET}
        exact, rows = pair_effects(pairs, method="exact", **options)
        found, _ = pair_effects(pairs, method=method, **options)
        assert rows["unit"].tolist()[:2] == ["0[0]", "0[1]"]
        assert np.allclose(exact, found, atol=1e-12)


def test_relp_is_near_to_exact_behind_the_last_block():
    pairs = behaviour()
    whole, _ = pair_effects(
        pairs, over="blocks.2.resid_post", method="relp", positions="all", **QUIET
    )
    exact, _ = pair_effects(
        pairs, over="blocks.2.resid_post", method="exact", positions="all", **QUIET
    )
    assert np.corrcoef(whole[:, 0], exact[:, 0])[0, 1] > 0.9


def test_a_planted_unit_is_found_and_nothing_where_nothing_is():
    torch.manual_seed(0)
    first, last = nn.Linear(4, 6, bias=False), nn.Linear(6, 2, bias=False)
    with torch.no_grad():
        last.weight[0] = last.weight[1]
        last.weight[0, 3] += 2  # the third hidden unit alone tells the answers apart
    net = nissl.load(nn.Sequential(first, last).double())
    x = torch.randn(16, 4, dtype=torch.float64)
    x[:, 0] += 4 * torch.sign(first.weight[3, 0].detach())
    y = torch.randn(16, 4, dtype=torch.float64)
    pairs = Behaviour(net, x, y, right=[0] * 16, wrong=[1] * 16)
    found = effects(pairs, over="0", positions="all", **QUIET)
    assert found.significant().units == ["0[3]"]
    shuffled = Behaviour(net, y[:8], y[8:], right=[0] * 8, wrong=[1] * 8)
    assert not effects(shuffled, over="0", positions="all", **QUIET).significant().units


def test_the_level_is_that_of_the_test():
    """Where pairs have no order, effects have no sign: false positives at 0.05 over 60 draws."""
    torch.manual_seed(0)
    net = nissl.load(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)))
    false = 0
    for seed in range(60):
        x = torch.randn(24, 4, generator=torch.Generator().manual_seed(seed))
        pairs = Behaviour(net, x[:12], x[12:], right=[0] * 12, wrong=[1] * 12)
        test = Test(n_permutations=99, seed=seed)
        found = effects(pairs, over="0", positions="all", test=test, **QUIET)
        false += bool(len(found.significant(0.05).table))
    assert false <= 8  # 0.05: above it in one of 1,000 runs


def newcomer(patching, nodes, *, positions=True):
    """The size of a change: what a newcomer adds in one file."""
    changes = patching.changes(nodes.names)
    return nodes.summed({k: x.abs() for k, x in changes.items()}, positions=positions)


def test_a_newcomer_adds_a_method(monkeypatch):
    pairs = behaviour()
    by_hand = effects(pairs, over="mlp.out", method=newcomer, **QUIET)
    monkeypatch.setitem(EFFECT_METHODS, "size", newcomer)
    by_name = effects(pairs, over="mlp.out", method="size", **QUIET)
    assert by_name.table.equals(by_hand.table)
    assert by_hand.provenance["method"] == "newcomer"


def test_what_a_node_is():
    net = nissl.load(tiny("llama"))
    kinds = {"attn.k": "[head 1]", "mlp.neurons": "[5]", "mlp.out": "mlp.out"}
    for site, end in kinds.items():
        assert any(str(node).endswith(end) for node in nodes_of(net, site))
    assert len(nodes_of(net, "attn.z", by="unit")) == 3 * 16
    assert len(nodes_of(net, "mlp.neurons", by="site")) == 3
    with pytest.raises(NisslError, match="fall into heads"):
        nodes_of(net, "mlp.out", by="head")
    with pytest.raises(NisslError, match="no units"):
        nodes_of(net, "attn.pattern")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: effects(behaviour(n=4), **QUIET), "16 ways"),
        (lambda: effects(behaviour(), method="best", **QUIET), "best"),
        (lambda: effects(behaviour(), patching="dropping", **QUIET), "dropping"),
        (lambda: effects(behaviour(), over="attn.zz", **QUIET), "attn.zz"),
        (lambda: effects(behaviour(lengths=(6,), n=9)._same(), **QUIET), "the same"),
        (
            lambda: effects(behaviour(lengths=(5, 6, 7, 8, 9, 10, 11, 12)), patching="resample"),
            "one pair alone",
        ),
    ],
)
def test_what_cannot_be_is_said_before_long_work(make, said, monkeypatch):
    def same(self):
        return Behaviour(self.net, self.clean_ids, self.clean_ids, right=[5] * 9, wrong=[9] * 9)

    monkeypatch.setattr(Behaviour, "_same", same, raising=False)
    with pytest.raises(NisslError, match=said):
        make()


def test_pairs_of_other_lengths_and_inputs_without_positions_are_refused():
    net = nissl.load(tiny("llama"))
    ids = [[5, 6, 7]] * 8
    loose = Behaviour(net, ids, [[5, 6]] * 8, right=[5] * 8, wrong=[9] * 8, aligned=False)
    with pytest.raises(NisslError, match="3 tokens, the corrupted one 2"):
        effects(loose, **QUIET)
    linear = nissl.load(nn.Linear(2, 2))
    x = torch.randn(8, 2)
    with pytest.raises(NisslError, match="no positions"):
        effects(Behaviour(linear, x, -x, right=[0] * 8, wrong=[1] * 8), over="", **QUIET)


@pytest.mark.real
def test_heads_that_name_the_indirect_object_are_found(smollm2):
    task = nissl.behaviour.indirect_object(smollm2, n=16, progress=False)
    found = effects(task, over="attn.z", method="relp", **QUIET).significant()
    assert "blocks.23.attn.z[head 3]" in found.units
    assert set(found.table["position"]) <= set(range(-6, 0))  # from the name that differs on


def test_a_metric_without_a_gradient_is_said_and_exact_needs_none():
    torch.manual_seed(0)
    net = nissl.load(nn.Linear(3, 2))
    x = torch.randn(8, 3)
    pairs = Behaviour(net, x, -x, metric=lambda y: torch.as_tensor(y.detach().numpy()[:, 0]))
    options = {"over": ":in", "positions": "all", "test": None, **QUIET}
    with pytest.raises(NisslError, match="no gradient"):
        effects(pairs, method="attribution", **options)
    assert effects(pairs, method="exact", **options).table["indirect_effect"].abs().max() > 0


def test_what_is_added_to_either_stack_of_an_encoder_decoder_is_one_node():
    net = nissl.load(tiny("t5"))
    assert {node.kind for node in nodes_of(net, "decoder.mlp.out")} == {"site"}


def test_a_classifier_of_texts_answers_once():
    import transformers

    config = transformers.AutoConfig.for_model(
        "bert",
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_labels=3,
    )
    torch.manual_seed(0)
    net = nissl.load(transformers.BertForSequenceClassification(config).eval())
    pairs = Behaviour(net, [[5, 6, 7], [5, 8]], [[5, 9, 7], [5, 3]], right=[0, 1], wrong=[2, 2])
    with torch.no_grad():
        logits = net.model(torch.tensor([[5, 8]])).logits[0]
    assert float(pairs.clean_value[1]) == pytest.approx(float(logits[1] - logits[2]), abs=1e-6)


def test_edges_of_a_network_that_sees():
    from nissl.behaviour import exact_edges
    from nissl.network import edges_of

    net = nissl.load(tiny("vit"))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    pairs = Behaviour(net, x, -x, right=[0, 0], wrong=[1, 1])
    found = exact_edges(Patching(pairs), edges_of(net))
    assert found.shape == (2, *edges_of(net).allowed.shape)
    assert float(found.abs().max()) > 0
