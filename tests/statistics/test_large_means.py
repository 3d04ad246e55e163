"""A large mean costs no accuracy, and takes no unit for one that does not vary."""

import numpy as np
import pytest

from nissl.statistics import Correlation, GroupMeans, Moments, best_partners

N = 500


@pytest.fixture(params=[0.0, 1e3, 1e6, -1e6, 1e9, -1e9])
def mean(request):
    return request.param


def activity(mean, dtype=np.float64):
    x = np.random.default_rng(0).standard_normal((N, 6)) * [1, 1, 1, 40, 1, 1]
    x[:, 1] = x[:, 0] + 0.5 * x[:, 1]
    x = np.concatenate([x + mean, np.full((N, 2), [mean, 1 / 3 + mean])], axis=1)
    return x.astype(dtype)


def halves(accumulator, x, **groups):
    for part in np.array_split(np.arange(N), 7):
        accumulator.update(x[part], **{k: v[part] for k, v in groups.items()})
    return accumulator.result()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_correlations(mean, dtype):
    if dtype == np.float32 and abs(mean) > 1e6:
        pytest.skip("float32 holds no activity of one about such a mean")
    x = activity(mean, dtype)
    exact = np.corrcoef(x[:, :6].astype(float).T)
    r = halves(Correlation(8), x)["r"]
    assert np.abs(r[:6, :6] - exact).max() < 1e-6
    assert np.isnan(r[6:]).all()
    partners, r = best_partners(x, k=1)
    assert np.abs(r[:6, 0] - exact[np.arange(6), partners[:6, 0]]).max() < 1e-6
    np.fill_diagonal(exact, 0)
    assert partners[:6, 0].tolist() == np.abs(exact).argmax(axis=1).tolist()
    assert partners[6:, 0].tolist() == [-1, -1]


def test_shares_of_variance_between_groups_and_moments(mean):
    x, groups = activity(mean), np.arange(N) % 3
    made = halves(GroupMeans(8, 3), x, groups=groups)
    centred = x[:, :6] - x[:, :6].mean(axis=0)
    means = np.stack([centred[groups == k].mean(axis=0) for k in range(3)])
    between = (np.bincount(groups)[:, None] * means**2).sum(axis=0)
    eta = between / (centred**2).sum(axis=0)
    assert made["eta_squared"][:6] == pytest.approx(eta, rel=1e-5, abs=1e-7)
    assert np.isnan(made["eta_squared"][6:]).all()
    moments = halves(Moments(8), x)
    assert moments["sd"][:6] == pytest.approx(x[:, :6].std(axis=0), rel=1e-6)
