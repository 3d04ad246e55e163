"""EEG chaos: a future that follows the features is predicted by them; surrogates; no signal."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "replications" / "brain" / "eeg_chaos.py"
N, CHANNELS = 500, 2
SMALL = {"PAST": 20, "FUTURE": 10, "WIDTH": 16}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NISSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        script = runpy.run_path(str(SCRIPT))
        script["scores"].__globals__.update(SMALL)
        yield script


def scored(script, size, steps):
    """R2 where the past is noise, and the future noise that moves with a feature of its channel."""
    rng = np.random.default_rng(0)
    past = 0.3 * rng.standard_normal((N, SMALL["PAST"], CHANNELS))
    chaos = rng.standard_normal((N, CHANNELS, 2))
    future = 0.3 * rng.standard_normal((N, SMALL["FUTURE"], CHANNELS)) + size * chaos[:, None, :, 0]
    parts = np.arange(350), np.arange(350, N)
    return script["scores"](past, chaos.reshape(N, -1), future, *parts, steps=steps)


def test_a_future_that_follows_the_features_is_predicted_by_them(script):
    r2 = scored(script, 1.0, 40)
    assert r2["chaos"] > max(r2["moved"], r2["without"], r2["persistence"]) + 0.2
    assert r2["linear_with_chaos"] > r2["linear"] + 0.2


def test_features_that_say_nothing_bring_nothing(script):
    r2 = scored(script, 0.0, 20)
    assert max(r2["chaos"] - r2["moved"], r2["chaos"] - r2["without"]) < 0.1
    assert r2["linear_with_chaos"] < r2["linear"] + 0.02


def test_a_linear_series_is_not_beyond_its_surrogates_and_a_chaotic_one_is(script):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((6, 200))
    for t in range(1, 200):
        noise[:, t] += 0.8 * noise[:, t - 1]
    assert (script["beyond"](noise) <= 0.34).all()
    x = [rng.uniform(0.2, 0.8, 3)]
    for _ in range(199):
        x.append(4 * x[-1] * (1 - x[-1]))
    assert script["beyond"](np.transpose(x)).max() == 1
