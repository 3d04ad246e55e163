"""Dynamic connectome: planted communities that come and go; nothing in independent units."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from nissl.brain import dynamic_connectome
from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.statistics import NotExchangeable, Test

QUIET = {"progress": False}
WINDOWS, LENGTH = 12, 60


def planted(seed, strength=1.5, n_units=20):
    """Autocorrelated units; three groups share a drive in some windows; the last two units none."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    noise = lfilter([1], [1, -0.5], rng.standard_normal((WINDOWS * LENGTH, n_units + 3)), axis=0)
    x, drive = noise[:, :n_units], noise[:, n_units:]
    there = np.zeros((WINDOWS, 3), bool)
    there[:4, 0] = there[4:8, 1] = there[6:, 2] = True
    truth = np.full((WINDOWS, n_units), -1)
    for k, members in enumerate((np.arange(7), np.arange(7, 13), np.arange(13, 18))):
        x[:, members] += strength * drive[:, [k]] * np.repeat(there[:, k], LENGTH)[:, None]
        truth[np.ix_(there[:, k], members)] = k
    return x, truth, there


def test_planted_communities_and_their_courses_are_found():
    x, truth, there = planted(2)
    found = dynamic_connectome(x, LENGTH, n_communities=range(1, 6), test=Test(19), **QUIET)
    assert adjusted_rand_score(truth.ravel(), found.labels().ravel()) > 0.9
    r = np.corrcoef(there.T.astype(float), found.course.T)[:3, 3:]
    assert (r.max(axis=1) > 0.8).all()
    table = found.finding.table
    assert (table["p"][:3] == 0.05).all()
    assert (table["variation"][:3] > 0.5).all()
    assert found.held_out[3] < 0.6 * found.held_out[1]
    assert len(found.windows) == WINDOWS
    assert len(found.plot().axes) >= 2
    plt.close("all")


def test_nothing_is_found_in_independent_units():
    tests = [Test(19, seed=seed) for seed in range(5)]
    series = [planted(seed, 0, n_units=18)[0][:360, :10] for seed in range(5)]
    how = {"n_communities": [1], **QUIET}
    found = [
        dynamic_connectome(x, LENGTH, test=t, **how) for x, t in zip(series, tests, strict=True)
    ]
    assert sum(one.finding.table["p"][0] <= 0.05 for one in found) <= 1


def test_windows_lie_inside_runs_and_bad_input_is_named():
    x, _, _ = planted(0, n_units=18)
    rec = as_recording(x, samples={"time": np.arange(len(x)) / 10, "run": np.arange(len(x)) // 360})
    found = dynamic_connectome(rec, 6.0, n_communities=[1], test=Test(3), **QUIET)
    assert len(found.windows) == 12
    assert found.windows["run"].tolist() == [0] * 6 + [1] * 6
    with pytest.raises(NisslError, match="do not vary"):
        dynamic_connectome(np.c_[x, np.ones(len(x))], 60, **QUIET)
    with pytest.raises(NotExchangeable):
        dynamic_connectome(np.cumsum(x, axis=0), 60, **QUIET)
