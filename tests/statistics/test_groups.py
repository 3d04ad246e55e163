"""Means by group and the share of variance they explain, against plain numpy."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics.groups import GroupMeans, position_groups


@np.errstate(invalid="ignore")
def slow(x, groups):
    x = x.astype(float)
    names, n = np.unique(groups), len(x)
    between = sum((groups == g).sum() * (x[groups == g].mean(0) - x.mean(0)) ** 2 for g in names)
    total = ((x - x.mean(0)) ** 2).sum(0)
    within = (total - between) / (n - len(names))
    omega = (between - (len(names) - 1) * within) / (total + within)
    return between / total, omega


@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 1e-5), (np.float64, 1e-9)])
def test_agrees_with_numpy_in_any_blocks(dtype, atol):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 9, 1000)
    x = (rng.standard_normal((1000, 300)) + groups[:, None] * rng.random(300) + 50).astype(dtype)
    parts = []
    for a, b in ((0, 7), (7, 600), (600, 1000)):
        acc = GroupMeans(300, 12)
        acc.update(x[a:b], groups=groups[a:b])
        parts.append(GroupMeans.from_state(acc.state()))
    for other in parts[1:]:
        parts[0].merge(other)
    found = parts[0].result()
    eta, omega = slow(x, groups)
    np.testing.assert_allclose(found["eta_squared"], eta, atol=atol)
    np.testing.assert_allclose(found["omega_squared"], omega, atol=atol)
    np.testing.assert_allclose(found["mean"][4], x[groups == 4].astype(float).mean(0), rtol=1e-5)
    assert np.isnan(found["mean"][11]).all()


def test_omega_is_zero_on_average_where_there_is_nothing():
    rng = np.random.default_rng(1)
    acc = GroupMeans(2000, 50)
    acc.update(rng.standard_normal((400, 2000)), groups=np.arange(400) % 50)
    found = acc.result()
    assert abs(found["omega_squared"].mean()) < 4 * found["omega_squared"].std() / np.sqrt(2000)
    assert found["eta_squared"].mean() > 0.1


def test_rows_and_units_left_out():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 4)).astype(np.float32)
    groups = np.arange(200) % 3
    x[60, 2] = np.nan
    x[:, 3] = 1.5
    keep = np.arange(200) >= 50
    acc = GroupMeans(4, 3)
    acc.update(x, groups=np.where(np.arange(200) < 100, -1, groups), keep=keep)
    np.testing.assert_allclose(
        acc.result()["omega_squared"][:3], slow(x[100:], groups[100:])[1][:3], atol=1e-5
    )
    acc.update(x[:100], groups=groups[:100], keep=keep[:100])
    assert np.isnan(acc.result()["omega_squared"][2:]).all()


def test_groups_beyond_are_refused():
    with pytest.raises(NisslError, match="group 5"):
        GroupMeans(1, 5).update(np.zeros((2, 1)), groups=[0, 5])


def test_positions_are_grouped_in_order():
    groups = position_groups(1024)
    assert groups[:16].tolist() == list(range(16))
    assert (np.diff(groups) >= 0).all()
    assert set(groups) == set(range(groups.max() + 1))
