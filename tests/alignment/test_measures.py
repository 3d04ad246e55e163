"""Measures: against slow forms, what changes nothing, and no likeness where there is none."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import rankdata, spearmanr

from nissl import NisslError
from nissl.alignment import CCA, CKA, RSA, Measure, Procrustes, SoftMatching, TopologicalRSA
from nissl.alignment.measures import measure as registry
from nissl.alignment.measures.measure import MEASURES, measure_of

N = 40


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def rotated(x, seed=1):
    return x @ np.linalg.qr(noise(x.shape[-1], x.shape[-1], seed=seed))[0]


@pytest.mark.parametrize("width", [7, 90])
def test_against_slow_forms(width):
    a, b = noise(N, width), noise(N, 23, seed=2)
    b[:, 0] += 2 * a[:, 0]
    slow = spearmanr(pdist(a, "correlation"), pdist(b, "correlation"))[0]
    assert RSA()(a, b) == pytest.approx(slow, abs=1e-12)
    slow = np.corrcoef(pdist(a) ** 2, pdist(b) ** 2)[0, 1]
    assert RSA("euclidean", by="pearson")(a, b) == pytest.approx(slow, abs=1e-12)
    x, y = a - a.mean(0), b - b.mean(0)
    slow = np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    assert CKA(biased=True)(a, b) == pytest.approx(slow, abs=1e-12)
    assert CKA()(a, b) == pytest.approx(slow_unbiased(a, b), abs=1e-12)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    cosine = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    assert Procrustes()(a, b) == pytest.approx(np.arccos(cosine), abs=1e-7)
    assert Procrustes(angular=False)(a, b) == pytest.approx(np.sqrt(2 - 2 * cosine), abs=1e-7)


def slow_unbiased(a, b):
    """Return the ratio of the estimators of Song et al. 2012, term by term."""

    def hsic(k, m):
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        n, one = len(k), np.ones(len(k))
        last = 2 / (n - 2) * one @ k @ m @ one
        middle = (one @ k @ one) * (one @ m @ one) / (n - 1) / (n - 2)
        return (np.trace(k @ m) + middle - last) / n / (n - 3)

    k, m = a @ a.T, b @ b.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def slow_transform(distances, lower, upper):
    """Return the geo-topological transform, pair by pair."""
    low, high = np.quantile(distances, [lower, upper])
    return [0 if d <= low else 1 if d >= high else (d - low) / (high - low) for d in distances]


@pytest.mark.parametrize(("lower", "upper"), [(0.1, 0.7), (0.0, 1.0), (0.3, 0.3)])
def test_topological_rsa_against_a_slow_form(lower, upper):
    a, b = noise(N, 12), noise(N, 9, seed=3)
    b[:, :5] += a[:, :5]
    pairs = [pdist(x, "sqeuclidean") for x in (a, b)]
    for by, given in (("pearson", pairs), ("spearman", [rankdata(x) for x in pairs])):
        slow = np.corrcoef(*(slow_transform(x, lower, upper) for x in given))[0, 1]
        found = TopologicalRSA("euclidean", by=by, lower=lower, upper=upper)(a, b)
        assert found == pytest.approx(slow, abs=1e-12)
    if (lower, upper) == (0.0, 1.0):
        assert found == pytest.approx(RSA("euclidean")(a, b), abs=1e-12)
    with pytest.raises(NisslError, match="thresholds"):
        TopologicalRSA(lower=0.6, upper=0.5)(a, b)


def test_topological_rsa_ignores_how_far_what_is_far_is():
    """Clusters have the same neighbours wherever they lie; their distances tell them apart."""
    rng = np.random.default_rng(0)
    clusters, within = np.repeat(np.arange(8), 6), rng.standard_normal((48, 4))
    one, two, other = (
        30 * rng.standard_normal((8, 2)) @ rng.standard_normal((2, 30)) for _ in range(3)
    )
    a = one[clusters] + within @ rng.standard_normal((4, 30))
    b = two[clusters] + within @ rng.standard_normal((4, 30))
    c = other[rng.permutation(clusters)] + within @ rng.standard_normal((4, 30))
    near = TopologicalRSA("euclidean", by="pearson", lower=0.05, upper=0.12)
    assert near(a, b) > 0.8 > RSA("euclidean", by="pearson")(a, b) + 0.3
    assert abs(near(a, c)) < 0.1


def test_soft_matching_of_other_numbers_of_units_is_that_of_copies():
    a, b = noise(30, 4), noise(30, 6, seed=1)
    copied = SoftMatching()(np.repeat(a, 3, axis=1), np.repeat(b, 2, axis=1))
    assert SoftMatching()(a, b) == pytest.approx(copied, abs=1e-9)
    assert SoftMatching()(a, a[:, [2, 0, 3, 1]] * [1, 2, 3, 4] + 5) == pytest.approx(1)
    assert SoftMatching()(a, rotated(a)) < 0.95


@pytest.mark.parametrize("name", MEASURES)
def test_what_is_declared_changes_nothing(name):
    by, a, b = measure_of(name), noise(N, 12), noise(N, 12, seed=3)
    b[:, :6] += a[:, :6]
    if by.repeats:
        a, b = (x[:, None] + noise(N, 4, 12, seed=s) for x, s in ((a, 6), (b, 7)))
    value, changed = by(a, b), {"scale": 3 * a, "translation": a + noise(12, seed=5)}
    changed |= {"rotation": rotated(a), "permutation": a[..., ::-1]}
    changed |= {"scale of units": a * np.arange(1, 13)}
    for what in by.invariant:
        assert by(changed[what], b) == pytest.approx(value, abs=1e-7), what
    if by.symmetric:
        assert by(b, a) == pytest.approx(value, abs=1e-7)
    alike = by(a, a)
    assert alike == pytest.approx(1.0 if by.similarity else 0.0, abs=1e-6)


@pytest.mark.parametrize("width", [500, 5000])
def test_wide_noise_is_alike_only_with_the_bias(width):
    found = [
        [
            CKA(biased=biased)(noise(50, width, seed=s), noise(50, width, seed=s + 50))
            for s in range(8)
        ]
        for biased in (True, False)
    ]
    assert np.mean(found[0]) > 0.9
    assert abs(np.mean(found[1])) < 0.02


def test_canonical_correlation_is_of_other_stimuli():
    a, b = noise(60, 30), noise(60, 30, seed=1)
    assert CCA(n_folds=1)(a, b) > 0.3
    assert abs(CCA()(a, b)) < 0.15
    b[:, :3] = 5 * a[:, :3]
    a[:, :3] *= 5
    assert CCA(n_components=3)(a, b) > 0.9


def test_procrustes_holds_the_triangle_inequality():
    rng, by = np.random.default_rng(0), Procrustes()
    for _ in range(20):
        a, b, c = (rng.standard_normal((12, rng.integers(2, 30))) for _ in range(3))
        assert by(a, c) <= by(a, b) + by(b, c) + 1e-9


def test_a_measure_is_added_in_one_short_file(tmp_path, monkeypatch):
    text = '''
from dataclasses import dataclass

import numpy as np

from nissl.alignment.measures.measure import Measure


@dataclass(frozen=True)
class Energy(Measure):
    """The cosine of the sizes of patterns."""

    name = "energy"

    def score(self, a, b):
        """Return the cosine."""
        a, b = (np.linalg.norm(x, axis=1) for x in (a, b))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
'''
    (tmp_path / "energy.py").write_text(text)
    assert len(text.splitlines()) < 30
    package = __import__("nissl.alignment.measures", fromlist=["__path__"])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setitem(registry.MEASURES, "energy", "Energy")
    made = measure_of("energy")
    assert isinstance(made, Measure)
    assert made(noise(N, 5), noise(N, 5)) == pytest.approx(1)


@pytest.mark.parametrize("name", MEASURES)
def test_what_cannot_be_is_said(name):
    by = measure_of(name)
    good = noise(N, 3, 5) if by.repeats else noise(N, 5)
    bad = good.copy()
    bad[3, ..., 0] = np.nan
    with pytest.raises(NisslError):
        by(good, bad)
    with pytest.raises(NisslError):
        by(good, np.ones_like(good))
    for kind in (np.float32, np.int16):
        other = np.asfortranarray((10 * good).astype(kind))[..., ::-1]
        other.flags.writeable = False
        assert np.isfinite(by(good, other))
