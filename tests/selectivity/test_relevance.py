"""Relevance neurons: a ranker built by hand gives its own away, and noise has none."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import (
    ablation_effect,
    output_magnitude,
    pair_conductance,
    pair_scores,
    reciprocal_ranks,
)
from nissl.behaviour.pairs import log_odds
from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import relevance
from nissl.statistics import PermutedLabels, Test
from nissl.statistics.calibration import rate
from tiny import SPECIAL, WORDS, pair_tokenizer, tiny


class Matcher(nn.Module):
    """Scores a pair by the words that both texts hold; other units look at the passage alone.

    Unit i is open where word i is in query and passage; unit 12 + i where it is in the passage.
    """

    def __init__(self):
        super().__init__()
        n = len(WORDS)
        self.embed = nn.Embedding(len(SPECIAL) + n, n)
        self.embed.weight.data = torch.cat([torch.zeros(len(SPECIAL), n), torch.eye(n)])
        self.read = nn.Linear(2 * n, 2 * n)
        eye, nothing = torch.eye(n), torch.zeros(n, n)
        self.read.weight.data = torch.cat(
            [torch.cat([eye, eye], 1), torch.cat([nothing, eye], 1)], 0
        )
        self.read.bias.data = torch.cat([-torch.ones(n), torch.zeros(n)])
        self.open = nn.ReLU()
        self.write = nn.Linear(2 * n, 1)
        generator = torch.Generator().manual_seed(0)
        self.write.weight.data = torch.cat(
            [torch.ones(n), 0.3 * torch.randn(n, generator=generator)]
        )[None]

    def forward(self, input_ids, attention_mask, token_type_ids):
        x = self.embed(input_ids) * attention_mask[..., None]
        query, passage = ((x * (token_type_ids == part)[..., None]).sum(1) for part in (0, 1))
        return self.write(self.open(self.read(torch.cat([query, passage], -1))))


def matcher():
    return nissl.load(Matcher(), tokenizer=pair_tokenizer())


def some_pairs(n_queries=40, *, candidates=4, seed=0):
    """Queries of two words and passages of three; relevant ones share a word with the query."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(n_queries):
        words = rng.permutation(WORDS)
        query = f"{words[0]} {words[1]}"
        for place in range(candidates):
            own = [words[rng.integers(2)]] if place == 0 else []
            rest = rng.choice(words[2:], 3 - len(own), replace=False)
            rows.append((query, " ".join([*own, *rest]), place == 0, number))
    return pd.DataFrame(rows, columns=["query", "passage", "relevant", "number"])


def test_conductance_in_closed_form():
    net, pairs = matcher(), some_pairs()
    made = pair_conductance(net, pairs, sites="open", steps=3, batch_size=7, progress=False)
    rec = made["conductance"]
    assert rec.shape == (len(pairs), 24)
    has = np.array(
        [
            [[word in text.split() for word in WORDS] for text in pairs[column]]
            for column in ("query", "passage")
        ]
    )
    # A match opens while the query comes, its weight is one; the passage was there all along.
    np.testing.assert_allclose(rec.values[:, :12], has.all(0), atol=1e-6)
    np.testing.assert_allclose(rec.values[:, 12:], 0, atol=1e-6)
    assert rec["relevant"].values.tolist() == pairs["relevant"].tolist()
    assert rec["number"].values.tolist() == pairs["number"].tolist()
    np.testing.assert_allclose(made["size"].values[:, 12:], has[1], atol=1e-6)
    whole = pair_conductance(net, pairs, sites="open", blank="pair", steps=50, progress=False)
    scores = pair_scores(net, pairs, progress=False)
    gained = scores - float(net.model.write.bias.detach())
    np.testing.assert_allclose(whole["conductance"].values.sum(1), gained, atol=0.02)


def test_conductance_of_a_cross_encoder_is_the_same_in_other_batches():
    import transformers

    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(tiny("bert").config)
    net, pairs = nissl.load(model, tokenizer=pair_tokenizer()), some_pairs(3)
    many, one = (
        pair_conductance(net, pairs, steps=4, batch_size=size, progress=False) for size in (12, 5)
    )
    for key in many:
        assert many[key].shape == (12, 3 * 24)
        np.testing.assert_allclose(many[key].values, one[key].values, rtol=1e-4, atol=1e-8)
    units = output_magnitude(net, many["size"])
    assert (units["weight"] > 0).all()
    assert units["unit"][30] == "blocks.1.mlp.neurons[6]"


def test_planted_neurons_are_found_and_matter():
    net = matcher()
    made = pair_conductance(net, some_pairs(), sites="open", steps=4, progress=False)
    found = relevance(made["conductance"], test=Test(n_permutations=200), progress=False)
    top = found.top(12)
    assert {int(u[5:-1]) for u in top.units} == set(range(12))
    assert {int(u[5:-1]) for u in found.significant().units} <= set(range(12))
    assert (found.table["note"][12:] != "").all()  # they contribute nothing, ever
    assert not found.table[["relevance", "effect", "p", "q"]].isna().any().any()
    tested = pd.concat(
        [
            some_pairs(seed=1).assign(query=lambda t: t["query"] + " w0", collection="here"),
            some_pairs(seed=2).assign(query=lambda t: t["query"] + " w1", collection="there"),
        ]
    )
    tested = tested.groupby("query").filter(lambda rows: len(rows) == 4)
    units = found.table.assign(
        unit=[f"open[{i}]" for i in range(24)], layer=0, weight=np.linspace(0, 1, 24)
    )
    hurt = ablation_effect(
        net,
        {"here": top.units[:6]},
        on=tested,
        labels="collection",
        units=units,
        progress=False,
        measure="ranking",
    )
    rows = hurt.table.set_index("label")
    assert (rows.loc[["here", "there"], "damage"] > 0.05).all()
    assert (rows.loc[["here", "there"], "effect"] > 0).all()


def test_a_passage_that_contributes_to_all_is_no_relevance():
    """The mean over pairs would call a unit that is large for some queries relevant."""
    rng = np.random.default_rng(0)
    values = np.repeat(5 * rng.standard_normal((30, 200)), 2, axis=0)
    values += 0.1 * rng.standard_normal(values.shape)
    samples = {"relevant": np.tile([True, False], 30), "query": np.repeat(np.arange(30), 2)}
    values[::2, 7] += 0.4
    found = relevance(
        as_recording(values, samples=samples), test=Test(n_permutations=400), progress=False
    )
    assert found.significant().units == ["unit[7]"]


@pytest.mark.parametrize("others", [1, 4])
def test_nothing_is_found_where_there_is_nothing(others):
    rng = np.random.default_rng(others)
    values = rng.standard_normal((20, 1, 800)) + rng.standard_normal((20, 1 + others, 800))
    rec = as_recording(
        values.reshape(-1, 800),
        samples={
            "relevant": np.tile([True, *[False] * others], 20),
            "query": np.repeat(np.arange(20), 1 + others),
        },
    )
    found = relevance(rec, test=Test(n_permutations=199, correction=None), progress=False)
    assert found.null == PermutedLabels(exchange="query", how="within").name
    assert rate(found.table["p"], level=0.999).holds


def test_reciprocal_ranks_equal_a_slow_loop():
    pairs = some_pairs(15, candidates=14)
    pairs["relevant"] |= np.arange(len(pairs)) % 14 == 5  # two passages answer
    scores = np.random.default_rng(0).integers(0, 6, len(pairs)).astype(float)
    found = reciprocal_ranks(pairs, scores, at=4)
    for query, rows in pairs.assign(score=scores).groupby("query"):
        best = rows.loc[rows["relevant"], "score"].max()
        others = rows.loc[~rows["relevant"], "score"]
        rank = 1 + (others > best).sum() + (others == best).sum() / 2
        assert found[query] == pytest.approx(1 / rank if rank <= 4 else 0)
    scores = pair_scores(matcher(), some_pairs(), progress=False)
    assert reciprocal_ranks(some_pairs(), scores).mean() > 0.7
    with_log_odds = torch.tensor([[0.5, 2.0], [1.0, -1.0]])
    assert log_odds(with_log_odds).tolist() == [1.5, -2.0]
    assert log_odds(with_log_odds[:, :1]).tolist() == [0.5, 1.0]


def test_bad_input_is_refused():
    net, pairs = matcher(), some_pairs(3)
    with pytest.raises(NisslError, match="passage"):
        pair_scores(net, pairs.drop(columns="passage"))
    with pytest.raises(NisslError, match="no pairs"):
        pair_conductance(net, pairs.iloc[:0], sites="open")
    with pytest.raises(NisslError, match="blank"):
        pair_conductance(net, pairs, sites="open", blank="passage")
    with pytest.raises(NisslError, match="leave room for its passage"):
        pair_scores(net, pairs, window=4, progress=False)
    with pytest.raises(NisslError, match="one number a pair"):
        pair_scores(net, pairs, score=lambda y: y, progress=False)
    with pytest.raises(NisslError, match="no relevance of pairs"):
        log_odds(torch.zeros(2, 3))
    with pytest.raises(NisslError, match="no relevant passage"):
        reciprocal_ranks(pairs.assign(relevant=False), np.zeros(len(pairs)))
    with pytest.raises(NisslError, match="not finite"):
        reciprocal_ranks(pairs, np.full(len(pairs), np.nan))
    with pytest.raises(NisslError, match="two values of 'kind'"):
        ablation_effect(
            net,
            {"a": ["open[0]"]},
            on=pairs.assign(kind=["a", "b"] * 6),
            labels="kind",
            units=pd.DataFrame(),
            measure="ranking",
        )
    values = np.random.default_rng(0).standard_normal((6, 2))
    for relevant in ([1, 1, 1, 0, 1, 0], [0, 0, 1, 0, 1, 0]):
        rec = as_recording(values, samples={"relevant": relevant, "query": [0, 0, 1, 1, 2, 2]})
        with pytest.raises(TooFewSamples, match="relevant passage and another"):
            relevance(rec)
    rec = as_recording(values, samples={"relevant": [0, 1] * 3, "query": [0] * 6})
    with pytest.raises(TooFewSamples, match="one query"):
        relevance(rec)
    rec = as_recording(values, samples={"relevant": [0, 2] * 3, "query": [0, 0, 1, 1, 2, 2]})
    with pytest.raises(NisslError, match="neither true nor false"):
        relevance(rec)
