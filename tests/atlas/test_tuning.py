"""Tuning: planted units are found, others are not more often than the level says."""

import numpy as np
import pytest
from scipy import stats

from nissl.atlas.eta_squared import eta_squared
from nissl.atlas.tuning import tuning
from nissl.atlas.tuning_plan import plan_tuning
from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.statistics import Test


def smooth(rng, shape, memory=0.95):
    """Noise that remembers: first-order autoregressive, of unit variance."""
    noise = rng.standard_normal(shape)
    for t in range(1, len(noise)):
        noise[t] = memory * noise[t - 1] + np.sqrt(1 - memory**2) * noise[t]
    return noise


def walk(rng, n, step=0.15):
    """An angle that drifts as a head does."""
    return np.cumsum(rng.normal(0, step, n)) % (2 * np.pi)


def with_angle(values, angle, **samples):
    rec = as_recording(
        values,
        samples={"time": np.arange(len(angle)), "angle": angle, **samples},
        quantity="spikes",
    )
    rec["angle"].attrs["period"] = 2 * np.pi
    return rec


def within_nominal(n_found, n, level=0.05):
    """Whether a number of false positives is what the level allows, at 99.9%."""
    low, high = stats.binom.ppf([0.0005, 0.9995], n, level)
    return low <= n_found <= high


def test_head_direction_like_units_are_found_and_drifting_ones_are_not():
    rng = np.random.default_rng(0)
    angle = walk(rng, 3000)
    preferred = np.array([0.5, 2.0, 5.5])
    tuned = rng.poisson(3 * np.exp(2 * (np.cos(angle[:, None] - preferred) - 1)))
    drifting = rng.poisson(np.exp(0.5 * smooth(rng, (3000, 12))))
    found = tuning(
        with_angle(np.c_[tuned, drifting].astype(float), angle),
        test=Test(n_permutations=299),
        progress=False,
    )
    assert found.skipped == {"time": "time itself"}
    assert sorted(found.finding.significant().units) == ["unit[0]", "unit[1]", "unit[2]"]
    table = found.finding.table.iloc[:3]
    off = np.angle(np.exp(1j * (table["preferred"] - preferred)))
    assert np.abs(off).max() < 0.15
    # The length of the mean vector of a von Mises curve is the ratio of two Bessel functions.
    assert table["vector_length"].to_numpy() == pytest.approx(0.698, abs=0.06)
    assert (table["information"] > 0.4).all()
    assert table["curve"].iloc[0].argmax() in (1, 2)  # 24 levels of 15 degrees


def test_false_positives_of_units_that_drift_are_nominal():
    """Free permutation, which an F-test amounts to, would call most of these tuned."""
    rng = np.random.default_rng(1)
    found, naive, n = 0, 0, 0
    for repeat in range(20):
        angle = walk(rng, 600, step=0.1)
        values = smooth(rng, (600, 20))
        table = tuning(
            with_angle(values, angle),
            n_bins=8,
            test=Test(n_permutations=99, seed=repeat),
            progress=False,
        ).finding.table
        found += (table["p"] <= 0.05).sum()
        level = (angle / (2 * np.pi) * 8).astype(int)
        groups = [values[level == k] for k in np.unique(level)]
        naive += (stats.f_oneway(*groups).pvalue <= 0.05).sum()
        n += len(table)
    assert within_nominal(found, n)
    assert naive > 0.5 * n


@pytest.mark.parametrize("design", ["label of a trial", "picture in a run"])
def test_false_positives_and_power_of_categories(design):
    rng = np.random.default_rng(2)
    trial = np.repeat(np.arange(40), 15)
    found, hits, any_false = 0, 0, 0
    for repeat in range(20):
        values = smooth(rng, (600, 21), memory=0.8)
        if design == "label of a trial":
            values += rng.standard_normal((40, 21))[trial]  # trials differ for their own reasons
            label = rng.permutation(np.tile([0, 1, 2, 3], 10))[trial]
            samples = {"trial": trial, "label": label}
        else:
            label = np.concatenate([np.repeat(rng.permutation(4), 15) for _ in range(10)])
            samples = {"run": np.arange(600) // 60, "time": np.arange(600) % 60, "label": label}
        values[:, 20] += 2.5 * (label == 2)
        table = tuning(
            as_recording(values, samples=samples),
            test=Test(n_permutations=199, seed=repeat),
            progress=False,
        ).finding.table
        found += (table["p"][:20] <= 0.05).sum()
        any_false += (table["q"][:20] <= 0.05).any()
        hits += table["q"][20] <= 0.05
        assert table["preferred_name"][20] == "2"
        assert table["auroc"][20] > 0.7
    assert within_nominal(found, 400)
    assert any_false <= stats.binom.ppf(0.999, 20, 0.05)
    assert hits >= 18


def test_scores_and_draws_equal_a_slow_reading_of_the_definition():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((60, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:, 3] = rng.standard_normal(60)
    run = np.repeat([0, 1, 2], 20)
    rec = as_recording(
        values, samples={"run": run, "time": np.arange(60), "label": np.arange(60) % 5}
    )
    (plan,), _ = plan_tuning(rec)
    scores = eta_squared(rec, plan, slice(None), 7, seed=4)
    index = plan.null.draw(plan.codes, 7, within=plan.within, seed=4)
    for unit in range(4):
        x = values[:, unit].copy()
        for r in range(3):
            x[run == r] -= np.nanmean(x[run == r])
        seen = np.isfinite(x)
        for labels, eta2 in [
            (plan.codes, scores.eta2[unit]),
            *((plan.codes[i], scores.draws[d, unit]) for d, i in enumerate(index)),
        ]:
            between = sum(
                (seen & (labels == k)).sum() * np.nanmean(x[labels == k]) ** 2 for k in range(5)
            )
            assert eta2 == pytest.approx(between / np.nansum(x**2), rel=1e-9)
        for k in range(5):
            assert scores.number[k, unit] == (seen & (plan.codes == k)).sum()
    for d, i in enumerate(index):  # a shift keeps every run's labels and their order
        for r in range(3):
            original, moved = plan.codes[run == r], plan.codes[i][run == r]
            assert any(np.array_equal(np.roll(original, s), moved) for s in range(1, 20)), d


def test_units_that_cannot_be_tested_say_why_and_have_no_nan_p():
    rng = np.random.default_rng(5)
    values = rng.standard_normal((40, 4))
    values[:, 1] = 7.0
    values[:, 2] = np.nan
    values[5:, 3] = np.nan
    rec = as_recording(values, samples={"trial": np.arange(40), "side": np.arange(40) % 2})
    table = tuning(rec, test=Test(n_permutations=99), progress=False).finding.table
    assert table["note"][0] == ""
    assert "constant" in table["note"][1]
    assert "fewer" in table["note"][2]
    assert "fewer" in table["note"][3]
    assert table["p"][1:].tolist() == [1, 1, 1]
    assert table["q"][1:].tolist() == [1, 1, 1]


def test_shifts_are_not_drawn_twice():
    """With 60 samples there are 59 shifts, so that no p is below 1 in 60."""
    angle = np.linspace(0, 4 * np.pi, 60) % (2 * np.pi) + np.random.default_rng(0).random(60)
    values = np.cos(angle)[:, None] + 0.1 * np.random.default_rng(1).standard_normal((60, 2))
    table = tuning(
        with_angle(values, angle), n_bins=6, test=Test(n_permutations=999), progress=False
    ).finding.table
    assert table["p"].min() >= 1 / 60
    assert (table["q"] >= table["p"]).all()


def test_batches_and_lazy_recordings_give_the_same():
    rng = np.random.default_rng(6)
    rec = as_recording(
        rng.standard_normal((80, 7)), samples={"trial": np.arange(80), "side": np.arange(80) % 2}
    )
    whole = tuning(rec, test=Test(n_permutations=49), progress=False).finding.table
    parts = tuning(
        rec.chunk(sample=16, unit=2), test=Test(n_permutations=49), batch_size=2, progress=False
    ).finding.table
    for column in ("eta2", "p", "q", "null_mean", "auroc"):
        assert parts[column].tolist() == pytest.approx(whole[column].tolist())


def test_wrong_options_are_refused():
    rec = as_recording(np.eye(10), samples={"trial": range(10), "side": [0, 1] * 5})
    with pytest.raises(UnknownName, match="side"):
        tuning(rec, labels=["sid"])
    with pytest.raises(NisslError, match="p of 0"):
        tuning(rec, test=Test(n_permutations=5))
    with pytest.raises(UnknownName, match="max"):
        tuning(rec, test=Test(correction="maximum"), progress=False)


@pytest.mark.real
def test_head_direction_cells_are_tuned_and_shifted_ones_are_not(head_direction):
    found = tuning(head_direction, test=Test(n_permutations=999), progress=False).finding
    table = found.table[found.table["coordinate"] == "head_direction"]
    adn = table["unit"].str.startswith("ADN")
    assert (table["q"][adn] < 0.05).all()
    assert table["vector_length"][adn].min() > 0.4
    ripple = found.table[found.table["coordinate"] == "ripple"]
    assert (ripple["q"][ripple["unit"].str.startswith("CA1")] < 0.05).sum() >= 6

    awake = np.flatnonzero(np.isfinite(head_direction["head_direction"].values))
    angle = head_direction["head_direction"].values
    rng = np.random.default_rng(0)
    wrong, single = 0, []
    for repeat in range(30):
        shifted = angle.copy()
        shifted[awake] = np.roll(angle[awake], rng.integers(100, len(awake) - 100))
        rec = head_direction.assign_coords(
            head_direction=("sample", shifted, head_direction["head_direction"].attrs)
        )
        table = tuning(
            rec,
            labels=["head_direction"],
            test=Test(n_permutations=199, seed=repeat),
            progress=False,
        ).finding.table
        wrong += (table["q"] < 0.05).any()
        single.extend(table["p"] <= 0.05)
    assert wrong <= stats.binom.ppf(0.999, 30, 0.05)
    assert np.mean(single) < 0.1
