"""Examples of a unit against the whole recording, sorted by hand."""

import numpy as np
import pytest

import nissl
from nissl import NisslError
from tiny import tiny

UNIT = "blocks.1.mlp.neurons[3]"
rng = np.random.default_rng(0)
DOCUMENTS = [rng.integers(1, 40, size=n).tolist() for n in (7, 9, 2, 12)]


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("llama"))


@pytest.fixture(scope="module")
def rec(net):
    return nissl.record(net, DOCUMENTS, sites="blocks.1.mlp.neurons", progress=False)


def test_the_best_place_of_each_document_comes_first(net, rec):
    found = net.unit_examples(UNIT, DOCUMENTS, n=4, progress=False)
    own = rec.sel(unit=UNIT)
    best = sorted((own.values[own["document"].values == d].max() for d in range(4)), reverse=True)
    assert found.table["activity"].tolist() == pytest.approx(best)
    for row in found.table.itertuples():
        assert str(DOCUMENTS[row.document][row.position]) == row.token


def test_the_words_around_end_with_the_document(net, rec):
    found = net.unit_examples(UNIT, DOCUMENTS, n=30, context=(3, 2), progress=False)
    assert len(found.table) == 30  # all places there are
    own = rec.sel(unit=UNIT)
    for row, words, activity in zip(
        found.table.itertuples(), found.words, found.activity, strict=True
    ):
        ids = DOCUMENTS[row.document]
        for offset, word, value in zip(range(-3, 3), words, activity, strict=True):
            place = row.position + offset
            if not 0 <= place < len(ids):
                assert word == ""
                assert np.isnan(value)
                continue
            sample = (own["document"] == row.document) & (own["position"] == place)
            assert word == str(ids[place])
            assert value == pytest.approx(own.values[sample.values].item())


def test_places_within_shares_of_the_largest(net, rec):
    values = rec.sel(unit=UNIT).values
    found = net.unit_examples(UNIT, DOCUMENTS, n=3, between=(0.2, 0.9), progress=False)
    share = found.table["activity"] / values.max()
    assert share.between(0.2, 0.9).all()
    low = net.unit_examples(UNIT, DOCUMENTS, n=3, between=(-1, -0.3), progress=False)
    assert (low.table["activity"] <= 0.3 * values.min()).all()
    with pytest.raises(NisslError, match="no activity is between"):
        net.unit_examples(UNIT, DOCUMENTS, between=(2, 3), progress=False)


def test_the_picture_has_a_row_for_each_place(net):
    found = net.unit_examples(UNIT, DOCUMENTS, n=4, progress=False)
    axes = found.plot()
    assert len(axes.get_yticklabels()) == 4
    assert len(axes.texts) == found.words.size


def test_what_is_no_unit_is_refused(net):
    for wrong in ("blocks.1.mlp.neurons", "blocks.1.mlp.neurons[99999]", "blocks.1.attn.z[head 0]"):
        with pytest.raises(NisslError):
            net.unit_examples(wrong, DOCUMENTS, progress=False)
