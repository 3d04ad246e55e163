"""Conductance of a cross-encoder in closed form, and in batches."""

import numpy as np
import pytest
import torch

import nissl
from matcher import matcher, some_pairs
from nissl import NisslError
from nissl.behaviour import output_magnitude, pair_conductance, pair_scores
from tiny import WORDS, pair_tokenizer, tiny


def test_conductance_in_closed_form():
    net, pairs = matcher(), some_pairs()
    made = pair_conductance(net, pairs, sites="open", steps=3, batch_size=7, progress=False)
    rec = made["conductance"]
    assert rec.shape == (len(pairs), 24)
    has = np.array(
        [
            [[word in text.split() for word in WORDS] for text in pairs[column]]
            for column in ("query", "passage")
        ]
    )
    # A match opens while the query comes, its weight is one; the passage was there all along.
    np.testing.assert_allclose(rec.values[:, :12], has.all(0), atol=1e-6)
    np.testing.assert_allclose(rec.values[:, 12:], 0, atol=1e-6)
    assert rec["relevant"].values.tolist() == pairs["relevant"].tolist()
    assert rec["number"].values.tolist() == pairs["number"].tolist()
    np.testing.assert_allclose(made["size"].values[:, 12:], has[1], atol=1e-6)
    whole = pair_conductance(net, pairs, sites="open", blank="pair", steps=50, progress=False)
    scores = pair_scores(net, pairs, progress=False)
    gained = scores - float(net.model.write.bias.detach())
    np.testing.assert_allclose(whole["conductance"].values.sum(1), gained, atol=0.02)


def test_conductance_of_a_cross_encoder_is_the_same_in_other_batches():
    import transformers

    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(tiny("bert").config)
    net, pairs = nissl.load(model, tokenizer=pair_tokenizer()), some_pairs(3)
    many, one = (
        pair_conductance(net, pairs, steps=4, batch_size=size, progress=False) for size in (12, 5)
    )
    for key in many:
        assert many[key].shape == (12, 3 * 24)
        np.testing.assert_allclose(many[key].values, one[key].values, rtol=1e-4, atol=1e-8)
    units = output_magnitude(net, many["size"])
    assert (units["weight"] > 0).all()
    assert units["unit"][30] == "blocks.1.mlp.neurons[6]"


def test_bad_input_is_refused():
    net, pairs = matcher(), some_pairs(3)
    with pytest.raises(NisslError, match="no pairs"):
        pair_conductance(net, pairs.iloc[:0], sites="open")
    with pytest.raises(NisslError, match="blank"):
        pair_conductance(net, pairs, sites="open", blank="passage")
