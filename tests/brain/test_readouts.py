"""Readouts of maps: each wins where its kind of unit is planted, and none finds any in noise."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.brain import Attention, Factorised, Modulated, encode
from nissl.brain.readouts.readout import READOUTS, readout_of

N, PLACES, UNITS, NOISE = 300, 9, 3, 0.5
QUICK = {"steps": 75, "learning_rate": 0.06}
FACTORISED, ATTENTION, MODULATED = Factorised(**QUICK), Attention(**QUICK), Modulated(**QUICK)


def maps(seed=0):
    """Return maps, with a cue in channel 0 at a place that moves."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, PLACES, 6))
    at = rng.integers(PLACES, size=N)
    x[:, :, 0] *= 0.3
    x[np.arange(N), at, 0] += 3
    return x, at, rng


def weights(rng, n):
    w = rng.standard_normal((n, UNITS))
    return w / np.linalg.norm(w, axis=0)


def correlations(x, y, *readouts):
    return [
        encode(x, y, readout=one, folds=2, test=None, progress=False).table["correlation"]
        for one in readouts
    ]


def test_attention_reads_a_place_that_moves():
    x, at, rng = maps()
    y = x[np.arange(N), at][:, 1:] @ weights(rng, 5) + NOISE * rng.standard_normal((N, UNITS))
    attention, linear, factorised = correlations(x, y, ATTENTION, "linear", FACTORISED)
    assert (attention > 0.7).all()
    assert max(linear.max(), factorised.max()) < 0.45
    z = (x - x.mean((0, 1))) / x.std((0, 1))
    routing = ATTENTION.fit(z[:200], y[:200], groups=5).averaged(z[200:], "routing")
    np.testing.assert_allclose(routing.sum(-1), 1, atol=1e-5)
    assert (routing.argmax(-1) == at[200:, None]).mean() > 0.9


def test_factorised_is_as_good_where_receptive_fields_are_fixed():
    x, _, rng = maps()
    y = np.stack([x[:, u] @ w for u, w in enumerate(weights(rng, 6).T)], axis=1)
    y += NOISE * rng.standard_normal((N, UNITS))
    factorised, attention, linear = correlations(x, y, FACTORISED, ATTENTION, "linear")
    assert (factorised > 0.8).all()
    assert factorised.mean() > max(attention.mean(), linear.mean()) - 0.02


def test_modulated_reads_what_the_whole_stimulus_scales():
    x, _, rng = maps()
    whole = rng.standard_normal(N)
    x[:, :, 1] += 2 * whole[:, None]
    y = np.stack([x[:, u, 2:] @ w for u, w in enumerate(weights(rng, 4).T)], axis=1)
    y = y * (1 + whole[:, None]) + NOISE * rng.standard_normal((N, UNITS))
    modulated, factorised, linear = correlations(x, y, MODULATED, FACTORISED, "linear")
    assert modulated.min() > max(factorised.max(), linear.max()) + 0.1


def test_nothing_in_noise_and_the_same_twice():
    x, _, rng = maps()
    y = np.c_[rng.standard_normal((N, UNITS)), np.ones(N)]
    for found in correlations(x, y, "linear", FACTORISED, ATTENTION, MODULATED):
        assert found.abs().max() < 0.2
        assert found.iloc[-1] == 0
    readout = Attention(steps=20)
    one, two = (readout.fit(x, y, groups=3, seed=1).predict(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert readout_of("modulated") == Modulated()


def test_maps_are_scaled_by_channel_and_may_be_delayed():
    x, _, rng = maps()
    # A scale of its own for each place would make the silent places as loud as the one that speaks.
    x *= np.r_[1.0, np.full(PLACES - 1, 1e-3)][:, None]
    y = np.zeros((N, 2))
    y[1:] = x[:-1, 0] @ weights(rng, 6)[:, :2]
    found = encode(x, y, readout=FACTORISED, delays=(0, 1), folds=2, test=None, progress=False)
    assert (found.table["correlation"] > 0.9).all()
    with pytest.raises(NisslError, match="shapes"):
        encode(x[:, 0], y, readout="factorised", progress=False)


def test_a_readout_is_added_in_one_short_file(tmp_path, monkeypatch):
    text = '''"""Cued readout: ridge regression from where the first channel is highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nissl.brain.readouts.readout import Readout
from nissl.statistics import ridge


@dataclass(frozen=True)
class Cued(Readout):
    """Ridge regression from one place of each map."""

    places = True

    def fit(self, x, y, *, groups, seed=0):
        """Return the regression."""
        return Fit(ridge(at_cue(x), y, folds=groups, seed=seed, progress=False))


@dataclass(frozen=True)
class Fit:
    """A regression from one place of each map."""

    ridge: object

    def predict(self, x):
        """Return responses."""
        return self.ridge.predict(at_cue(x))


def at_cue(x):
    """Return the features at the cue."""
    return x[np.arange(len(x)), x[:, :, 0].argmax(1)]
'''
    (tmp_path / "cued.py").write_text(text)
    assert len(text.splitlines()) < 40
    package = __import__("nissl.brain.readouts", fromlist=["__path__"])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setitem(READOUTS, "cued", "Cued")
    x, at, rng = maps()
    y = x[np.arange(N), at][:, 1:] @ weights(rng, 5) + NOISE * rng.standard_normal((N, UNITS))
    cued, linear = correlations(x, y, "cued", "linear")
    assert (cued > 0.8).all()
    assert linear.max() < 0.45
