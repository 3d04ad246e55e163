"""Tuning: planted curves are found with what they carry, nothing else above the level."""

from importlib import import_module
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats
from scipy.special import i0, i1

from nissl.brain import Tuning, tuning
from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.statistics import NotExchangeable, Test

BIN = 0.1
TEST = Test(n_permutations=199)


def walk(rng, n, step=0.5):
    """An angle that drifts as a head does."""
    return np.cumsum(rng.normal(0, step, n)) % (2 * np.pi)


def spikes(counts, **samples):
    counts = np.asarray(counts)
    samples.setdefault("time", (np.arange(len(counts)) + 0.5) * BIN)
    return as_recording(counts, samples=samples, quantity="spikes", attrs={"bin": BIN})


def by_hand(rec, to, edges, least):
    """The plain form: a loop over bins."""
    curves = np.full((rec.sizes["unit"], len(edges) - 1), np.nan)
    for b, (low, high) in enumerate(pairwise(edges)):
        here = (rec[to].values >= low) & (rec[to].values < high)
        if here.sum() * BIN >= least:
            curves[:, b] = rec.values[here].sum(axis=0) / (here.sum() * BIN)
    return curves


def test_expected_counts_of_a_von_mises_cell_give_its_analytic_figures():
    """Counts that are the rates themselves, over an even circle: no noise, fine bins."""
    kappa, centre, mean = 2.0, 5.9, 8.0
    angle = np.arange(3600) * 2 * np.pi / 3600
    rate = mean * np.exp(kappa * np.cos(angle - centre)) / i0(kappa)
    tuned = tuning(
        spikes(rate[:, None] * BIN, angle=angle), "angle", period=2 * np.pi, n_bins=180, test=None
    )
    row = tuned.finding.table.iloc[0]
    # Of a von Mises density against the even one: kappa I1/I0 - log I0, in bits.
    ratio = i1(kappa) / i0(kappa)
    assert row["bits_per_spike"] == pytest.approx(
        (kappa * ratio - np.log(i0(kappa))) / np.log(2), rel=1e-3
    )
    assert row["preferred"] == pytest.approx(centre, abs=1e-3)
    assert row["vector_length"] == pytest.approx(ratio, rel=1e-3)
    assert row["mean_rate"] == pytest.approx(mean)
    assert row["peak_rate"] == pytest.approx(rate.max(), rel=1e-3)
    assert tuned.finding.null == "none"


def test_degrees_and_turns_beyond_the_circle_are_the_same_angles():
    rng = np.random.default_rng(0)
    angle = walk(rng, 4000)
    counts = rng.poisson(np.exp(2 * np.cos(angle - 0.05)))[:, None]
    radians = tuning(spikes(counts, a=angle), "a", period=2 * np.pi, test=None)
    turned = np.rad2deg(angle) + 360 * rng.integers(-2, 3, 4000)
    rec = spikes(counts, a=turned)
    rec["a"].attrs["period"] = 360.0
    degrees = tuning(rec, "a", test=None)
    assert degrees.curves == pytest.approx(radians.curves)
    preferred = radians.finding.table["preferred"][0]
    assert abs((preferred - 0.05 + np.pi) % (2 * np.pi) - np.pi) < 0.1
    assert degrees.finding.table["preferred"][0] == pytest.approx(np.rad2deg(preferred))
    line = tuning(rec, "a", period=0, test=None)
    assert "vector_length" not in line.finding.table


def test_a_place_cell_of_uneven_occupancy_is_found_and_a_flat_one_is_not():
    """Most time is spent at one end, where both cells fire most spikes."""
    rng = np.random.default_rng(1)
    place = (
        stats.norm.cdf(np.convolve(rng.standard_normal(9019), np.ones(20) / 20**0.5, "valid")) ** 3
    )
    rate = np.stack([20 * np.exp(-0.5 * ((place - 0.7) / 0.1) ** 2), np.full(9000, 5.0)], axis=1)
    rec = spikes(rng.poisson(rate * BIN), place=place)
    tuned = tuning(rec, "place", n_bins=25, min_occupancy=1, test=TEST, progress=False)
    edges = np.linspace(place.min(), np.nextafter(place.max(), 2), 26)
    assert tuned.curves == pytest.approx(by_hand(rec, "place", edges, 1.0), nan_ok=True)
    table = tuned.finding.table
    assert tuned.finding.significant().units == ["unit[0]"]
    assert table["preferred"][0] == pytest.approx(0.7, abs=0.04)
    # What the curve that generated the spikes says of the time that was spent.
    share = rate[:, 0] / rate[:, 0].mean()
    planted = np.mean(share * np.log2(share))
    assert table["effect"][0] == pytest.approx(planted, abs=0.1)
    assert table["effect"][1] == pytest.approx(0, abs=0.01)
    assert tuned.curves[1] == pytest.approx(5, abs=2.5)
    low, high = tuned.null_band[:, 1]
    inside = (tuned.curves[1] >= low) & (tuned.curves[1] <= high)
    assert inside.mean() > 0.8


def test_a_place_field_of_two_coordinates():
    rng = np.random.default_rng(2)
    x, y = (np.sin(np.cumsum(rng.normal(0, 0.3, 12000))) for _ in range(2))
    rate = 15 * np.exp(-((x - 0.5) ** 2 + (y + 0.4) ** 2) / (2 * 0.2**2))
    rec = spikes(rng.poisson(np.stack([rate, np.full(12000, 2.0)], axis=1) * BIN), x=x, y=y)
    tuned = tuning(rec, ("x", "y"), n_bins=12, smooth=0.1, test=TEST, progress=False)
    assert tuned.curves.shape == (2, 12, 12)
    assert tuned.null_band.shape == (2, 2, 12, 12)
    assert tuned.occupancy.sum() == pytest.approx(1200)
    row = tuned.finding.table.iloc[0]
    assert (row["preferred_x"], row["preferred_y"]) == pytest.approx((0.5, -0.4), abs=0.15)
    assert tuned.finding.significant().units == ["unit[0]"]
    # Along x first, then y: the marginals of one coordinate are those of its own bins.
    alone = tuning(rec, "x", n_bins=12, test=None)
    assert tuned.occupancy.sum(axis=1) == pytest.approx(alone.occupancy)


def test_smoothing_keeps_spikes_and_goes_around_the_circle():
    angle = np.repeat(np.arange(36) * 10 + 5.0, 10)
    counts = (angle == 5.0).astype(float)[:, None]
    tuned = tuning(spikes(counts, a=angle), "a", period=360, smooth=15, test=None)
    curve = tuned.curves[0]
    assert curve.sum() == pytest.approx(10.0)
    assert curve[35] == pytest.approx(curve[1])
    assert curve[1] > curve[2] > curve[18]
    line = tuning(spikes(counts, a=angle), "a", smooth=15, test=None).curves[0]
    assert line[35] < 1e-9 < line[1]


def test_untuned_cells_are_found_at_the_level():
    """Cells that remember, an angle that remembers; most time at one place."""
    rng = np.random.default_rng(3)
    single, family, n = [], 0, 60
    for seed in range(n):
        angle = walk(rng, 1500, 0.8)
        drive = np.zeros((1500, 4))
        for t in range(1, 1500):
            drive[t] = 0.8 * drive[t - 1] + rng.normal(0, 0.6, 4)
        rec = spikes(rng.poisson(np.exp(drive - 0.5)), a=angle)
        table = tuning(
            rec, "a", period=2 * np.pi, n_bins=12, test=Test(99, seed=seed), progress=False
        ).finding.table
        single.extend(table["p"] <= 0.05)
        family += (table["q"] <= 0.05).any()
    assert stats.binom.ppf(0.001, 4 * n, 0.05) <= sum(single) <= stats.binom.ppf(0.999, 4 * n, 0.05)
    assert family <= stats.binom.ppf(0.999, n, 0.05)


def test_a_direction_of_trials_is_permuted_over_trials():
    rng = np.random.default_rng(4)
    trial = np.repeat(np.arange(60), 5)
    direction = rng.integers(0, 8, 60)[trial] * 45.0
    rate = np.stack([5 + 20 * (direction == 90), np.full(300, 5.0)], axis=1)
    rec = spikes(rng.poisson(rate * BIN), trial=trial, direction=direction)
    tuned = tuning(rec, "direction", period=360, test=TEST, progress=False)
    assert tuned.bins[0].tolist() == list(range(0, 360, 45))
    assert tuned.finding.null == "PermutedLabels(exchange='trial')"
    assert tuned.finding.significant().units == ["unit[0]"]
    # It moves inside trials: those go around.
    moving = rec.assign_coords(direction=("sample", walk(rng, 300)), trial=("sample", trial // 20))
    found = tuning(moving, "direction", period=2 * np.pi, n_bins=6, test=TEST, progress=False)
    assert found.finding.null == "CircularShift(within='trial', min_shift=1)"


def test_silent_cells_and_cells_with_nan_are_said():
    rng = np.random.default_rng(5)
    angle = walk(rng, 600)
    counts = rng.poisson(1.0, (600, 3)).astype(float)
    counts[:, 1], counts[7, 2] = 0, np.nan
    angle[:100] = np.nan
    found = tuning(
        spikes(counts, a=angle), "a", period=2 * np.pi, n_bins=6, test=TEST, progress=False
    )
    table = found.finding.table
    assert table["note"].tolist() == ["", "not tested: no spikes", ""]  # its NaN was left out
    assert np.isnan(table["bits_per_spike"][1])
    assert np.isnan(table["preferred"][1])
    assert (found.curves[1] == 0).all()
    assert table["q"][1] == 1
    assert found.finding.provenance["n_without_coordinate"] == 100
    counts[300, 2] = np.nan
    table = tuning(spikes(counts, a=angle), "a", n_bins=6, test=TEST, progress=False).finding.table
    assert table["note"][2] == "not tested: holds NaN or infinity"
    assert np.isnan(table["peak_rate"][2])
    assert table["p"][2] == 1


def test_batches_and_memory_orders_change_nothing(monkeypatch):
    rng = np.random.default_rng(6)
    counts, angle = rng.poisson(1.0, (500, 40)), walk(rng, 500)

    def of(values):
        return tuning(
            spikes(values, a=angle), "a", period=2 * np.pi, n_bins=8, test=TEST, progress=False
        )

    whole = of(counts)
    monkeypatch.setattr(import_module("nissl.brain.tuning"), "BYTES", 1)
    frozen = np.asfortranarray(counts.astype(np.float32))
    frozen.setflags(write=False)
    for values in (counts, frozen, np.repeat(counts, 2, axis=1)[:, ::2]):
        parts = of(values)
        assert parts.finding.table.equals(whole.finding.table)
        assert np.array_equal(parts.null_band, whole.null_band)


def test_what_cannot_be_done_is_said():
    rng = np.random.default_rng(7)
    angle = walk(rng, 300)
    rec = spikes(rng.poisson(1.0, (300, 2)), a=angle, one=np.ones(300), word=["a", "b"] * 150)
    with pytest.raises(UnknownName, match="head"):
        tuning(rec, "head")
    with pytest.raises(NisslError, match="holds words"):
        tuning(rec, "word")
    with pytest.raises(NisslError, match="1 of 1 bins"):
        tuning(rec, "one")
    with pytest.raises(NisslError, match="0 of 36 bins have at least 60 s"):
        tuning(rec, "a", min_occupancy=60)
    for wrong in (1, 7.5):
        with pytest.raises(NisslError, match="bins each"):
            tuning(rec, "a", n_bins=wrong)
    with pytest.raises(NisslError, match="bins each"):
        tuning(rec, ("a", "one", "a"))
    with pytest.raises(NisslError, match="1 of 1 bins"):
        tuning(rec[:1], "a")
    with pytest.raises(NisslError, match="0 cells"):
        tuning(rec[:, :0], "a")
    with pytest.raises(NisslError, match="smoothed by -1"):
        tuning(rec, "a", smooth=-1)
    with pytest.raises(NisslError, match="below zero"):
        tuning(rec.copy(data=rec.values - 5), "a")
    with pytest.raises(NisslError, match="a circle of -1"):
        tuning(rec, "a", period=-1)
    with pytest.raises(NisslError, match="no sample has a value"):
        tuning(rec.assign_coords(a=("sample", np.full(300, np.nan))), "a")
    time = rec["time"].values.copy()
    time[10] = time[9]
    with pytest.raises(NisslError, match=r"times do not increase\s+where: sample 10"):
        tuning(rec.assign_coords(time=("sample", time)), "a")
    with pytest.raises(NisslError, match="not counts of spikes"):
        tuning(rec.assign_attrs(quantity="calcium"), "a")
    bare = rec.drop_vars("time")
    del bare.attrs["bin"]
    with pytest.raises(NisslError, match="how long a bin is"):
        tuning(bare, "a")
    slow = spikes(np.arange(40)[:, None] // 5 + 1, a=np.arange(40.0))
    with pytest.raises(NotExchangeable):
        tuning(slow, "a", n_bins=2)
    with pytest.raises(UnknownName, match="unit"):
        tuning(rec, "a", test=None).plot(units=["cell"])
    with pytest.raises(NisslError, match="no cell"):
        tuning(rec, "a", test=None).plot(0)


def test_the_width_of_a_bin_is_told_by_the_times_where_nothing_else_does():
    rng = np.random.default_rng(8)
    rec = spikes(rng.poisson(1.0, (300, 1)), a=walk(rng, 300))
    bare = rec.copy()
    del bare.attrs["bin"]
    assert tuning(bare, "a", test=None).curves == pytest.approx(tuning(rec, "a", test=None).curves)


def test_bits_per_spike_do_not_depend_on_the_unit_of_time():
    """Nor on whether the whole lasted a second."""
    rng = np.random.default_rng(10)
    rec = spikes(rng.poisson(1.0, (300, 1)), a=walk(rng, 300)).drop_vars("time")
    slow = tuning(rec, "a", test=None)
    quick = tuning(rec.assign_attrs(bin=BIN / 100), "a", min_occupancy=0.001, test=None)
    bits = [found.finding.table["bits_per_spike"][0] for found in (slow, quick)]
    assert bits[0] == pytest.approx(bits[1])
    assert quick.curves == pytest.approx(100 * slow.curves)


def test_pictures_have_a_panel_a_cell():
    rng = np.random.default_rng(9)
    rec = spikes(rng.poisson(1.0, (600, 8)), a=walk(rng, 600), b=walk(rng, 600))
    polar = tuning(rec, "a", period=2 * np.pi, n_bins=8, test=TEST, progress=False)
    figure = polar.plot(4)
    assert [axes.name for axes in figure.axes] == ["polar"] * 4
    assert "bits per spike\nq = " in figure.axes[0].get_title()
    assert len(tuning(rec, "a", n_bins=8, test=None).plot(units=["unit[3]"]).axes) == 1
    maps = tuning(rec, ("a", "b"), n_bins=5, test=None).plot(2)
    assert len(maps.axes) == 4  # a colour bar each
    plt.close("all")
    assert isinstance(polar, Tuning)


@pytest.mark.real
def test_head_direction_cells_of_a_mouse_are_tuned(head_direction):
    tuned = tuning(head_direction, "head_direction", progress=False)
    table = tuned.finding.table
    adn = table["region"] == "ADN"
    assert (table["q"][adn] <= 0.01).all()
    # The maze is a Y, where place tells much of direction: cells of CA1 follow it a little.
    assert table["effect"][adn].min() > 0.5
    assert table["vector_length"][adn].min() > 0.4
    assert np.median(table["effect"][~adn]) < 0.25
