"""Stochastic shape: closed forms, a slow optimiser, a metric, and noise that means do not show."""

import numpy as np
import pytest
from scipy.linalg import expm, sqrtm
from scipy.optimize import minimize

from nissl import NisslError, Test
from nissl.alignment import Limits, StochasticShape, compare, identify
from nissl.alignment.measures.stochastic_shape import _climb
from nissl.recording import as_recording

RNG = np.random.default_rng(0)
PLAIN = {"scaled": False}


def responses(n=6, repeats=9, width=3, noise=1.0, seed=0):
    """Repeats about means, with a covariance of each stimulus."""
    rng = np.random.default_rng(seed)
    shape = noise * rng.standard_normal((n, width, width))
    means = rng.standard_normal((n, 1, width))
    return means + rng.standard_normal((n, repeats, width)) @ shape


def bures(s, t):
    root = sqrtm(s)
    return np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(root @ t @ root)).real


def turned(x, seed=1):
    made = np.random.default_rng(seed).standard_normal((x.shape[-1], x.shape[-1]))
    return x @ np.linalg.qr(made)[0]


def slow_distance(a, b, alpha, rotation):
    """Return the squared distance after a rotation, stimulus by stimulus, by matrix roots."""
    found = []
    shift = b.mean((0, 1)) @ rotation - a.mean((0, 1))
    for x, y in zip(a, b @ rotation - shift, strict=True):
        mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
        found.append(alpha * mean + (2 - alpha) * bures(np.cov(x.T), np.cov(y.T)))
    return np.mean(found)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 2.0])
def test_against_a_slow_optimiser(alpha):
    a, b = responses(n=4), responses(n=4, seed=5)

    def loss(angles, flip):
        skew = np.zeros((3, 3))
        skew[np.triu_indices(3, 1)] = angles
        return slow_distance(a, b, alpha, np.diag([1, 1, flip]) @ expm(skew - skew.T))

    starts = [(flip, 2 * RNG.standard_normal(3)) for flip in (1, -1) for _ in range(3)]
    slow = min(minimize(loss, x, args=(flip,), tol=1e-6).fun for flip, x in starts)
    found = StochasticShape(alpha, **PLAIN)(a, b)
    assert found == pytest.approx(np.sqrt(slow), abs=1e-4)


def test_one_stimulus_is_the_distance_of_sorted_spectra_and_given_bases_that_of_bures():
    a, b = responses(n=1, repeats=30), responses(n=1, repeats=12, width=5, seed=2)
    spectra = [np.linalg.eigvalsh(np.cov(x[0].T))[::-1] for x in (a, b)]
    spectra = [np.sqrt(np.pad(one, (0, 5))[:5]) for one in spectra]
    found = StochasticShape(**PLAIN)(a, b)
    assert found == pytest.approx(np.linalg.norm(spectra[0] - spectra[1]), abs=1e-9)
    # Large means that agree leave no rotation to choose, so that Bures' distance is left.
    means = 1e4 * np.concatenate([np.eye(3), -np.eye(3)])[:, None]
    a, b = (responses(seed=s) for s in (3, 4))
    a, b = (means + x - x.mean(1, keepdims=True) for x in (a, b))
    closed = np.mean([bures(np.cov(x.T), np.cov(y.T)) for x, y in zip(a, b, strict=True)])
    assert StochasticShape(**PLAIN)(a, b) == pytest.approx(np.sqrt(closed), rel=1e-3)


def test_it_is_a_metric_and_the_search_only_climbs():
    by, plain = StochasticShape(), StochasticShape(**PLAIN)
    for seed in range(0, 30, 3):
        sizes = np.random.default_rng(seed).integers(2, 6, size=3)
        a, b, c = (responses(width=w, seed=seed + i) for i, w in enumerate(sizes))
        assert by(a, c) <= by(a, b) + by(b, c) + 1e-9
        # On a ray the triangle is flat; beside it nearly.
        ray = [a * size + 0.05 * RNG.standard_normal(a.shape) for size in (1, 2, 3)]
        near, far, both = (plain(ray[i], ray[j]) for i, j in ((0, 1), (1, 2), (0, 2)))
        assert 0.99 * (near + far) < both <= near + far + 1e-9
        assert by(a, turned(a) + 3) == pytest.approx(0, abs=1e-6)
        one, two = (by.normalise(by.prepare(turned(x, 2))) for x in (a, responses(width=sizes[0])))
        steps, _ = _climb(one, two, turned(np.eye(one.shape[2]), seed), 100)
        assert (np.diff(steps) >= -1e-12).all()


def test_noise_tells_apart_what_means_do_not():
    """Networks of equal means, whose noise lies along other directions for each stimulus."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((15, 1, 6))
    shapes = [np.exp(rng.standard_normal((15, 1, 6))) for _ in range(3)]
    one, two = ({}, {})
    for i, shape in enumerate(shapes):
        for side in (one, two):
            x = shape * rng.standard_normal((15, 20, 6))
            side[str(i)] = turned(means + x - x.mean(1, keepdims=True), i)
    measures = [StochasticShape(), "procrustes", "rsa"]
    found = identify(one, two, measures=measures, limits=Limits(n_draws=2), progress=False)
    accuracy = found.accuracy.set_index("measure")["accuracy"]
    assert accuracy["stochastic_shape"] == 1
    assert accuracy["procrustes"] < 0.7
    by_means, by_noise = (
        [StochasticShape(alpha)(one["0"], two[i]) for i in "01"] for alpha in (2.0, 0.0)
    )
    assert by_means == pytest.approx([0, 0], abs=1e-6)
    assert by_noise[1] > 1.3 * by_noise[0]
    same = {name: means + rng.standard_normal((15, 20, 6)) for name in "012"}
    limits = Limits(n_draws=10)
    found = identify(same, measures=["stochastic_shape"], limits=limits, progress=False)
    assert found.accuracy["accuracy"][0] < 0.65


def test_repeats_of_recordings_are_gathered_and_may_differ_in_number():
    a, b = responses(n=12), responses(n=12, seed=3)
    b += 3 * turned(a)
    stimuli = np.repeat([f"s{i}" for i in range(12)], 9)
    order = np.argsort(RNG.random(108))
    rec = as_recording(a.reshape(108, 3)[order], samples={"stimulus": stimuli[order]})
    first = list(dict.fromkeys(stimuli[order]))
    rows = [int(name[1:]) for name in first]
    quick = Test(n_permutations=39)
    found = compare(rec, b[rows], measure="stochastic_shape", test=quick, progress=False)
    assert found.value == pytest.approx(StochasticShape()(a, b), abs=1e-6)
    assert found.table["p"][0] == 1 / 40
    fewer = a.copy()
    fewer[3, 6:] = np.nan
    left = StochasticShape(n_starts=1).prepare(fewer)[3, 1:]
    spread = np.linalg.eigvalsh(left.T @ left)
    assert spread == pytest.approx(np.linalg.eigvalsh(np.cov(fewer[3, :6].T)), abs=1e-9)
    with pytest.raises(NisslError, match="two repeats"):
        compare(a[:, 0], b[:, 0], measure="stochastic_shape", test=None)
    with pytest.raises(NisslError, match="no ceiling"):
        compare(rec, rec, measure="stochastic_shape", repeats="trial", test=None)
    with pytest.raises(NisslError, match="alpha"):
        StochasticShape(3.0)(a, b)
