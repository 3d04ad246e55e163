"""Dead, n-gram and positional neurons: planted, against slow oracles, and nothing in noise."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mutual_info_score

from nissl.errors import NisslError, UnknownName
from nissl.network import Network, plan_of
from nissl.selectivity.detectors import detected
from nissl.selectivity.erasing import erasing
from nissl.selectivity.ngram import NgramRules, describe, ngram
from nissl.selectivity.positional import position_information, position_test
from nissl.statistics import Finding, Test
from nissl.statistics.calibration import rate
from nissl.statistics.ngrams import Firings, read_ngrams
from tiny import tiny

WINDOW = 33
RULES = NgramRules(most=2, coverage=0.9, dead_tokens=1000)
TEST = Test(tail="gpd", correction="bh")
FEW = Test(n_permutations=99, tail="permutation")


@pytest.fixture(scope="module")
def net():
    return Network(tiny("llama"), name="tiny")


def documents(n=80, *, length=WINDOW, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 15, length).tolist() for _ in range(n)]


def gather(net, values, texts, *, parts=3, **options):
    """Read texts of which the activity is given, in several blocks, and describe the units."""
    plan = plan_of(net, texts, window=WINDOW)
    samples = plan.samples()
    columns = (np.asarray(samples[name]) for name in ("token", "document", "position"))
    text = read_ngrams(*columns, np.repeat(np.arange(plan.n_items), plan.new_tokens), **options)
    x = np.ascontiguousarray(values(samples), np.float32)
    n = x.shape[1]
    half = np.full(n, 0.5), np.full(n, -0.5)
    firings = Firings(n, text, active=half, firing=half)
    edges = [plan.first_row[i] for i in np.linspace(0, plan.n_items, parts + 1).astype(int)]
    for a, b in pairwise(edges):
        firings.update(x[a:b], int(a))
    table = describe({"site": firings}, {"site": 0}, net.tokens, rules=RULES, test=TEST)
    return table, firings, x, plan


def planted(samples):
    token, position = samples["token"], samples["position"]
    before = np.where(position > 0, np.r_[0, token[:-1]], 0)
    rng = np.random.default_rng(1)
    return np.stack(
        [
            np.zeros(len(token)),
            np.isin(token, [7, 9]),
            -1.0 * ((before == 3) & (token == 4)),
            (position > 12),
            rng.random(len(token)) < 0.3,
        ],
        axis=1,
    )


def test_planted_functions_are_found(net):
    table, *_ = gather(net, planted, documents(), n_labels=(12, 144))
    assert table["kind"].tolist() == ["dead", "token", "bigram", "positional", "other"]
    assert [set(t.split("|")) for t in table["triggers"]] == [{""}, {"7", "9"}, {"34"}, {""}, {""}]
    assert table["trigger"].tolist()[1] in (7, 9)
    assert (table["trigger"][2], table["sign"][2], table["sign"][1]) == (4, -1, 1)
    assert table["covered"][1] == table["covered"][2] == 1
    assert table["density"][0] == 0
    assert "never fires" in table["note"][0]
    assert (table["p"][0], table["q"][0]) == (1, 1)
    assert table["position_q"][3] < 0.01 < table["position_q"][4]
    assert not table.isna().any().any()


def test_dead_is_not_said_of_little_text(net):
    table, *_ = gather(net, planted, documents(20))
    assert table["kind"][0] == "other"


def test_counts_and_information_are_those_of_slow_ones(net):
    def values(samples):
        rng = np.random.default_rng(2)
        near = (samples["position"] % 7 < 3)[:, None]
        return rng.random((len(near), 6)) < np.where(near, 0.7, 0.3)

    table, firings, x, plan = gather(net, values, documents(30), n_labels=(12, 40, 5))
    samples, text = plan.samples(), firings.text
    counts = firings.counts()
    for unit in range(6):
        slow = Counter()
        for row in np.flatnonzero(x[:, unit] > 0.5):
            for n in range(1, 4):
                if samples["position"][row] >= max(n - 1, 1):
                    slow[tuple(samples["token"][row - n + 1 : row + 1].tolist())] += 1
        for label, ids in enumerate(text.ngrams):
            assert counts[label, unit] == slow[tuple(ids[ids >= 0].tolist())]
        # Windows of 33 have 32 positions that count, each a stretch.
        rows = samples["position"] > 0
        slow_information = mutual_info_score(samples["position"][rows], x[rows, unit] > 0.5)
        np.testing.assert_allclose(table["information"][unit], slow_information, atol=1e-9)


def test_position_is_turned_and_flipped_as_slow_draws_are(net):
    def values(samples):
        rng = np.random.default_rng(3)
        return rng.random((len(samples["token"]), 300)) < 0.4

    _, firings, *_ = gather(net, values, documents(40))
    active, _ = firings.stretches()
    rng = np.random.default_rng(0)
    observed = active.sum(axis=0).var(axis=0)
    reached = np.zeros((2, 300))
    centred = active - active.mean(axis=1, keepdims=True)
    for _ in range(400):
        turns, signs = rng.integers(0, 32, len(active)), rng.choice([-1, 1], len(active))
        turned = sum(np.roll(pool, turn, axis=0) for pool, turn in zip(active, turns, strict=True))
        flipped = (centred * signs[:, None, None]).sum(axis=0)
        for i, drawn in enumerate((turned, flipped)):
            reached[i] += drawn.var(axis=0) >= observed - 1e-9
    slow = ((1 + reached) / 401).max(axis=0)
    test = replace(TEST, n_permutations=400)
    table = describe({"site": firings}, {"site": 0}, net.tokens, rules=RULES, test=test)
    # Two samples of 400 draws: their difference has a deviation of at most 0.035.
    assert np.abs(table["position_p"] - slow).max() < 0.15
    assert np.abs(table["position_p"] - slow).mean() < 0.03


@pytest.mark.parametrize(("memory", "level"), [(0.0, 0.5), (0.5, 0.3), (0.9, 0.3), (0.99, 0.3)])
def test_noise_that_hangs_together_holds_nothing(net, memory, level):
    def values(samples):
        rng = np.random.default_rng(4)
        n = len(samples["token"])
        x = rng.standard_normal((n, 800))
        for row in range(1, n):  # within a window each sample is much like the one before
            if samples["position"][row] > 0:
                x[row] = memory * x[row - 1] + np.sqrt(1 - memory**2) * x[row]
        # Skewed, of other means and sizes in every document; half of the units rarely active.
        x += rng.standard_normal((80, 800))[samples["document"]]
        x[:, ::2] -= 1.5
        return np.exp(x) * level

    table, *_ = gather(net, values, documents())
    for alpha in (0.05, 0.01):
        # Both err on the large side: one is a bound, the other the larger of two p-values.
        assert not rate(table["position_p"], alpha=alpha).exceeds
        assert not rate(table["p"], alpha=alpha).exceeds
    assert rate(table["position_p"]).rate > 0.015
    assert min(table["q"].min(), table["position_q"].min()) > 0.01
    assert set(table["kind"]) == {"other"}


def test_power_for_preferred_tokens_and_for_positions(net):
    def values(samples):
        rng = np.random.default_rng(5)
        x = rng.standard_normal((len(samples["token"]), 40))
        x[:, :20] += 1.5 * (samples["token"] == 5)[:, None]
        x[:, 20:] += 0.8 * (samples["position"] < 10)[:, None]
        return x

    table, *_ = gather(net, values, documents(160))
    assert (table["q"][:20] < 0.05).mean() > 0.9
    assert (table["position_q"][20:] < 0.05).mean() > 0.9


def test_detection_is_the_papers_three_steps():
    rng = np.random.default_rng(0)
    occurrences = rng.integers(20, 50, 8)
    counts = np.minimum(rng.integers(0, 50, (8, 400)), occurrences[:, None])
    counts[:, ::2] = np.where(rng.random((8, 200)) < 0.2, occurrences[:, None], 0)
    fired = counts.sum(axis=0) + rng.integers(0, 6, 400)
    which, covered = detected(counts, fired, occurrences, most=2, coverage=0.9)
    for unit in range(400):
        sure = [i for i in range(8) if counts[i, unit] >= 0.9 * occurrences[i]]
        best = sorted(sure, key=lambda i: -counts[i, unit])[:2]
        share = sum(counts[i, unit] for i in best) / max(fired[unit], 1)
        assert which[:, unit].any() == (share >= 0.9)
        if share >= 0.9:
            assert which[:, unit].sum() == len(best)
            np.testing.assert_allclose(covered[unit], share)
    assert which.any(axis=0).sum() > 20


def test_information_of_one_sided_and_constant_units():
    frequency = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(position_information(frequency), [np.log(2), 0, 0])


def with_detectors(n=8):
    """A network whose first block has neurons that fire at one token each, and erase it."""
    model = tiny(
        "llama", dtype=torch.float32, hidden_size=64, num_hidden_layers=1, intermediate_size=30
    )
    layer = model.model.layers[0]
    with torch.no_grad():
        layer.self_attn.o_proj.weight.zero_()
        seen = layer.post_attention_layernorm(model.model.embed_tokens.weight)
        reads = torch.linalg.pinv(seen) * 10  # (d_model, tokens): ten at its token, zero elsewhere
        scale = model.model.norm.weight
        for unit in range(n):
            layer.mlp.up_proj.weight[unit] = reads[:, 3 + unit]
            layer.mlp.gate_proj.weight[unit] = reads[:, 3 + unit]
            layer.mlp.down_proj.weight[:, unit] = -model.lm_head.weight[3 + unit] * scale
        layer.mlp.down_proj.weight[:, n:] *= 0.01
    return Network(model, name="detectors")


def test_a_network_that_detects_and_erases_tokens():
    net = with_detectors()
    found = ngram(net, documents(60), window=WINDOW, progress=False)
    table = found.table
    assert (table["kind"][:8] == "token").all()
    assert table["triggers"].tolist()[:8] == [str(3 + i) for i in range(8)]
    assert set(found.significant(q=0.01).units) >= set(table["unit"][:8])
    made = erasing(net, found)
    assert made.table["trigger_logit"].max() < -1
    assert made.table["place"].max() < 0.1
    assert made.provenance["share_negative"] == 1
    assert made.provenance["mean_p"] == 1 / 1000
    # Against the head and the norm themselves.
    with torch.no_grad():
        write = net.output_weights("blocks.0.mlp.neurons")[2] * net.model.model.norm.weight
        logits = (net.unembedding @ write).numpy()
    z = (logits[5] - logits.mean()) / logits.std()
    np.testing.assert_allclose(made.table["trigger_logit"][2], z, rtol=1e-4)


def test_random_output_weights_erase_nothing():
    net = with_detectors()
    p = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        weight = net.model.model.layers[0].mlp.down_proj.weight
        with torch.no_grad():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        table = pd.DataFrame(
            {
                "unit": [f"blocks.0.mlp.neurons[{i}]" for i in range(20)],
                "layer": 0,
                "kind": "token",
                "trigger": np.arange(3, 23),
                "triggers": "",
                "sign": 1,
                "covered": 1.0,
            }
        )
        made = erasing(
            net,
            Finding(table, "ngram", "none"),
            test=Test(n_permutations=99, correction="bh", seed=seed),
        )
        p.append(made.provenance["mean_p"])
        assert made.table["q"].min() > 0.05 or seed
    assert not rate(p, level=0.999).exceeds


def test_what_cannot_be_asked_is_refused(net):
    with pytest.raises(NisslError, match="no token occurs in 5 documents"):
        ngram(net, documents(3), progress=False)
    with pytest.raises(NisslError, match="firing is a share"):
        NgramRules(firing=0.0)
    with pytest.raises(NisslError, match="n-grams are of text"):
        ngram(Network(tiny("conv")), torch.zeros(2, 3, 8, 8, dtype=torch.float64), sites="conv1")
    found = ngram(net, documents(9), progress=False)
    with pytest.raises(NisslError, match="too few to permute"):
        erasing(net, found)
    with pytest.raises(UnknownName):
        erasing(net, Finding(pd.DataFrame({"unit": ["a"], "r": [0.0]}), "m", "none"))


def test_positions_of_unequal_stretches_are_refused():
    with pytest.raises(NisslError, match="cannot be shifted circularly"):
        position_test(np.ones((3, 4, 2)), np.arange(12.0).reshape(3, 4, 1))
    with pytest.raises(NisslError, match="cannot be shifted circularly"):
        position_test(np.ones((4, 2)), np.ones((4, 1)))


def test_a_bare_test_is_the_tests_own_tail():
    counts = np.random.default_rng(0).binomial(20, 0.5, (16, 10, 2))
    counts[:, :3, 1] += 5
    p = [position_test(counts, np.full((16, 10, 1), 25), test=t)[1] for t in (Test(), TEST)]
    assert p[0].tolist() == p[1].tolist()
    assert p[0][1] < 1e-3 < position_test(counts, np.full((16, 10, 1), 25), test=FEW)[1][1]
    # Four windows flipped: one in eight, however far the tail goes.
    assert position_test(counts[:4], np.full((4, 10, 1), 25))[1].min() >= 1 / 8


def test_few_windows_have_no_position(net):
    table = ngram(net, documents(6, length=30), progress=False).table
    assert (table["position_p"] == 1).all()
    assert (table["information"] == 0).all()
