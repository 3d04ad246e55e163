"""SNMF: the feature of a concept is found, and each direction is taken at one divergence."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import nissl
from nissl.features import Schedule
from nissl.training import small_language_model, small_tokenizer

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "snmf.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_feature_of_a_concept_is_found_whatever_its_size(script):
    rng = np.random.default_rng(0)
    code, there = rng.exponential(size=(500, 30)) * 10.0 ** rng.integers(-2, 3, 30), np.arange(500)
    there = there < 20
    code[there, 7] += 3 * code[:, 7].std()
    assert script["most_different"](code, there) == 7


def test_directions_are_compared_at_one_divergence(script):
    steep = np.array([0.01, 1.0, 30.0])  # divergence is quadratic, the effect is linear
    measure = lambda s: (steep * s**2, 2 * s)  # noqa: E731
    divergence, effect = script["at_divergence"](measure, 3, 1.0, target=0.25, steps=12)
    assert divergence == pytest.approx(0.25, rel=0.02)
    assert effect == pytest.approx(2 * np.sqrt(0.25 / steep), rel=0.01)


def test_a_concept_that_neurons_write_is_steered_at_the_block_that_is_asked_for(
    script, monkeypatch, tmp_path
):
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    concepts = {"up": "a b c d e f g h", "down": "i j k l m n o p"}
    plain = ["q r s t u v w x y z " * 12] * 4
    frames = ["q {} r", "s {} t", "u v {}"]
    tokenizer = small_tokenizer([" ".join(concepts.values()), *plain], vocabulary=300)
    sizes = {"vocabulary": 300, "d_model": 32, "n_heads": 2, "d_mlp": 64, "context": 256}
    model = small_language_model(n_layers=3, tie_word_embeddings=False, **sizes)
    model.lm_head.weight.data.mul_(20)
    net = nissl.load(model, tokenizer=tokenizer, progress=False)
    changed = {"CONCEPTS": concepts, "SENTENCES": frames, "PROMPTS": ["q r", "s t u"]}
    changed |= {"FEATURES": 8, "K": 2, "KEPT": 0.1, "Schedule": lambda **_: Schedule(20_000, 64)}
    for name, value in changed.items():
        monkeypatch.setitem(script["steered"].__globals__, name, value)
    gain, divergence, neurons, n = script["steered"](net, "blocks.1.mlp.neurons", plain, 0, 2)
    assert gain.shape == (6, 2)  # of each kind, of directions towards the words, and of random sets
    assert len(neurons) == 6
    assert all(name.startswith("blocks.1.mlp.neurons[") for name in neurons)
    assert n > 4 * 100
    assert divergence == pytest.approx(script["TARGET"], rel=0.3)
    assert gain[3].min() > gain[4:].max()  # what writes the words makes them likelier
