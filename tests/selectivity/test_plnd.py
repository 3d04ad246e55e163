"""PLND: what all documents of a language activate, with and without documents of others."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import members, plnd
from nissl.selectivity.plnd import ranks
from nissl.statistics import PermutedLabels, Test
from nissl.statistics.calibration import rate

LANGUAGES = ["french", "russian", "thai"]
WITHIN = PermutedLabels(within="article")


def impacts(n_units=120, *, articles=8, seed=0, plant=True):
    """Two layers. Unit i is of language i, unit 3 of two, unit 4 of all, unit 5 never active."""
    rng = np.random.default_rng(seed)
    language = np.tile(LANGUAGES, articles)
    article = np.repeat(np.arange(articles), len(LANGUAGES))
    impact = rng.random((len(language), n_units)) + rng.random((articles, n_units))[article]
    if plant:
        for unit, mine in enumerate([[name] for name in LANGUAGES] + [LANGUAGES[:2]]):
            impact[np.isin(language, mine), unit] += 3
        impact[:, 4] += 3
        impact[:, 5] = 0
    layer = np.repeat([0, 1], n_units // 2)
    units = {
        "site": [f"blocks.{k}" for k in layer],
        "layer": layer,
        "index": np.tile(np.arange(n_units // 2), 2),
    }
    return as_recording(impact, samples={"language": language, "article": article}, units=units)


def name(unit):
    return f"blocks.0[{unit}]"


def test_planted_neurons_are_found_with_their_languages():
    found = plnd(impacts(articles=14), share=0.1, test=Test(null=WITHIN), progress=False)
    table = found.table.set_index(["unit", "label"])
    for unit, language in enumerate(LANGUAGES):
        row = table.loc[(name(unit), language)]
        assert (row["kind"], row["labels"]) == ("specific", language)
        assert row["q"] <= 0.05
    assert table.loc[(name(3), "french"), "labels"] == "french; russian"
    assert table.loc[(name(3), "thai"), "kind"] == ""
    assert (table.loc[name(4), "kind"] == "agnostic").all()
    assert (table.loc[name(4), "q"] > 0.05).all()  # as active in the documents of the others
    assert members(found, kinds=("specific",)) == {
        language: [name(unit)] for unit, language in enumerate(LANGUAGES)
    }


def test_without_a_null_the_same_neurons_are_found():
    rec = impacts()
    here, there = (plnd(rec, test=test, progress=False) for test in (None, Test(null=WITHIN)))
    assert "p" not in here.table
    assert (here.null, here.score) == ("none", "consistency")
    columns = ["unit", "label", "consistency", "activated", "kind", "labels", "impact"]
    a, b = (
        f.table[columns].sort_values(["label", "unit"], ignore_index=True) for f in (here, there)
    )
    assert a.equals(b)


def test_a_unit_that_never_activates_is_marked():
    table = plnd(impacts(), test=Test(null=WITHIN), progress=False).table
    rows = table[table["unit"] == name(5)]
    assert (rows["note"] == "never activated").all()
    assert (rows["p"] == 1).all()
    assert not rows["activated"].any()
    assert not table.select_dtypes("number").isna().any().any()


def test_activation_is_that_of_a_slow_search():
    rec = impacts(seed=3)
    table = plnd(rec, share=0.2, test=None, progress=False).table.set_index(["unit", "label"])
    language = rec["language"].values
    n = 60  # of a layer
    for layer in (0, 1):
        for unit in range(n):
            for label in LANGUAGES:
                always = True
                for document in np.flatnonzero(language == label):
                    row = rec.values[document, n * layer : n * (layer + 1)]
                    larger = (row > row[unit]).sum()
                    always &= larger < round(0.2 * n) and row[unit] > 0
                assert table.loc[(f"blocks.{layer}[{unit}]", label), "activated"] == always


def test_nothing_is_found_where_there_is_nothing():
    rec = impacts(1600, plant=False, articles=6)
    table = plnd(
        rec, test=Test(n_permutations=199, null=WITHIN, correction=None), progress=False
    ).table
    for _, one in table.groupby("label"):  # languages of one unit are not independent
        assert rate(one["p"], level=0.999).holds


def test_ranks_of_layers_stand_alone():
    impact = np.array([[1.0, 2.0, 300.0, 100.0]])
    layer = np.array(["a", "a", "b", "b"])
    assert ranks(impact, layer).tolist() == [[0.5, 1.0, 1.0, 0.5]]


def test_bad_input_is_refused():
    rec = impacts(20)
    with pytest.raises(TooFewSamples, match="every document is of 'thai'"):
        plnd(rec.isel(sample=slice(2, None, 3)), progress=False)
    with pytest.raises(TooFewSamples, match=r"'french' \(1\)"):
        plnd(rec.isel(sample=[0, 1, 2, 4, 5]), progress=False)
    for broken in (-rec, rec * np.nan):
        with pytest.raises(NisslError, match="negative or not finite"):
            plnd(broken, progress=False)
    with pytest.raises(NisslError, match="share=2"):
        plnd(rec, share=2, progress=False)
    with pytest.raises(NisslError, match="author"):
        plnd(rec, labels="author", progress=False)
