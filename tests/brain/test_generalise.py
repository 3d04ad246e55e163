"""Generalisation over time: a code that stays and one that changes are told apart."""

import numpy as np
import pytest

from nissl import NisslError, Test
from nissl.brain import generalise
from nissl.recording import as_recording

LABEL = np.tile(["a", "b", "b", "a"], 15)


def trials(stays, signal=2.5):
    """Sixty trials of eight times: from the third on a pattern, which stays or is new each time."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8, 12))
    for t in range(2, 8):
        pattern = np.eye(12)[0 if stays else t]
        x[:, t] += signal * np.where(LABEL == "b", 1, -1)[:, None] * pattern
    samples = {"trial": np.repeat(np.arange(60), 8), "time": np.tile(np.arange(8) / 10, 60)}
    samples["label"] = np.repeat(LABEL, 8)
    return as_recording(x.reshape(-1, 12), samples=samples)


def test_a_code_that_stays_is_read_at_other_times_and_one_that_changes_is_not():
    how = {"n_times": 8, "test": Test(n_permutations=39), "progress": False}
    stays, moves = (generalise(trials(stays), "label", **how) for stays in (True, False))
    for found in (stays, moves):
        assert found.matrix.shape == (8, 8)
        assert (np.diag(found.matrix)[2:] > 0.85).all()
        assert (np.diag(found.matrix)[:2] < 0.75).all()
    apart = ~np.eye(6, dtype=bool)
    assert stays.matrix.to_numpy()[2:, 2:][apart].min() > 0.85
    assert abs(moves.matrix.to_numpy()[2:, 2:][apart].mean() - 0.5) < 0.06
    q = moves.finding.table.pivot(index="fitted", columns="read", values="q").to_numpy()
    assert (np.diag(q)[2:] <= 0.05).all()
    assert (q[:2, :2] > 0.05).all()
    stays.plot()


def test_fewer_samples_than_times_are_refused():
    with pytest.raises(NisslError, match="n_times"):
        generalise(trials(True), "label", n_times=9, progress=False)
