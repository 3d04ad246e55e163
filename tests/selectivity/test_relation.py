"""Relation-specific neurons: planted ones are found, and none where there is nothing."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import relation
from nissl.statistics import Test
from nissl.statistics.calibration import rate

RELATIONS = np.repeat(["capital", "plural", "past"], 20)


def planted(n_units=40, *, size=0.0, tokens=3, seed=0):
    """Facts of some tokens each; unit i responds to relation i, for the first three units."""
    rng = np.random.default_rng(seed)
    n = len(RELATIONS)
    values = rng.standard_normal((n, n_units))
    for unit, name in enumerate(dict.fromkeys(RELATIONS)):
        values[name == RELATIONS, unit] += size
    values = np.repeat(values, tokens, 0) + 0.3 * rng.standard_normal((n * tokens, n_units))
    samples = {"relation": np.repeat(RELATIONS, tokens), "fact": np.repeat(np.arange(n), tokens)}
    return as_recording(values, samples=samples)


def test_the_planted_units_are_found():
    found = relation(planted(size=4), labels="relation", exchange="fact", progress=False)
    significant = found.significant(q=0.05).table
    pairs = set(map(tuple, significant[["unit", "label"]].to_numpy().tolist()))
    assert {("unit[0]", "capital"), ("unit[1]", "plural"), ("unit[2]", "past")} <= pairs
    assert all(unit in ("unit[0]", "unit[1]", "unit[2]") for unit, _ in pairs)


def test_scores_are_average_precision():
    rec = planted(5, size=1)
    table = relation(
        rec, labels="relation", exchange="fact", test=Test(n_permutations=99), progress=False
    ).table
    means = rec.values.reshape(60, 3, 5).mean(1)
    for _, row in table.iterrows():
        unit = int(row.unit[5:-1])
        expected = average_precision_score(row.label == RELATIONS, means[:, unit])
        assert row.average_precision == pytest.approx(expected)


def test_nothing_is_found_where_there_is_nothing():
    rec = planted(600, tokens=1, seed=1)
    table = relation(
        rec,
        labels="relation",
        exchange="fact",
        test=Test(n_permutations=199, correction=None),
        progress=False,
    ).table
    for _, one in table.groupby("label"):  # relations of one unit are not independent
        assert rate(one.p, level=0.999).holds


def test_too_few_facts_are_refused():
    rec = planted()
    lonely = rec.isel(sample=np.flatnonzero(rec["fact"].values <= 20))
    with pytest.raises(TooFewSamples, match=r"'plural' \(1\)"):
        relation(lonely, labels="relation", exchange="fact", progress=False)
    with pytest.raises(TooFewSamples, match="every fact is of 'capital'"):
        relation(rec.isel(sample=slice(0, 60)), labels="relation", exchange="fact", progress=False)


def test_a_unit_that_never_fires_is_marked():
    rec = planted(4)
    rec = rec.copy(data=rec.values * np.array([1.0, 1.0, 0.0, 1.0]))
    table = relation(
        rec, labels="relation", exchange="fact", test=Test(n_permutations=99), progress=False
    ).table
    silent = table[table.unit == "unit[2]"]
    assert (silent.p == 1).all()
    assert (silent.note != "").all()
    assert not table[["p", "q", "effect", "average_precision"]].isna().any().any()
