import numpy as np
import pytest
from scipy import stats

from nissl.statistics import scores


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranks_are_those_of_scipy(decimals, dtype):
    values = np.random.default_rng(0).standard_normal((5000, 9)).round(decimals).astype(dtype)
    assert np.array_equal(scores.ranks(values), stats.rankdata(values, axis=0))
    assert np.array_equal(scores.ranks(np.ones((4, 2))), np.full((4, 2), 2.5))


def test_ranks_of_the_largest_and_smallest_numbers():
    some = [0.0, -0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, np.inf, 0.1, np.float32(0.1)]
    values = np.random.default_rng(0).choice(some, (300, 20))
    assert np.array_equal(scores.ranks(values), stats.rankdata(values, axis=0))


def test_all_draws_are_scored_as_each_would_be_alone():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 6)) + 100
    drawn = np.array([rng.permutation(50) % 3 for _ in range(8)])
    for name in ("mean_difference", "cohens_d", "auroc"):
        found = scores.linear_scores(scores.LINEAR[name], values, drawn, 2)
        alone = [scores.linear_scores(scores.LINEAR[name], values, d[None], 2)[0] for d in drawn]
        assert np.allclose(found, alone, atol=1e-5)
        slow = [values[d == 2].mean(axis=0) - values[d != 2].mean(axis=0) for d in drawn]
        if name == "mean_difference":
            assert np.allclose(found, slow, atol=1e-5)


def test_draws_in_parts_are_those_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    values, drawn = rng.standard_normal((50, 6)), rng.integers(0, 2, (20, 50))
    whole = scores.linear_scores(scores.LINEAR["cohens_d"], values, drawn, 1)
    monkeypatch.setattr(scores, "DRAW_BYTES", 4 * 50 * 3)
    assert np.allclose(whole, scores.linear_scores(scores.LINEAR["cohens_d"], values, drawn, 1))


def test_numbers_far_from_zero_are_correlated_exactly():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 3)) * 1e-3 + 1e3
    labels = np.stack([rng.standard_normal(300) + 1e5 for _ in range(4)])
    found = scores.linear_scores(scores.LINEAR["correlation"], values, labels, None)
    slow = [[np.corrcoef(y, v)[0, 1] for v in values.T] for y in labels]
    assert np.allclose(found, slow, atol=1e-6)


def test_average_precision_over_many_words_of_bits():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    for n in (63, 64, 65, 200):
        values = np.round(rng.standard_normal((n, 3)), 1)
        drawn = (rng.random((5, n)) < 0.3).astype(int)
        drawn[:, :2] = [0, 1]
        found = scores.ranked_scores(values, drawn, 1)
        slow = [[average_precision_score(d, v) for v in values.T] for d in drawn]
        assert np.allclose(found, slow)
    assert scores.ranked_scores(values, np.zeros((1, n)), 1).tolist() == [[0, 0, 0]]
