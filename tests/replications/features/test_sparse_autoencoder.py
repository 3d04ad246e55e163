"""Interpretable features: units of one topic have texts that are alike, units of none have not."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import nissl
from nissl.recording import as_recording
from nissl.training import small_language_model, small_tokenizer

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "sparse_autoencoder.py"
TOPICS, TOKENS, EACH, WIDTH = 12, 3000, 10, 32


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def planted():
    """Topics of tokens, their documents, units that answer to one topic each, and embeddings."""
    rng = np.random.default_rng(0)
    topic, document = rng.integers(0, TOPICS, TOKENS), np.arange(TOKENS) // EACH
    values = (topic[:, None] == np.arange(TOPICS)) * rng.exponential(size=(TOKENS, TOPICS))
    embedded = rng.standard_normal((TOPICS, WIDTH))[topic]
    return topic, document, values, embedded + 0.3 * rng.standard_normal((TOKENS, WIDTH))


def test_units_of_one_topic_are_alike_and_units_of_none_are_not(script, planted):
    topic, document, values, embedded = planted
    rng = np.random.default_rng(1)
    found = script["peaks"](values, document, rng)
    assert sorted(topic[found[:, 0]]) == list(range(TOPICS))
    assert (topic[found] == topic[found[:, :1]]).all()
    likeness = script["likeness"](embedded[found.ravel()])
    assert likeness.min() > 0.8
    mixed = script["peaks"](rng.permuted(values, axis=0), document, rng)
    chance = script["likeness"](embedded[rng.integers(0, TOKENS, (60, script["TOP"])).ravel()])
    assert abs(script["likeness"](embedded[mixed.ravel()]).mean() - chance.mean()) < 0.1


def test_peaks_and_likeness_are_the_slow_form(script, planted):
    _, document, values, embedded = planted
    found = script["peaks"](values[:, :1], document, np.random.default_rng(0))[0]
    best = {}
    for row in sorted(range(TOKENS), key=lambda row: -values[row, 0]):
        best.setdefault(document[row], row)
    assert found.tolist() == list(best.values())[: script["TOP"]]
    pairs = [(a, b) for a in found for b in found if a != b]
    cosines = [
        embedded[a] @ embedded[b] / np.linalg.norm(embedded[a]) / np.linalg.norm(embedded[b])
        for a, b in pairs
    ]
    assert script["likeness"](embedded[found]) == pytest.approx(np.mean(cosines))


def test_units_that_are_active_in_too_few_texts_are_left_out(script, planted):
    _, document, values, _ = planted
    values = np.stack([values[:, 0], values[:, 1] * (document == 3)], axis=1)
    assert len(script["peaks"](values, document, np.random.default_rng(0))) == 1


def test_texts_of_features_are_alike_and_any_texts_are_not(script, planted, monkeypatch, tmp_path):
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    topic, document, values, _ = planted
    words = [chr(ord("a") + i) for i in range(TOPICS)]
    tokenizer = small_tokenizer(words, vocabulary=257)
    ids = np.array([tokenizer(words[i])["input_ids"][0] for i in topic])
    sizes = {"vocabulary": 257, "d_model": 16, "n_layers": 6, "n_heads": 2, "d_mlp": 16}
    reader = nissl.load(small_language_model(**sizes), tokenizer=tokenizer, progress=False)
    samples = {"document": document, "token": ids, "position": np.full(TOKENS, 9)}
    acts = as_recording(values.astype(np.float32), samples=samples)
    script["likeness_at"].__globals__.update(PARTS=4, WORDS=0)
    script["HOW"].update(n_features=TOPICS, k=1)
    found = script["likeness_at"](reader, reader, acts, acts, 100_000)
    assert sorted(found) == ["ICA", "PCA", "chance", "features", "random", "units"]
    assert found["features"].mean() > found["chance"].mean() + 0.3
    assert found["features"].mean() > 0.9
