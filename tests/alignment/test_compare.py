"""Compare: likeness that was planted, its level where there is none, ceilings, refusals."""

import numpy as np
import pytest

from nissl import NisslError, Test
from nissl.alignment import CKA, compare
from nissl.alignment.measures.measure import MEASURES, measure_of
from nissl.recording import as_recording
from nissl.statistics import CircularShift, NotExchangeable

RNG = np.random.default_rng(0)
QUICK = Test(n_permutations=39)


def sides(n=40, shared=3.0, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 4))
    return [
        shared * latent @ rng.standard_normal((4, width)) + rng.standard_normal((n, width))
        for width in (30, 20)
    ]


@pytest.mark.parametrize("name", MEASURES)
def test_what_is_shared_is_found(name):
    given = sides()
    if measure_of(name).repeats:
        given = [x[:, None] + RNG.standard_normal((40, 4, x.shape[1])) for x in given]
    table = compare(*given, measure=name, test=QUICK, progress=False).table
    assert table["p"][0] == pytest.approx(1 / 40)
    assert table["low"][0] < table[name][0] < table["high"][0]


@pytest.mark.parametrize("name", ["rsa", "cka", "procrustes", "cca"])
def test_false_positives_are_at_the_level(name):
    quick = Test(n_permutations=19)
    found = [
        compare(*sides(n=20, shared=0, seed=s), measure=name, test=quick, progress=False)
        for s in range(60)
    ]
    p = np.array([one.table["p"][0] for one in found])
    assert (p <= 0.05).sum() <= 8  # of 60 at 0.05: more in 1 of 200
    assert 0.35 < p.mean() < 0.7


def test_the_interval_holds_the_value_of_more_stimuli():
    truth = compare(*sides(n=2000), measure="cka", test=None).value
    inside = 0
    for s in range(40):
        rng = np.random.default_rng(s)
        rows = rng.permutation(2000)[:60]
        a, b = (x[rows] for x in sides(n=2000))
        row = compare(a, b, measure="cka", test=Test(n_permutations=2), progress=False).table.iloc[
            0
        ]
        inside += row["low"] <= truth <= row["high"]
    assert inside >= 33


def test_sites_make_a_matrix():
    a, b = sides()
    found = compare({"one": a, "two": b}, {"x": b, "y": a, "z": RNG.random((40, 9))}, test=QUICK,
                    measure="cka", progress=False)  # fmt: skip
    assert found.matrix.shape == (2, 3)
    assert found.matrix.loc["one", "y"] == pytest.approx(1)
    assert not any(unit.endswith("z") for unit in found.finding.significant().units)
    assert found.plot().get_title() == "cka"
    with pytest.raises(NisslError, match="6 values"):
        _ = found.value
    assert "ceiling" in compare(a, b, test=QUICK, progress=False).table
    compare(a, b, test=QUICK, progress=False).plot()


def recording(x, stimuli, **samples):
    return as_recording(x, samples={"stimulus": stimuli, **samples})


def test_stimuli_are_aligned_or_refused():
    a, b = sides()
    names = [f"s{i}" for i in range(40)]
    found = compare(recording(a, names), recording(b, names), measure="cka", test=None)
    assert found.value == pytest.approx(CKA()(a, b))
    with pytest.raises(NisslError, match="order"):
        compare(recording(a, names), recording(b, names[::-1]), test=None)
    with pytest.raises(NisslError, match="missing"):
        compare(recording(a, names), recording(b, [*names[:-1], "other"]), test=None)
    with pytest.raises(NisslError, match="more than once"):
        compare(recording(a, names), recording(b, [*names[:-1], "s0"]), test=None)
    with pytest.raises(NisslError, match="numbers of stimuli"):
        compare(a, b[:-1], test=None)
    with pytest.raises(NisslError, match="no sample coordinate"):
        compare(recording(a, names), recording(b, names), on="picture", test=None)


def test_the_ceiling_is_that_of_repeats():
    a, b = sides(n=30)
    names = [f"s{i}" for i in range(30)]
    noisy = np.concatenate([b + 2 * RNG.standard_normal(b.shape) for _ in range(6)])
    rec = recording(noisy, names * 6, trial=np.repeat(np.arange(6), 30))
    how = {"measure": "cka", "test": QUICK, "progress": False}
    row = compare(recording(b, names), rec, repeats="trial", **how).table.iloc[0]
    assert row["ceiling"] < row["cka"] < 1
    with pytest.raises(NisslError, match="once"):
        compare(recording(a, names), rec[:30], repeats="trial", **how)


def test_series_are_not_permuted_one_by_one():
    x = np.random.default_rng(1).standard_normal((300, 10)).cumsum(0)
    y = np.random.default_rng(2).standard_normal((300, 10)).cumsum(0)
    with pytest.raises(NotExchangeable, match="CircularShift"):
        compare(x, y, progress=False)
    shifted = Test(n_permutations=39, null=CircularShift())
    assert np.isfinite(compare(x, y, test=shifted, progress=False).value)
    assert compare(x, y, test=QUICK, exchange=np.arange(300), progress=False).value


def test_a_distance_is_small_where_alike():
    a, b = sides()
    near, far = (
        compare(a, y, measure="procrustes", test=QUICK, progress=False).table
        for y in (b, RNG.standard_normal((40, 20)))
    )
    assert near["procrustes"][0] < far["procrustes"][0]
    assert near["p"][0] < 0.05 < far["p"][0]


@pytest.mark.parametrize(("name", "n", "least"), [("rsa", 3, "four"), ("cka", 4, "five")])
def test_of_too_few_stimuli_it_is_said_how_many_are_needed(name, n, least):
    with pytest.raises(NisslError, match=f"give {least} stimuli|{least} for an interval"):
        compare(*sides(n=n), measure=name, test=QUICK, progress=False)
    compare(*sides(n=n + 1), measure=name, test=QUICK, progress=False)
