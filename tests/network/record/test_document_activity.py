"""Summaries of documents against a slow pass that deactivates units one by one."""

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import document_activity
from tiny import ids, tiny

LENGTHS = [9, 5, 7]


@pytest.fixture
def texts():
    rows = [row[:n].tolist() for row, n in zip(ids(3, 9), LENGTHS, strict=True)]
    return pd.DataFrame({"text": rows, "language": ["thai", "french", "thai"]})


def slow(net, text, site, gate, unit):
    """Open share, mean size and impact of one unit on one document, from its tensors."""
    with torch.no_grad():
        out = net.run([text], sites=[s for s in (site, gate) if s])
    neurons = out[site][0, 1:]
    opened = (out[gate][0, 1:, unit] if gate else neurons[:, unit]) > 0
    weights = net.output_weights(site)
    whole, without = neurons @ weights, neurons.clone()
    without[:, unit] = 0
    change = (whole - without @ weights).norm() / whole.norm()
    return float(opened.double().mean()), float(neurons[:, unit].abs().mean()), float(change)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2"])
def test_summaries_are_those_of_a_slow_pass(name, texts):
    net = nissl.load(tiny(name))
    made = document_activity(net, texts, batch_size=2, progress=False)
    gated = name != "gpt2"
    for document, text in enumerate(texts["text"]):
        for layer, unit in ((0, 3), (2, 11)):
            site = f"blocks.{layer}.mlp.neurons"
            expected = slow(net, text, site, f"blocks.{layer}.mlp.gate" if gated else "", unit)
            at = np.flatnonzero(made["open"]["unit"].values == f"{site}[{unit}]")[0]
            got = [made[key].values[document, at] for key in ("open", "size", "impact")]
            np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_labels_tokens_and_units_come_along(texts):
    net = nissl.load(tiny("llama"))
    rec = document_activity(net, texts, progress=False)["open"]
    assert rec["language"].values.tolist() == ["thai", "french", "thai"]
    assert rec["n_tokens"].values.tolist() == [n - 1 for n in LENGTHS]
    assert rec.shape == (3, 72)
    assert rec["layer"].values[[0, -1]].tolist() == [0, 2]


def test_windows_of_a_document_are_summed(texts):
    net = nissl.load(tiny("llama"))
    text = texts["text"][0]
    made = document_activity(net, [text], window=4, progress=False)
    parts = document_activity(net, [text[:4], text[4:8], text[8:] * 2], progress=False)
    # The last window has one token, which is its first: it counts for nothing.
    np.testing.assert_allclose(made["open"].values[0], parts["open"].values[:2].mean(0))


def test_a_document_of_one_token_is_refused():
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="no token but its first"):
        document_activity(net, [[5, 6, 7], [5]], progress=False)


def test_sites_without_output_weights_are_refused(texts):
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="no weights are known"):
        document_activity(net, texts, sites="attn.z", progress=False)


def test_images_are_refused():
    with pytest.raises(NisslError, match="documents are of text"):
        document_activity(nissl.load(tiny("llama")), torch.zeros(2, 3, 8, 8), progress=False)
