"""Relevance neurons: a ranker built by hand gives its own away, and noise has none."""

import numpy as np
import pandas as pd
import pytest
import torch

from matcher import matcher, some_pairs
from nissl import NisslError
from nissl.behaviour import (
    ablation_effect,
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
        {"here": top.units[:8]},
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
