"""Losses against a slow pass text by text."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import losses
from nissl.behaviour.losses import Predicted
from nissl.network import ablate
from tiny import ids, tiny


def slow_losses(model, texts, *, places=slice(None)):
    out = []
    for text in texts:
        row = torch.as_tensor(np.asarray(text))[None]
        with torch.no_grad():
            log_p = model(input_ids=row).logits[0, :-1].float().log_softmax(-1)
        out.append(-float(log_p.gather(1, row[0, 1:, None])[places].mean()))
    return np.asarray(out)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2"])
def test_losses_are_those_of_each_text_alone(name):
    model = tiny(name)
    texts = [row[:n].numpy() for row, n in zip(ids(4, 9), [9, 5, 7, 2], strict=True)]
    net = nissl.load(model)
    found = losses(net, texts, batch_size=3, progress=False)
    np.testing.assert_allclose(found, slow_losses(model, texts), atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2", "opt"])
@pytest.mark.parametrize("batch_size", [2, 7, 64])
def test_ablations_together_are_those_one_after_the_other(name, batch_size):
    model = tiny(name)
    net = nissl.load(model)
    texts = [row[:n].numpy() for row, n in zip(ids(4, 9), [9, 5, 7, 2], strict=True)]
    groups = [[f"blocks.{1 + n % 2}.mlp.neurons[{i}]" for i in range(n)] for n in range(5)]
    found = Predicted(net, texts, every=2).losses(groups, batch_size=batch_size)
    for group, row in zip(groups, found, strict=True):
        with net.edit(*([ablate(group)] if group else [])):
            expected = slow_losses(model, texts, places=slice(None, None, 2))
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_some_positions_of_all():
    model, texts = tiny("llama"), [row.numpy() for row in ids(3, 9)]
    found = losses(nissl.load(model), texts, every=3, progress=False)
    np.testing.assert_allclose(
        found, slow_losses(model, texts, places=slice(None, None, 3)), atol=1e-5
    )


def test_a_long_text_is_predicted_window_by_window():
    model, text = tiny("llama"), ids(1, 20)[0].numpy()
    found = losses(nissl.load(model), [text], window=8, progress=False)
    parts = slow_losses(model, [text[:8], text[8:16], text[16:]])
    assert found[0] == pytest.approx(np.average(parts, weights=[7, 7, 3]), abs=1e-5)


def test_edits_are_seen_and_restored():
    model, texts = tiny("llama"), [row.numpy() for row in ids(3, 9)]
    net = nissl.load(model)
    before = losses(net, texts, progress=False)
    with net.edit(ablate(sites="blocks.1.mlp.neurons")):
        during = losses(net, texts, progress=False)
        np.testing.assert_allclose(during, slow_losses(model, texts), atol=1e-5)
    assert (during != before).all()
    np.testing.assert_allclose(losses(net, texts, progress=False), before)


def test_bad_input_is_refused():
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="no token that could be predicted"):
        losses(net, [[1]], progress=False)
    with pytest.raises(NisslError, match="every=0"):
        losses(net, [[1, 2]], every=0, progress=False)
