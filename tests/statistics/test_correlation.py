"""Streaming correlation against numpy's in float64."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics.correlation import Correlation


def activity(n=5000, m=30, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, m)) + 2 * rng.standard_normal((n, 1)) * rng.random(m)
    return (x * 10.0 ** rng.uniform(-3, 3, m) + 10 * rng.standard_normal(m)).astype(dtype)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 2e-6), (np.float64, 1e-10)])
def test_agrees_with_corrcoef(dtype, atol):
    x = activity(12_000, dtype=dtype)
    acc = Correlation(x.shape[1])
    for start in range(0, len(x), 3000):
        acc.update(x[start : start + 3000], start=start)
    found = acc.result()
    np.testing.assert_allclose(found["r"], np.corrcoef(x.T.astype(float)), atol=atol)
    np.testing.assert_allclose(found["mean"], x.astype(float).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["sd"], x.astype(float).std(0), rtol=1e-5)


def test_two_arrays_and_merges_agree_with_corrcoef():
    x, y = activity(m=20), activity(m=7, seed=1)
    y[:, 0] = x[:, 3]
    parts = []
    for a, b in ((0, 10), (10, 2500), (2500, 5000)):
        part = Correlation(20, 7)
        part.update(x[a:b], y[a:b], a)
        parts.append(Correlation.from_state(part.state()))
    acc = Correlation(20, 7)
    for part in (parts[2], parts[0], parts[1]):
        acc.merge(part)
    expected = np.corrcoef(x.T.astype(float), y.T.astype(float))[:20, 20:]
    np.testing.assert_allclose(acc.result()["r"], expected, atol=5e-6)


def test_merging_the_symmetric_case():
    x = activity(dtype=np.float64)
    acc, other = Correlation(30), Correlation(30)
    acc.update(x[:40])
    other.update(x[40:], start=40)
    acc.merge(other)
    np.testing.assert_allclose(acc.result()["r"], np.corrcoef(x.T), atol=1e-9)


def test_a_unit_that_is_not_finite_or_constant_has_no_correlation_and_spoils_no_other():
    x = activity()
    whole = np.corrcoef(x.T.astype(float))
    x[:, 4] = 7.25
    x[4321, 2], x[17, 2] = np.nan, np.inf
    acc = Correlation(x.shape[1])
    acc.update(x, start=100)
    found = acc.result()
    good = [u for u in range(30) if u not in (2, 4)]
    np.testing.assert_allclose(found["r"][np.ix_(good, good)], whole[np.ix_(good, good)], atol=5e-6)
    assert np.isnan(found["r"][[2, 4]]).all()
    assert (found["nonfinite"][2], found["first_nonfinite"][2]) == (2, 117)


def test_other_numbers_of_rows_are_refused():
    with pytest.raises(NisslError):
        Correlation(2, 2).update(np.zeros((3, 2)), np.zeros((4, 2)))
