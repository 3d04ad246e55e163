"""Effective features: those that are planted are counted, by a dictionary too."""

import numpy as np
import pytest
import torch

from nissl import NisslError
from nissl.features import Schedule, effective_features, sae
from nissl.recording import as_recording


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
    with torch.no_grad():
        counted = effective_features(found.encode(torch.from_numpy(rec.values)).numpy())
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
