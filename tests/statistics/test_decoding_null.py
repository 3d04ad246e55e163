import numpy as np
import pytest
from scipy.signal import lfilter

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics import NotExchangeable, decoding_null


def designed(rng, n_runs=6, n_classes=4, length=9):
    """Return classes in blocks, their order drawn in each run, and runs."""
    labels = np.concatenate([np.repeat(rng.permutation(n_classes), length) for _ in range(n_runs)])
    return labels, np.repeat(np.arange(n_runs), n_classes * length)


def slow(rng, n, n_units, rho=0.9):
    return lfilter([1], [1, -rho], rng.standard_normal((n + 99, n_units)), axis=0)[99:]


def accuracy(x, y, runs):
    """Decode by the nearest mean of the other runs."""
    hits = 0
    for run in np.unique(runs):
        test = runs == run
        means = np.stack([x[~test & (y == c)].mean(axis=0) for c in np.unique(y)])
        far = ((x[test][:, None] - means) ** 2).sum(axis=2)
        hits += (np.unique(y)[far.argmin(axis=1)] == y[test]).sum()
    return hits / len(y)


def test_what_is_moved_follows_how_labels_hang_together():
    rng = np.random.default_rng(0)
    blocked, runs = designed(rng)
    trials = rng.permuted(np.tile(np.arange(4), (6, 9)), axis=1).ravel()
    angle = np.cumsum(rng.standard_normal(216) / 5) % (2 * np.pi)
    place = np.stack([np.cumsum(rng.standard_normal(216)), np.cos(angle)], axis=1)
    names = {
        "PermutedLabels(exchange='block', within='run', how='whole')": blocked,
        "PermutedLabels(within='run')": trials,
        "CircularShift(within='run', min_shift=1)": angle,
    }
    for name, labels in names.items():
        index, said = decoding_null(labels, runs, 5, seed=1)
        assert said == name
        assert (runs[index] == runs).all()
        for row in labels[index]:
            np.testing.assert_array_equal(np.sort(row[runs == 2]), np.sort(labels[runs == 2]))
    shift = "CircularShift(within='run', min_shift=1)"
    assert decoding_null(place, runs)[1] == shift
    assert decoding_null(rng.standard_normal(216), runs)[1] == "PermutedLabels(within='run')"
    assert decoding_null(np.char.add("c", blocked.astype(str)), runs, kind="shift")[1] == shift
    index, said = decoding_null(angle)
    assert said == "CircularShift(min_shift=1)"
    assert len(np.unique(index, axis=0)) == len(index) == 215
    # Blocks stay whole.
    index, _ = decoding_null(blocked, runs, 20)
    assert (blocked[index].reshape(20, -1, 9) == blocked[index].reshape(20, -1, 9)[..., :1]).all()
    # Of few labellings each is had once, and not the given one.
    few = blocked[:72]
    index, _ = decoding_null(few, runs[:72])
    assert len(np.unique(few[index], axis=0)) == len(index) == 24 * 24 - 1
    assert (few[index] != few).any(axis=1).all()


def test_level_in_slow_noise_where_single_samples_are_far_off():
    rng = np.random.default_rng(1)
    p = {"auto": [], "samples": []}
    for i in range(120):
        labels, runs = designed(rng)
        x = slow(rng, len(labels), 5)
        told = accuracy(x, labels, runs)
        for kind, found in p.items():
            index, _ = decoding_null(labels, runs, 19, kind=kind, seed=i)
            found.append((1 + sum(accuracy(x, labels[row], runs) >= told for row in index)) / 20)
    assert np.mean(np.array(p["auto"]) <= 0.05) < 0.11
    assert np.mean(np.array(p["samples"]) <= 0.05) > 0.15
    x[np.arange(len(labels)), labels] += 4
    index, _ = decoding_null(labels, runs, 99, values=x)
    told = accuracy(x, labels, runs)
    assert sum(accuracy(x, labels[row], runs) >= told for row in index) == 0
    with pytest.raises(NotExchangeable, match="lag-1"):
        decoding_null(labels, runs, kind="samples", values=x)


def test_numbers_in_time_hold_the_level_by_shifts():
    rng = np.random.default_rng(2)
    runs, called = np.repeat(np.arange(4), 250), 0
    for i in range(150):
        x, y = slow(rng, 1000, 1)[:, 0], slow(rng, 1000, 1)[:, 0]
        index, _ = decoding_null(y, runs, 39, values=x[:, None], seed=i)
        r = abs(np.corrcoef(np.vstack([x, y, y[index]]))[0, 1:])
        called += (r >= r[0]).mean() <= 0.05
    assert called / 150 < 0.11


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(TooFewSamples, match="1 ways"):
        decoding_null([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1])
    with pytest.raises(NisslError, match="runs are 3"):
        decoding_null([0, 1, 0, 1], [0, 0, 1])
    with pytest.raises(NisslError, match="NaN"):
        decoding_null([0.0, np.nan])
    with pytest.raises(NisslError, match="vary within blocks"):
        decoding_null(np.arange(12) % 3, blocks=np.repeat([0, 1], [5, 7]))
    labels, runs = designed(np.random.default_rng(0))
    with pytest.raises(NisslError, match="more than one stratum"):
        decoding_null(labels, runs, blocks=labels)
    walks = np.random.default_rng(0).standard_normal((120, 2)).cumsum(axis=0)
    with pytest.raises(NotExchangeable, match="short"):
        decoding_null(walks[:, 0], np.repeat(range(4), 30), values=walks[:, 1:])
