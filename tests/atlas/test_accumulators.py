"""The parts of a network's atlas, each alone: contexts, languages, promoted, thresholds, states."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from nissl.atlas.checkpoint import Checkpoint
from nissl.atlas.contexts import Contexts
from nissl.atlas.corpus import AFTER, BEFORE, corpus_of
from nissl.atlas.document_preference import document_preference
from nissl.atlas.unit_kinds import Rules, unit_kinds
from nissl.atlas.unit_weights import PromotedTokens, weight_columns
from nissl.errors import NisslError
from nissl.network import Network, plan_of
from nissl.network.record.activation_threshold import SHARE, active_above
from nissl.selectivity import gated_function
from nissl.statistics import Extremes, Test


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config)
    nn.init.normal_(model.model.norm.weight, mean=1.0, std=0.5)
    return Network(model, name="tiny llama")


def documents(n=12, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 50, rng.integers(20, 60)).tolist() for _ in range(n)]


def test_contexts_follow_the_extremes_through_blocks():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5)).astype(np.float32)
    window = np.arange(400) // 50
    rows = np.arange(400)
    first = np.maximum(rows - BEFORE, window * 50)
    end = np.minimum(rows + AFTER + 1, window * 50 + 50)
    extremes, contexts = Extremes(5, k=6), Contexts(5, n_top=4, n_bottom=3)
    for a, b in ((0, 100), (100, 150), (150, 400)):
        extremes.update(x[a:b], a)
        contexts.update(x[a:b], a, extremes, first_row=first[a:b], end_row=end[a:b])
        contexts = Contexts.from_state(contexts.state())
    for name, n in (("top", 4), ("bottom", 3)):
        kept = contexts.activity(name)
        for unit in range(5):
            for rank, place in enumerate(extremes.result()[f"{name}_places"][unit, :n]):
                expected = np.zeros(BEFORE + 1 + AFTER, np.float32)
                at = slice(first[place] - place + BEFORE, end[place] - place + BEFORE)
                expected[at] = x[first[place] : end[place], unit]
                np.testing.assert_array_equal(kept[unit, rank], expected)


def test_document_preference_is_calibrated_and_finds_what_is_planted():
    labels = np.repeat(["a", "b", "c"], [30, 20, 12])
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        means = np.exp(rng.standard_normal((62, 50)))
        hits += (
            document_preference(means, labels, test=Test(n_permutations=199))["q"] < 0.05
        ).any()
    # 20 searches at 5%: more than four have a probability below 0.3%.
    assert hits <= 4
    means[:, 3] += 3 * (labels == "c")
    found = document_preference(means, labels, test=Test(n_permutations=199))
    assert (found["label"][3], found["q"][3]) == ("c", 1 / 200)
    inside, outside = means[labels == "c", 3], means[labels != "c", 3]
    pooled = (inside.var() * len(inside) + outside.var() * len(outside)) / (len(means) - 2)
    expected = (inside.mean() - outside.mean()) / np.sqrt(pooled)
    np.testing.assert_allclose(found["effect"][3], expected, rtol=1e-3)


def test_one_label_is_no_preference():
    found = document_preference(np.zeros((9, 2)), np.repeat("a", 9))
    assert found["label"].tolist() == ["", ""]


def test_readout_is_what_the_head_makes_of_a_units_output(llama):
    site = "blocks.1.mlp.neurons"
    write = llama.output_weights(site)
    found = PromotedTokens(llama, n=3, text=str).columns(write, 24)
    with torch.no_grad():
        logits = write * llama.model.model.norm.weight @ llama.model.lm_head.weight.T
    for unit in range(24):
        order = logits[unit].argsort(descending=True)
        assert found["promoted"][unit] == [str(int(i)) for i in order[:3]]
        assert found["suppressed"][unit] == [str(int(i)) for i in order.flip(0)[:3]]
        np.testing.assert_allclose(
            found["promoted_logit"][unit], logits[unit][order[:3]], rtol=1e-4
        )


def test_readout_takes_off_the_mean_where_the_norm_does():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=30, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    net = Network(GPT2LMHeadModel(config))
    promoted = PromotedTokens(net, n=2, text=str)
    assert promoted.vectors is not None
    # A vector of ones is what a layer norm does not see.
    np.testing.assert_allclose(np.ones(8) @ promoted.vectors, 0, atol=1e-5)


def test_cosines_and_norms_are_those_of_the_matrices(llama):
    site = "blocks.0.mlp.neurons"
    found = weight_columns(llama, site, 24)
    mlp = llama.model.model.layers[0].mlp
    up, gate = mlp.up_proj.weight.detach().numpy(), mlp.gate_proj.weight.detach().numpy()
    down = mlp.down_proj.weight.detach().numpy().T

    def cosine(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    np.testing.assert_allclose(found["output_norm"], np.linalg.norm(down, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["cos_in_out"], cosine(up, down), atol=1e-5)
    np.testing.assert_allclose(found["cos_gate_out"], cosine(gate, down), atol=1e-5)
    np.testing.assert_allclose(found["cos_in_gate"], cosine(up, gate), atol=1e-5)
    assert np.isnan(weight_columns(llama, "blocks.0.resid_post", 16)["output_norm"]).all()


def test_gated_neurons_have_the_class_that_selectivity_gives_them(llama):
    expected = gated_function(llama, sites="blocks.0.mlp.neurons", progress=False).table
    found = weight_columns(llama, "blocks.0.mlp.neurons", 24)["gated_class"]
    assert found.tolist() == expected["gated_class"].tolist()
    assert len(set(found)) > 1  # in 16 dimensions, chance has classes too
    assert set(weight_columns(llama, "blocks.0.resid_post", 16)["gated_class"]) == {""}


def test_threshold_is_a_share_of_the_layers_output(llama):
    site = "blocks.1.mlp.neurons"
    plan = plan_of(llama, documents(4))
    above, below = active_above(llama, [site, "embed"], plan)[site]
    norms = []
    for ids in documents(4):
        out = llama.run([ids], sites="blocks.1.mlp.out")["blocks.1.mlp.out"][0, 1:]
        norms += out.norm(dim=1).tolist()
    norm = llama.output_weights(site).norm(dim=1).numpy()
    np.testing.assert_allclose(above * norm, SHARE * np.median(norms), rtol=1e-4)
    np.testing.assert_array_equal(below, -above)


def test_reading_labels_tokens_and_pairs_of_one_window(llama):
    plan = plan_of(llama, documents(30), window=16)
    corpus = corpus_of(plan, n_tokens=20, n_bigrams=10, min_documents=2)
    np.testing.assert_array_equal(corpus.token, plan.samples()["token"])
    assert (corpus.position[~corpus.keep] == 0).all()
    for row in range(len(corpus.token)):
        token, pair = corpus.labels[row]
        if token >= 0:
            assert corpus.tokens[token] == corpus.token[row]
        if pair >= 0:
            first, second = corpus.bigrams[pair - len(corpus.tokens)]
            assert (first, second) == (corpus.token[row - 1], corpus.token[row])
            assert corpus.window[row - 1] == corpus.window[row]
        inside = corpus.window[corpus.first_row[row] : corpus.end_row[row]]
        assert (inside == corpus.window[row]).all()


def test_documents_of_different_labels_are_never_pooled(monkeypatch):
    monkeypatch.setattr("nissl.atlas.corpus.MOST_LABELLED", 5)
    net = Network(nn.Embedding(50, 4))
    table = pd.DataFrame({"text": ["x"] * 12, "language": list("aababbaccabb")})
    net.tokenizer = _Letters()
    corpus = corpus_of(plan_of(net, table), n_tokens=5, n_bigrams=5)
    of_document = table["language"].to_numpy()[corpus.document]
    assert (corpus.language[corpus.labelled] == of_document).all()
    assert len(corpus.language) < 12


class _Letters:
    bos_token_id = pad_token_id = None

    def encode(self, text, **_):
        return [ord(letter) % 50 for letter in text] * 9


def test_kinds_are_asked_in_order():
    table = pd.DataFrame(
        {
            "dead": [True, False, False, False, False, False],
            "position_share": [0.9, 0.9, 0.0, 0.0, 0.0, 0.0],
            "token_q": [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
            "bigram_q": [0.0, 0.0, 1.0, 0.0, 1.0, 1.0],
            "language_q": [0.0, 0.0, 0.0, 0.0, 0.0, 0.5],
            "language_effect": [9.0, 9.0, 9.0, 9.0, 9.0, 9.0],
        }
    )
    own, pair = np.array([1, 1, 0.9, 0.7, 0.1, 1]), np.array([1, 1, 0, 0.7, 0, 1])
    kinds = unit_kinds(table, Rules(), agreement=own, pair_agreement=pair)
    expected = ["dead", "positional", "token", "bigram", "language", "unexplained"]
    assert kinds.tolist() == expected


def test_a_damaged_state_is_an_error(tmp_path):
    checkpoint = Checkpoint(tmp_path / "state", {"text": 1})
    checkpoint.save(2, lambda: {"a": np.arange(3), "b": np.array(4.0)})
    assert checkpoint.load()[1]["b"].shape == ()
    with pytest.raises(NisslError, match="text 1, now 2"):
        Checkpoint(tmp_path / "state", {"text": 2}).load()
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:40])
    with pytest.raises(NisslError, match="cannot be read"):
        checkpoint.load()
    checkpoint.clear()
    assert checkpoint.load() == (0, {})
