import numpy as np
import pytest
from scipy.signal import lfilter

from nissl.errors import TooFewSamples
from nissl.statistics import NotExchangeable, autocorrelation
from nissl.statistics.exchangeability import require_exchangeable, require_samples


@pytest.mark.parametrize("memory", [-0.5, 0.0, 0.4, 0.9])
def test_lag_one_autocorrelation_is_measured(memory):
    noise = np.random.default_rng(0).standard_normal((3000, 40))
    series = lfilter([1.0], [1.0, -memory], noise, axis=0)
    assert autocorrelation(series) == pytest.approx(memory, abs=0.02)
    assert autocorrelation(series[:100]) == pytest.approx(memory, abs=0.1)


def test_an_effect_of_sorted_labels_is_not_autocorrelation():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    values = rng.standard_normal((400, 20)) + 3 * labels[:, None]
    assert autocorrelation(values) > 0.5
    assert abs(autocorrelation(values, labels)) < 0.05
    ramp = np.linspace(0, 5, 400)
    assert abs(autocorrelation(rng.standard_normal((400, 20)) + ramp[:, None], ramp)) < 0.05


def test_only_neighbours_in_a_block_count():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.standard_normal((200, 10)), 2, axis=0)
    pair = np.arange(400) // 2
    assert autocorrelation(values, exchange=pair) == pytest.approx(1, abs=0.1)
    assert abs(autocorrelation(values, exchange=(np.arange(400) + 1) // 2)) < 0.1


def test_what_cannot_be_measured_is_no_autocorrelation():
    assert autocorrelation(np.ones((10, 3))) == 0
    assert autocorrelation(np.full((10, 3), np.nan)) == 0


@pytest.mark.parametrize("name", ["document", "trial", "run", "subject", "time"])
def test_coordinates_that_hold_samples_together_are_seen(name):
    values = np.random.default_rng(0).standard_normal((20, 3))
    labels = np.arange(20) % 2
    coords = {name: np.arange(20) // (1 if name == "time" else 2)}
    with pytest.raises(NotExchangeable, match=f"'{name}'") as error:
        require_exchangeable(values, labels, coords=coords, exchange=None)
    assert "CircularShift" in str(error.value)
    require_exchangeable(values, labels, coords={name: np.zeros(20)}, exchange=None)


def test_independent_samples_are_hardly_ever_refused():
    rng = np.random.default_rng(0)
    refused = 0
    for n in (12, 50, 400):
        for _ in range(200):
            try:
                require_exchangeable(
                    rng.standard_normal((n, 1)), np.arange(n) % 2, coords={}, exchange=None
                )
            except NotExchangeable:
                refused += 1
    assert refused <= 3  # of 600: three standard errors


def test_labels_of_too_few_samples_are_refused():
    require_samples(list("aabb"), where="relation")
    with pytest.raises(TooFewSamples, match=r"too few facts of 'b' \(1\)"):
        require_samples(list("aab"), where="relation", item="fact")
    with pytest.raises(TooFewSamples, match="every fact is of 'a'"):
        require_samples(list("aaa"), where="relation", item="fact")
    with pytest.raises(TooFewSamples, match="'a'"):
        require_samples(list("aaabbbb"), where="relation", least=4)
