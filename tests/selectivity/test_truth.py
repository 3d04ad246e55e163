"""Truth neurons: a planted one is found and carries the judgement; words and noise are not."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import truth
from nissl.statistics import Test
from nissl.statistics.calibration import rate

SUBJECTS = ["capitals", "plurals", "colours"]


def attributed(n_units=40, *, couples=8, seed=0, plant=True):
    """Unit 0 is for the truth, unit 1 against it, unit 2 for one subject's, 3 for words, 4 silent.

    Both questions of a couple share noise.
    """
    rng = np.random.default_rng(seed)
    couple = np.arange(3 * couples).repeat(2)
    subject = np.repeat(SUBJECTS, 2 * couples)
    values = rng.standard_normal((len(couple), n_units))
    values += rng.standard_normal((3 * couples, n_units))[couple]
    if plant:
        values[:, 0] += 4
        values[:, 1] -= 4
        values[:, 2] = np.where(subject == "plurals", 9, -1)
        # It likes one of the two words, which is true in one of the questions only.
        values[:, 3] = 9 * np.where(np.arange(len(couple)) % 2, 1, -1) + 0.1 * values[:, 3]
        values[:, 4] = 0
    return as_recording(
        values, samples={"subject": subject, "couple": couple}, quantity="attribution"
    )


def test_the_planted_neurons_are_found():
    table = truth(attributed(), progress=False).table.set_index("unit")
    assert table.loc["unit[0]", "kind"] == "truthful"
    assert table.loc["unit[1]", "kind"] == "untruthful"
    assert (table.loc[["unit[0]", "unit[1]"], "q"] <= 0.05).all()
    assert set(table.index[table["q"] <= 0.05]) <= {"unit[0]", "unit[1]", "unit[2]"}
    assert table.loc["unit[2]", "kind"] == ""
    assert table.loc["unit[2]", "agree"] == pytest.approx(1 / 3)
    assert table.loc["unit[3]", "p"] > 0.05


def test_a_unit_that_never_contributes_is_marked():
    table = truth(attributed(), least=0, progress=False).table.set_index("unit")
    silent = table.loc["unit[4]"]
    assert (silent["note"], silent["p"], silent["kind"]) == ("never contributes", 1, "")
    assert not table.select_dtypes("number").isna().any().any()


def test_kinds_are_those_of_a_slow_search():
    rec = attributed(20, seed=3)
    table = truth(rec, share=0.3, least=0.2, test=Test(n_permutations=99), progress=False).table
    subject, couple = np.repeat(SUBJECTS, 16), rec["couple"].values
    for unit, row in enumerate(table.itertuples()):
        x = rec.values[:, unit]
        means = [x[couple == c].mean() for c in range(24)]
        assert row.contribution == pytest.approx(np.mean(means))
        sign = np.sign(np.mean(means))
        agreeing = [np.sign(x[subject == s].mean()) == sign for s in SUBJECTS]
        passed = [
            sign * x[q] > 0 and sign * x[q] >= 0.3 * (sign * rec.values[q]).max() for q in range(48)
        ]
        kind = "truthful" if sign > 0 else "untruthful"
        if not (sign and all(agreeing) and np.mean(passed) >= 0.2):
            kind = ""
        if sign:
            assert row.pass_rate == pytest.approx(np.mean(passed))
        assert row.kind == kind


def test_p_is_that_of_all_flips_of_couples():
    rec = attributed(6, couples=4, seed=5, plant=False).isel(sample=slice(0, 16))
    table = truth(
        rec, test=Test(n_permutations=4999, tail="permutation", correction=None), progress=False
    ).table
    means = rec.values.reshape(8, 2, 6).mean(axis=1)
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    every = np.abs(signs @ means) / 8
    exact = (every >= np.abs(means.mean(axis=0)) - 1e-9).mean(axis=0)
    np.testing.assert_allclose(table["p"], exact, atol=0.03)


def test_nothing_is_found_where_there_is_nothing():
    rec = attributed(1600, plant=False)
    found = truth(
        rec, test=Test(n_permutations=199, tail="permutation", correction=None), progress=False
    )
    assert rate(found.table["p"], level=0.999).holds
    corrected = [
        truth(
            attributed(50, seed=s, plant=False), test=Test(n_permutations=99), progress=False
        ).table["q"]
        for s in range(40)
    ]
    assert rate([q.min() for q in corrected], level=0.999).holds


def test_bad_input_is_refused():
    rec = attributed()
    with pytest.raises(TooFewSamples, match="every block is of 'capitals'"):
        truth(rec.isel(sample=slice(0, 16)), progress=False)
    with pytest.raises(TooFewSamples, match=r"'plurals' \(1\)"):
        truth(rec.isel(sample=slice(0, 18)), progress=False)
    with pytest.raises(NisslError, match="several subjects"):
        truth(rec.assign_coords(couple=("sample", np.zeros(48, int))), progress=False)
    with pytest.raises(NisslError, match="not finite"):
        truth(rec * np.nan, progress=False)
    with pytest.raises(NisslError, match="only attributions"):
        truth(rec.assign_attrs(quantity="activity"), progress=False)
    with pytest.raises(NisslError, match="share=2"):
        truth(rec, share=2, progress=False)
    with pytest.raises(NisslError, match="author"):
        truth(rec, labels="author", progress=False)
