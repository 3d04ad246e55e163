"""Preference for labels: its bound against a slow one, false positives, power, merging."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nissl.errors import NisslError
from nissl.statistics.labels import document_weights, frequent_labels
from nissl.statistics.preference import Preference

EXPONENTS = [1 / 8, 1 / 4, 1 / 2, 1, 2]


def world(seed, shape, n_documents=40, n_units=60, n_words=60):
    """Activity that has nothing to do with the words: documents differ in mean, scale and topic."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(40, 160, n_documents)
    document = np.repeat(np.arange(n_documents), lengths)
    noise = rng.standard_normal((len(document), n_units))
    x = noise.copy()
    smooth = rng.uniform(0, 0.95, n_units)
    for t in range(1, len(x)):
        x[t] = smooth * x[t - 1] + np.sqrt(1 - smooth**2) * noise[t]
    x = shape(x) * np.exp(rng.normal(0, 1, (n_documents, n_units)))[document]
    x += rng.normal(0, 3, (n_documents, n_units))[document]
    words = []
    for length in lengths:
        share = np.exp(rng.normal(0, 1.5, n_words)) / np.arange(1, n_words + 1)
        drawn = rng.choice(n_words, length, p=share / share.sum())
        words.append(np.repeat(drawn, rng.integers(1, 4, length))[:length])
    return x.astype(np.float32), document, np.concatenate(words)


def gathered(x, document, words, keep=None):
    kept, labels = frequent_labels(words, document, n_labels=100)
    weights = document_weights(labels, document, keep)
    acc = Preference(x.shape[1], len(kept), document.max() + 1)
    acc.update(x, labels=labels, weights=weights, windows=document, groups=document, keep=keep)
    return acc, kept


SHAPES = {
    "normal": lambda x: x,
    "left": lambda x: -np.exp(1.5 * x),
    "sparse": lambda x: np.where(x > 2.5, 10 * x, 0.05 * x),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_finds_nothing_where_there_is_nothing(shape):
    # 15 searches of some 3,000 pairs each: a family-wise level of 5% allows one.
    hits = 0
    for seed in range(5):
        acc, _ = gathered(*world(seed, SHAPES[shape]))
        found = acc.result(k=1)
        hits += int((found["q"] < 0.05).any())
        assert (found["p"] < 0.01).mean() < 0.5
    assert hits == 0


def test_finds_planted_words_of_both_signs():
    x, document, words = world(0, SHAPES["left"])
    counts = np.bincount(words)
    word = int(np.argsort(-counts)[10])
    x[words == word, 7] += 8 * x[:, 7].std()
    x[words == word, 9] -= 8 * x[:, 9].std()
    acc, kept = gathered(x, document, words)
    found = acc.result(k=2)
    for unit, sign in ((7, 1), (9, -1)):
        assert kept[found["label"][unit, 0]] == word
        assert found["q"][unit, 0] < 1e-3
        assert np.sign(found["effect"][unit, 0]) == sign


def test_the_first_position_left_out_leaves_no_trace():
    x, document, words = world(1, SHAPES["normal"])
    first = np.diff(document, prepend=-1) > 0
    x[first] += 1000
    words[first] = 0
    acc, _ = gathered(x, document, words)
    assert (acc.result(k=1)["q"] < 0.05).all()
    acc, _ = gathered(x, document, words, keep=~first)
    assert not (acc.result(k=1)["q"] < 0.05).any()


def test_agrees_with_a_slow_bound():
    x, document, words = world(2, SHAPES["sparse"], n_documents=12, n_units=4, n_words=15)
    x[words == 3, 2] += 30
    acc, kept = gathered(x, document, words)
    found = acc.result(k=3)
    z = np.empty(x.shape)
    for d in range(12):
        part = x[document == d].astype(float)
        z[document == d] = (part - part.mean(0)) / part.std(0)
    for unit in range(4):
        bounds = []
        for word in kept:
            having = [d for d in range(12) if ((words == word) & (document == d)).any()]
            contrasts = [z[(words == word) & (document == d), unit].mean() for d in having]
            sign = np.sign(sum(contrasts))
            log_p = min(
                sum(np.log(np.mean(np.exp(s * sign * z[document == d, unit]))) for d in having)
                - s * abs(sum(contrasts))
                for s in EXPONENTS
            )
            bounds.append((min(log_p + np.log(2), 0), np.mean(contrasts), len(having)))
        best = found["label"][unit, 0]
        np.testing.assert_allclose(found["effect"][unit, 0], bounds[best][1], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["log_p"][unit, 0], bounds[best][0], rtol=5e-3, atol=5e-3)
        assert found["documents"][unit, 0] == bounds[best][2]
        assert bounds[best][0] <= min(b[0] for b in bounds) + 5e-3


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=3))
def test_blocks_and_merges_of_whole_windows_change_nothing(cuts):
    x, document, words = world(3, SHAPES["normal"], n_documents=10, n_units=5, n_words=10)
    kept, labels = frequent_labels(words, document, n_labels=20)
    pairs = np.stack([labels, np.where(labels == 0, 1, -1)], axis=1)
    weights = np.stack([document_weights(column, document) for column in pairs.T], axis=1)
    rows = np.concatenate([[0], np.flatnonzero(np.diff(document)) + 1, [len(x)]])

    def part(a, b):
        acc = Preference(5, len(kept), 10)
        s = slice(rows[a], rows[b])
        acc.update(
            x[s], labels=pairs[s], weights=weights[s], windows=document[s], groups=document[s]
        )
        return Preference.from_state(acc.state())

    whole = part(0, 10).result(k=1)
    edges = [0, *sorted(cuts), 10]
    parts = [part(a, b) for a, b in pairwise(edges) if a < b]
    for other in parts[:-1]:
        parts[-1].merge(other)
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[-1].result(k=1)[name], expected, rtol=1e-4, atol=1e-5)


def test_values_that_are_not_finite_count_for_nothing():
    x, document, words = world(4, SHAPES["normal"], n_units=3)
    x[50, 1] = np.nan
    x[:, 2] = 3.0
    found = gathered(x, document, words)[0].result(k=1)
    assert np.isfinite(found["log_p"]).all()
    assert (found["q"][2], found["effect"][0].size) == (1.0, 1)


def test_a_window_across_documents_is_refused():
    acc = Preference(1, 1, 2)
    zeros = np.zeros(20, int)
    with pytest.raises(NisslError, match="more than one document"):
        acc.update(
            np.zeros((20, 1)),
            labels=zeros,
            weights=zeros,
            windows=zeros,
            groups=np.arange(20) // 10,
        )
