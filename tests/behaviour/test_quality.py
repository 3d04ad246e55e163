"""Quality against plain runs of the model, and edits that do nothing or everything."""

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import losses, quality
from nissl.behaviour.quality import repetition
from nissl.network import WeightEdit
from tiny import Letters, tiny

rng = np.random.default_rng(0)
TEXTS = [rng.integers(3, 40, size=n).tolist() for n in (9, 5, 12, 2)]
SITE = "blocks.0.mlp.out"


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("llama"), tokenizer=Letters())


def by_hand(net, edit):
    """Loss and divergence of every predicted token, one text after another."""
    lost, apart = [], []
    for ids in map(torch.tensor, TEXTS):
        with torch.no_grad():
            before = net.model(ids[None]).logits[0, :-1].log_softmax(-1)
            with net.edit(edit):
                after = net.model(ids[None]).logits[0, :-1].log_softmax(-1)
        lost += (-after[torch.arange(len(ids) - 1), ids[1:]]).tolist()
        apart += (before.exp() * (before - after)).sum(-1).tolist()
    return np.mean(lost), np.mean(apart)


def test_each_edit_is_measured_as_by_hand(net):
    edits = {
        "nothing": nissl.scale(sites=SITE, by=1.0),
        "ablated": nissl.ablate(sites=SITE),
        "twice": [nissl.scale(sites=SITE, by=3.0), nissl.ablate("blocks.1.mlp.neurons[0]")],
    }
    found = quality(net, TEXTS, edits=edits, batch_size=3, progress=False)
    assert found.index.tolist() == ["none", "nothing", "ablated", "twice"]
    for name, edit in {"none": [], **edits}.items():
        loss, apart = by_hand(net, edit)
        assert found.loc[name, "loss"] == pytest.approx(loss, rel=1e-5)
        assert found.loc[name, "perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)
        assert found.loc[name, "kl"] == pytest.approx(apart, abs=1e-6)
    assert found.loc["ablated", "kl"] > 1e-4
    lengths = np.asarray([len(text) - 1 for text in TEXTS])
    own = losses(net, TEXTS, progress=False) @ lengths / lengths.sum()
    assert found.loc["none", "loss"] == pytest.approx(own, rel=1e-5)


def test_long_texts_are_read_in_windows_and_weight_edits_count(net):
    weight = "model.layers.0.mlp.down_proj.weight"
    edits = {"weights": WeightEdit(weight, torch.zeros_like), "out": nissl.ablate(sites=SITE)}
    found = quality(net, TEXTS, edits=edits, window=6, progress=False)
    assert found.loc["weights", "kl"] == pytest.approx(found.loc["out", "kl"], rel=1e-4)


def test_accuracy_and_repetition(net):
    ids = net.tokenizer.encode("abcd")
    with torch.no_grad():
        best = int(net.model(torch.tensor([ids])).logits[0, -1].argmax())
    items = pd.DataFrame({"text": ["abcd", "abcd"], "answer": [[best], [best + 1]]})
    silent = {"silent": nissl.ablate(sites="final_norm")}
    found = quality(net, TEXTS, edits=silent, items=items, prompts=["abc", "fg"], progress=False)
    assert found.loc["none", "accuracy"] == 0.5
    # Without a stream all tokens are as likely: the first is said for ever.
    assert found.loc["silent", "repetition"] == pytest.approx(1 - 1 / 38)
    assert found.loc["none", "repetition"] < 1


def test_repetition_counts_what_came_before():
    assert repetition([1, 2, 3, 4, 5]) == 0
    assert repetition([7] * 5) == pytest.approx(2 / 3)
    assert repetition([7]) == 0


def test_what_cannot_be_measured_is_refused(net):
    with pytest.raises(NisslError, match="called 'none'"):
        quality(net, TEXTS, edits={"none": nissl.ablate(sites=SITE)})
    with pytest.raises(NisslError, match="no token to predict"):
        quality(net, [[5]], edits={}, progress=False)
    with net.edit(nissl.ablate(sites=SITE)), pytest.raises(NisslError, match="without edits"):
        quality(net, TEXTS, edits={})
