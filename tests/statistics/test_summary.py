"""Moments, extremes and histograms, alone and in one reading, against plain numpy."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nissl.errors import NisslError
from nissl.statistics.extremes import Extremes
from nissl.statistics.histogram import Histogram
from nissl.statistics.moments import Moments
from nissl.statistics.summary import Summary

ACCUMULATORS = [Moments, Extremes, Histogram, Summary]


def activity(n=700, m=140, seed=0, dtype=np.float32):
    """Skewed, heavy-tailed units of very different scales and means, some with ties or constant."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, m)) ** 3 * 10.0 ** rng.uniform(-4, 3, m) + rng.normal(0, 5, m)
    x[:, 0] = 2.5
    x[:, 1] = np.maximum(x[:, 1], 0)
    x[:, 2] = rng.integers(0, 3, n)
    return x.astype(dtype)


def slow_extremes(column, places, k, sign):
    order = sorted((-sign * v, p) for v, p in zip(column, places, strict=True) if np.isfinite(v))
    return [p for _, p in order[:k]]


def blocks(values, cuts):
    edges = [0, *sorted(cuts), len(values)]
    return [(values[a:b], a) for a, b in pairwise(edges)]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 2e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("make", [Moments, Summary])
def test_moments_agree_with_scipy(make, dtype, rtol):
    x = activity(dtype=dtype)
    acc = make(x.shape[1])
    for block, start in blocks(x, [100, 333]):
        acc.update(block, start)
    found = acc.result()
    wide = x.astype(np.float64)
    scale = wide.std(0)
    np.testing.assert_allclose(found["mean"], wide.mean(0), atol=rtol * scale.max(), rtol=rtol)
    np.testing.assert_allclose(found["sd"][1:], scale[1:], rtol=rtol)
    np.testing.assert_allclose(found["skew"][1:], stats.skew(wide[:, 1:]), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(
        found["kurtosis"][1:], stats.kurtosis(wide[:, 1:]), rtol=10 * rtol, atol=10 * rtol
    )
    np.testing.assert_array_equal(found["max"], wide.max(0))
    np.testing.assert_array_equal(found["min"], wide.min(0))
    np.testing.assert_array_equal(found["density"], (x > 0).mean(0))
    assert found["sd"][0] == 0
    assert np.isnan(found["skew"][0])


def test_a_large_mean_costs_no_accuracy():
    rng = np.random.default_rng(1)
    x = 1e6 + rng.standard_normal((4000, 3))
    acc = Moments(3)
    for block, start in blocks(x, range(100, 4000, 100)):
        acc.update(block, start)
    np.testing.assert_allclose(acc.result()["sd"], x.std(0), rtol=1e-9)
    np.testing.assert_allclose(acc.result()["skew"], stats.skew(x), atol=1e-6)


def test_extremes_are_those_of_a_stable_sort():
    x = activity()
    acc = Summary(x.shape[1], k=7)
    for block, start in blocks(x, [1, 65, 400]):
        acc.update(block, start)
    found = acc.result()
    for unit in range(x.shape[1]):
        for end, sign in (("top", 1), ("bottom", -1)):
            places = slow_extremes(x[:, unit], range(len(x)), 7, sign)
            assert found[f"{end}_places"][unit].tolist() == places
            np.testing.assert_array_equal(found[end][unit], x[places, unit])


def test_histogram_counts_between_its_edges():
    x = activity()
    acc = Histogram(x.shape[1], lowest=-6, octaves=12)
    acc.update(x)
    # A bin holds its edge nearer to zero, so positive and negative values are counted apart.
    edges = acc.edges
    for unit in (0, 1, 2, 50):
        column = x[:, unit].astype(float)
        up = np.histogram(column[column >= 0], edges[len(edges) // 2 :])[0]
        down = np.histogram(-column[column < 0], -edges[: len(edges) // 2][::-1])[0][::-1]
        assert acc.counts[unit, 25:].tolist() == up.tolist()
        assert acc.counts[unit, :24].tolist() == down.tolist()
        assert acc.counts[unit].sum() == len(x)


def test_one_reading_equals_three():
    x = activity()
    x[5, 3], x[600, 3], x[7, 9] = np.nan, np.inf, -np.inf
    keep = np.random.default_rng(0).random(len(x)) < 0.7
    keep[[5, 7, 600]] = True
    options = {"active_above": 0.3, "active_below": -0.3}
    fused, moments = Summary(x.shape[1], k=4, **options), Moments(x.shape[1], **options)
    apart = [moments, Extremes(x.shape[1], 4), Histogram(x.shape[1])]
    for block, start in blocks(x, [64, 300, 301]):
        for acc in (fused, *apart):
            acc.update(block, start, keep=keep[start : start + len(block)])
    found = fused.result()
    for acc in apart:
        for name, expected in acc.result().items():
            exact = name not in ("mean", "variance", "sd", "skew", "kurtosis")
            rtol, atol = (0, 0) if exact else (1e-4, 1e-5)
            np.testing.assert_allclose(
                found[name], expected, rtol=rtol, atol=atol, err_msg=name, equal_nan=True
            )
    assert found["nonfinite"][[3, 9]].tolist() == [2, 1]
    assert found["first_nonfinite"][[3, 9, 4]].tolist() == [5, 7, -1]


@pytest.mark.parametrize("make", ACCUMULATORS)
def test_any_blocks_and_any_merges_give_the_same(make):
    x = activity(300, 20, dtype=np.float64)
    x[17, 4] = np.nan

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, 300), max_size=4), st.randoms(use_true_random=False))
    def check(cuts, random):
        whole = make(20)
        whole.update(x)
        parts = []
        for block, start in blocks(x, cuts):
            part = make(20)
            part.update(block, start)
            parts.append(make.from_state(part.state()))
        random.shuffle(parts)
        merged = parts[0]
        for part in parts[1:]:
            merged.merge(part)
        for name, expected in whole.result().items():
            np.testing.assert_allclose(
                merged.result()[name], expected, rtol=1e-9, atol=1e-9, err_msg=name
            )

    check()


def test_tiny_and_huge_float32_values_keep_their_shape():
    rng = np.random.default_rng(3)
    x = (rng.exponential(size=(500, 3)) * [1e-13, 1.0, 1e15]).astype(np.float32)
    acc = Summary(3)
    acc.update(x)
    scaled = x.astype(np.float64) / [1e-13, 1.0, 1e15]
    np.testing.assert_allclose(acc.result()["kurtosis"], stats.kurtosis(scaled), rtol=1e-3)


def test_a_unit_without_a_finite_value_has_none():
    acc = Summary(2, k=2)
    acc.update(np.array([[np.nan, 1.0], [np.inf, 2.0]], np.float32), 10)
    found = acc.result()
    assert found["count"].tolist() == [0, 2]
    assert np.isnan([found[n][0] for n in ("mean", "sd", "min", "max", "density")]).all()
    assert found["top_places"][0].tolist() == [-1, -1]
    assert found["first_nonfinite"].tolist() == [10, -1]
    assert found["counts"][0].sum() == 0


@pytest.mark.parametrize("make", ACCUMULATORS)
def test_a_block_of_other_units_is_refused(make):
    with pytest.raises(NisslError, match="3 units"):
        make(3).update(np.zeros((5, 2)))
    with pytest.raises(NisslError, match="cannot be merged"):
        make(3).merge(make(2))
