"""Labels are exchanged where they may be, and what a method finds then is chance."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.recording import as_recording
from nissl.selectivity import language_neurons
from nissl.statistics import PermutedLabels, Test, permute_labels


def rec_of(n_articles=12):
    rng = np.random.default_rng(0)
    language = np.tile(["french", "german", "thai"], n_articles)
    values = rng.uniform(0.1, 0.2, (len(language), 40))
    values[:, 7] = np.where(language == "thai", 0.9, 0.01)
    samples = {"language": language, "article": np.repeat(np.arange(n_articles), 3)}
    return as_recording(values, samples=samples)


def test_what_was_there_is_found_no_longer():
    rec, null = rec_of(), PermutedLabels(within="article")
    other = permute_labels(rec, labels="language", null=null, seed=3)
    np.testing.assert_array_equal(other.values, rec.values)
    names = other["language"].values
    assert (names != rec["language"].values).any()
    for article in np.unique(rec["article"].values):
        here = rec["article"].values == article
        assert sorted(names[here]) == ["french", "german", "thai"]
    assert len(language_neurons(rec, test=Test(null=null)).significant().table) == 1
    assert "unit[7]" not in language_neurons(other, test=Test(null=null)).significant().units


def test_a_coordinate_that_is_not_there_is_refused():
    with pytest.raises(NisslError, match="artcle"):
        permute_labels(rec_of(), labels="language", null=PermutedLabels(within="artcle"))
