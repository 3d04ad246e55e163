"""The Bayesian decoder: planted places, chance, and the mouse's head direction."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nissl.brain import tuning
from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.statistics import Test, folds

BIN = 0.1
TEST = Test(n_permutations=99)


def population(rng, n=3000, cells=12):
    """Cells whose preferred directions go round the circle."""
    angle = np.cumsum(rng.normal(0, 0.2, n)) % (2 * np.pi)
    centre = np.arange(cells) * 2 * np.pi / cells
    rate = 30 * np.exp(4 * (np.cos(angle[:, None] - centre) - 1))
    return as_recording(
        rng.poisson(rate * BIN),
        samples={"time": (np.arange(n) + 0.5) * BIN, "angle": angle},
        quantity="spikes",
        attrs={"bin": BIN},
    )


def test_directions_are_read_at_other_times_and_at_chance_from_shuffled_cells():
    rec = population(np.random.default_rng(1))
    tuned = tuning(rec[:2000], "angle", period=2 * np.pi, test=None)
    found = tuned.decode(rec[2000:], window=0.3, test=TEST)
    assert found.value.shape == (998, 1)
    assert found.posterior.sum(axis=1) == pytest.approx(1, abs=1e-5)
    row = found.finding.table.iloc[0]
    assert row["median_error"] == np.median(found.error) < 0.2
    assert found.error.max() <= np.pi
    assert row["p"] == 0.01
    assert row["null_mean"] == pytest.approx(np.pi / 2, abs=0.4)
    # The middle window is that of the middle bin; the truth is the mean on the circle.
    assert found.time[0] == pytest.approx(rec["time"].values[2001])
    three = np.exp(1j * rec["angle"].values[2000:2003]).sum()
    assert found.truth[0, 0] == pytest.approx(np.angle(three) % (2 * np.pi))
    mixed = rec.copy(data=rec.values[np.random.default_rng(2).permutation(3000)])
    chance = tuned.decode(mixed[2000:], test=TEST).finding.table.iloc[0]
    assert chance["p"] > 0.05
    assert chance["median_error"] == pytest.approx(chance["null_mean"], abs=0.3)


def test_cells_are_taken_by_name_and_gaps_are_not_bridged():
    rec = population(np.random.default_rng(3), 1200)
    tuned = tuning(rec[:1000], "angle", period=2 * np.pi, test=None)
    later = rec[1000:]
    expected = tuned.decode(later, test=TEST)
    turned = tuned.decode(later[:, ::-1], test=TEST)
    assert np.array_equal(turned.value, expected.value)
    gap = later[np.r_[:50, 60:200]]
    assert len(tuned.decode(gap, window=0.5, test=TEST).value) == 46 + 136
    bare = tuned.decode(later.drop_vars("angle"), test=TEST)
    assert bare.error is None
    assert bare.finding is None
    assert np.array_equal(bare.value, expected.value)
    with pytest.raises(UnknownName, match=r"unit\[0\]"):
        tuned.decode(later[:, 1:])


def test_the_prior_is_where_time_was_spent():
    place = np.repeat([0.0, 1.0], [300, 100])
    rec = as_recording(
        np.ones((400, 1)), samples={"place": place}, quantity="spikes", attrs={"bin": BIN}
    )
    tuned = tuning(rec, "place", test=None)
    assert tuned.decode(rec[:1], test=TEST).posterior[0] == pytest.approx([0.75, 0.25])
    even = tuned.decode(rec[:1], prior="uniform", test=TEST)
    assert even.posterior[0] == pytest.approx([0.5, 0.5])


def test_two_coordinates_are_decoded_together():
    rng = np.random.default_rng(4)
    x, y = (np.sin(np.cumsum(rng.normal(0, 0.2, 6000))) for _ in range(2))
    at = rng.uniform(-1, 1, (30, 2))
    far = (x[:, None] - at[:, 0]) ** 2 + (y[:, None] - at[:, 1]) ** 2
    rec = as_recording(
        rng.poisson(30 * np.exp(-far / 0.18) * BIN),
        samples={"time": np.arange(6000) * BIN, "x": x, "y": y},
        quantity="spikes",
        attrs={"bin": BIN},
    )
    found = tuning(rec[:4000], ("x", "y"), n_bins=10, test=None).decode(rec[4000:], test=TEST)
    assert found.posterior.shape == (2000, 10, 10)
    assert np.median(found.error) < 0.3
    assert len(found.plot().axes) == 2
    plt.close("all")


def test_what_cannot_be_decoded_is_said():
    rec = population(np.random.default_rng(5), 600)
    tuned = tuning(rec[:400], "angle", period=2 * np.pi, n_bins=12, test=None)
    with pytest.warns(UserWarning, match="made of some of the samples"):
        tuned.decode(rec[300:], test=TEST)
    with pytest.raises(NisslError, match="no multiple of a bin"):
        tuned.decode(rec[400:], window=0.25)
    with pytest.raises(NisslError, match="without a gap"):
        tuned.decode(rec[400:], window=60)
    with pytest.raises(UnknownName, match="prior"):
        tuned.decode(rec[400:], prior="flat")
    lost = rec.astype(float)
    lost[3, 2] = np.nan
    with pytest.raises(NisslError, match="some counts are not finite"):
        tuning(rec[400:], "angle", n_bins=12, test=None).decode(lost[:400])
    with pytest.raises(NisslError, match="has no curve"):
        tuning(lost[:400], "angle", n_bins=12, test=None).decode(rec[400:])


@pytest.mark.real
def test_a_mouse_looks_where_seven_cells_say(head_direction):
    """Five stretches of held-out time, a second apart from what the curves are made of."""
    awake = head_direction[np.isfinite(head_direction["head_direction"].values)]
    adn = awake[:, awake["region"].values == "ADN"]
    errors = []
    for train, held_out in folds(n_samples=adn.sizes["sample"], gap=5):
        tuned = tuning(adn[train], "head_direction", test=None)
        found = tuned.decode(adn[held_out], test=TEST)
        errors.append(found.error)
        assert found.finding.table["p"][0] == 0.01
    assert np.rad2deg(np.median(np.concatenate(errors))) < 8
