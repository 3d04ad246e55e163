"""Language neurons: planted ones are found with their languages, none where there is nothing."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import language_neurons, members
from nissl.selectivity.specificity import activation_rates, specificity
from nissl.statistics import PermutedLabels, Test
from nissl.statistics.calibration import power, rate

LANGUAGES = ["french", "german", "russian", "thai"]
WITHIN = PermutedLabels(within="article")


def documents(n_units=200, *, articles=10, seed=0, plant=True, strength=0.9):
    """Parallel articles. Units 0-3 are of one language, 4 and 5 of two, 6 of all, 7 of none."""
    rng = np.random.default_rng(seed)
    language = np.tile(LANGUAGES, articles)
    article = np.repeat(np.arange(articles), len(LANGUAGES))
    topic = rng.uniform(0, 0.15, (articles, n_units))[article]  # what an article says
    shares = rng.uniform(0.05, 0.2, (len(language), n_units)) + topic
    if plant:
        for unit, mine in enumerate([[name] for name in LANGUAGES] + [LANGUAGES[:2]] * 2):
            shares[:, unit] = np.where(np.isin(language, mine), strength, 0.01)
        shares[:, 6], shares[:, 7] = 0.99, 0.0
    samples = {"language": language, "article": article, "n_tokens": rng.integers(20, 90, 40)}
    return as_recording(shares, samples=samples, units={"layer": np.arange(n_units) % 4})


def test_planted_neurons_are_found_with_their_languages():
    found = language_neurons(documents(), top=0.03, test=Test(null=WITHIN))
    table = found.table
    assert table["kind"][:7].tolist() == ["specific"] * 4 + ["related"] * 2 + ["agnostic"]
    assert table["labels"][:6].tolist() == [*LANGUAGES, *["french; german"] * 2]
    assert table["label"][:4].tolist() == LANGUAGES
    assert set(found.significant().units) == {f"unit[{i}]" for i in range(6)}
    groups = members(found, kinds=("specific", "related"))
    assert set(groups["french"]) == {"unit[0]", "unit[4]", "unit[5]"}
    assert groups["french"][0] == "unit[0]"
    assert groups["thai"] == ["unit[3]"]


def test_a_unit_that_is_never_open_is_marked():
    row = language_neurons(documents(), test=Test(null=WITHIN)).table.iloc[7]
    assert row.note == "never open in these documents"
    assert (row.p, row.q, row.specificity, row.kind, row.label) == (1, 1, 0, "", "")


def test_no_table_holds_a_missing_number():
    table = language_neurons(documents(), test=Test(null=WITHIN)).table
    assert not table.select_dtypes("number").isna().any().any()


def test_specificity_is_one_less_the_entropy_of_scipy():
    from scipy.stats import entropy

    share = np.random.default_rng(0).random((4, 30))
    expected = 1 - entropy(share, axis=0) / np.log(4)
    np.testing.assert_allclose(specificity(share), expected)


def test_documents_count_by_their_tokens():
    rec = documents(9)
    tokens, language = rec["n_tokens"].values, rec["language"].values
    for row, name in enumerate(LANGUAGES):
        here = language == name
        expected = np.average(rec.values[here], axis=0, weights=tokens[here])
        np.testing.assert_allclose(activation_rates(rec, "language").share[row], expected)


def test_the_weight_keeps_agnostic_neurons_out():
    # Unit 6 is open almost always: with a large weight it would be among the most.
    assert (
        language_neurons(documents(), top=0.035, test=Test(null=WITHIN)).table["kind"][6]
        == "agnostic"
    )
    rec = documents()
    heavy = language_neurons(rec, top=0.005, weight=5.0, test=Test(null=WITHIN))
    light = language_neurons(rec, top=0.005, test=Test(null=WITHIN))
    assert heavy.provenance["weight"] > light.provenance["weight"] >= 0
    assert (light.table["kind"] == "specific").any()


def test_kinds_do_not_depend_on_the_order_of_documents():
    rec = documents()
    order = np.random.default_rng(1).permutation(rec.sizes["sample"])
    here, there = (
        language_neurons(r, test=Test(null=WITHIN)).table for r in (rec, rec.isel(sample=order))
    )
    assert here["kind"].equals(there["kind"])
    assert here["labels"].equals(there["labels"])


def test_nothing_is_found_where_there_is_nothing():
    found = language_neurons(
        documents(1500, plant=False),
        test=Test(n_permutations=199, null=WITHIN, correction=None, seed=3),
    )
    assert rate(found.table["p"], level=0.999).holds


def test_effects_of_stated_size_are_found():
    def data(rng):
        rec = documents(60, plant=True, strength=0.4, seed=int(rng.integers(1 << 30)))
        return (rec,), np.arange(60) < 6

    found = power(
        lambda rec: language_neurons(rec, test=Test(n_permutations=99, null=WITHIN)),
        data,
        n_repeats=5,
        column="q",
    )
    assert found.rate > 0.9


def test_bad_input_is_refused():
    rec = documents(20)
    language = rec["language"].values
    with pytest.raises(TooFewSamples, match="every document is of 'thai'"):
        language_neurons(rec.isel(sample=np.flatnonzero(language == "thai")))
    few = np.flatnonzero((language != "thai") | (rec["article"].values == 0))
    with pytest.raises(TooFewSamples, match=r"'thai' \(1\)"):
        language_neurons(rec.isel(sample=few))
    with pytest.raises(NisslError, match="not shares"):
        language_neurons(rec * 3)
    with pytest.raises(NisslError, match="not shares"):
        language_neurons(rec * np.nan)
    with pytest.raises(NisslError, match="author"):
        language_neurons(rec, labels="author")
    with pytest.raises(NisslError, match="chapter"):
        language_neurons(rec, test=Test(null=PermutedLabels(within="chapter")))
    for options in ({"top": 0}, {"bar": 1.5}):
        with pytest.raises(NisslError, match="is no share"):
            language_neurons(rec, **options)
