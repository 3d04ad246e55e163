"""Effective features: those that are planted are counted, by a dictionary too."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from nissl import NisslError
from nissl.features import Schedule, effective_features, sae
from nissl.recording import as_recording
from nissl.specimens.planted import planted_features
from nissl.statistics import bootstrap_interval


@pytest.mark.parametrize("n", [4, 8, 16])
def test_as_many_are_counted_as_are_planted(n):
    rng = np.random.default_rng(n)
    codes = (rng.random((6000, n)) < 0.1) * rng.uniform(0.5, 1.5, (6000, n))
    assert effective_features(codes) == pytest.approx(n, rel=0.02)
    rows = rng.standard_normal((n, 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rec = as_recording((codes @ rows).astype(np.float32))
    how = Schedule(samples=300 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    found = sae(rec, n_features=32, k=max(1, n // 6), schedule=how, progress=False)
    counted = effective_features(rec, found)
    whole = found.encode(torch.from_numpy(rec.values)).numpy(force=True)
    assert counted == pytest.approx(effective_features(whole), rel=1e-6)
    assert 0.6 * n < counted < 1.7 * n


def test_shares_count_and_dead_features_do_not():
    x = np.zeros((10, 6))
    x[:, 0], x[:, 1] = 3, -1
    share = np.array([0.75, 0.25])
    assert effective_features(x) == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert effective_features(as_recording(x)) == effective_features(7 * x)
    for wrong in (0 * x, np.where(x > 2, np.nan, x)):
        with pytest.raises(NisslError, match="finite"):
            effective_features(wrong)


@pytest.mark.parametrize("active", [1.0, 4.0, 16.0])
def test_equal_features_are_counted_at_any_sparsity_and_fewer_when_some_are_lost(active):
    how = {"n_samples": 20_000, "n_units": 8, "n_features": 96, "active": active}
    features = planted_features("superposition", **how).features
    assert effective_features(features) == pytest.approx(96, rel=0.01)
    assert effective_features(features[:, :40]) == pytest.approx(40, rel=0.01)
    assert effective_features(planted_features("zipf", **how).features) < 90


def test_it_is_the_exponential_of_scipy_entropy_over_chunks_with_an_interval():
    x = np.random.default_rng(0).gamma(0.3, size=(9000, 12)) * np.arange(12)
    assert effective_features(as_recording(x)) == pytest.approx(np.exp(entropy(x.sum(0))))
    how = {"n_resamples": 100, "kind": "percentile"}
    few = bootstrap_interval(x[:200], statistic=effective_features, **how)
    assert few.low < few.estimate < few.high


def test_noise_counts_as_its_shuffled_units_and_planted_features_for_less():
    rng = np.random.default_rng(0)
    codes = (rng.random((6000, 8)) < 0.1) * rng.uniform(0.5, 1.5, (6000, 8))
    rows = rng.standard_normal((8, 12))
    how = Schedule(samples=300 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    ratio = {}
    for name, x in {"planted": codes @ rows, "noise": rng.standard_normal((6000, 12))}.items():
        counted = []
        for values in (x, rng.permuted(x, axis=0)):  # each unit by itself
            rec = as_recording(values.astype(np.float32))
            found = sae(rec, n_features=32, k=2, schedule=how, progress=False)
            counted.append(effective_features(rec, found))
        ratio[name] = counted[0] / counted[1]
    assert ratio["planted"] < 0.7
    assert ratio["noise"] == pytest.approx(1, abs=0.1)
