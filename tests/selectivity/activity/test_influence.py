"""Influence against finite differences; states between 0 and 1."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.selectivity import activation_states, influence
from nissl.specimens import Images
from tiny import inputs, tiny

SITES = ["relu", "last", "head:in"]


def divergence(model, images):
    """KL(u || p) of each image."""
    p = model(images).softmax(-1)
    return ((1 / 3) * ((1 / 3) / p).log()).sum(-1)


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("conv"))


@pytest.fixture(scope="module")
def images():
    return inputs("conv", batch=7)


def test_against_moving_each_channel_a_little(net, images):
    rec = influence(net, images, sites=["norm", "conv2"], batch_size=3, progress=False)
    assert rec.shape == (7, 8)
    for site in ("norm", "conv2"):
        module = net.model.get_submodule(site)
        for channel in range(4):
            seen, changes = [], []
            for move in (-1e-5, 1e-5):

                def moved(module, given, out, move=move, channel=channel, seen=seen):
                    seen.append(out[:, channel].mean((-2, -1)))
                    out = out.clone()
                    out[:, channel] += move
                    return out

                with torch.no_grad(), module.register_forward_hook(moved):
                    changes.append(divergence(net.model, images))
            slope = (changes[1] - changes[0]) / 2e-5
            expected = (seen[0] * slope).numpy()
            assert np.allclose(rec.sel(unit=f"{site}[{channel}]"), expected, rtol=1e-3, atol=1e-6)


def test_labels_are_put_back(net):
    pixels = np.random.default_rng(0).random((5, 3, 8, 8))
    given = Images(pixels, np.array([0, 1, 1, 0, 1]), ("cat", "dog"), np.zeros(5, bool))
    rec = influence(net, given, sites=SITES, progress=False)
    assert rec.attrs["quantity"] == "attribution"
    assert rec["label"].values.tolist() == ["cat", "dog", "dog", "cat", "dog"]
    assert rec["stimulus"].values.tolist() == list(range(5))
    assert rec["site"].values.tolist() == np.repeat(SITES, 4).tolist()
    assert rec["unit"].values[5] == "last[1]"
    # What the head reads is the mean of the map, so both see the same.
    assert np.allclose(rec[:, 4:8], rec[:, 8:], rtol=1e-4, atol=1e-7)


def test_the_size_of_a_batch_changes_nothing(net, images):
    one, all_at_once = (
        influence(net, images, sites="last", batch_size=size, progress=False) for size in (1, 7)
    )
    assert np.allclose(one, all_at_once, rtol=1e-4, atol=1e-7)


def test_a_unit_that_does_nothing_is_in_the_middle(net, images):
    model = tiny("conv")
    model.norm.weight.data[2], model.norm.bias.data[2] = 0, -1
    rec = influence(nissl.load(model), images, sites="relu", progress=False)
    states = activation_states(rec, alpha=50)
    assert (states[:, 2] == 0.5).all()
    assert states.values.min() >= 0
    assert states.values.max() <= 1
    assert (np.argsort(states[:, 0]) == np.argsort(rec[:, 0])).all()


def test_each_site_has_its_steepness(net, images):
    rec = influence(net, images, sites=SITES, progress=False)
    states = activation_states(rec, alpha={"relu": 2, "last": 30, "head:in": 0.1})
    steep = np.repeat([2, 30, 0.1], 4)
    assert np.allclose(states, 1 / (1 + np.exp(-rec.values * steep)), atol=1e-6)
    assert states.attrs["quantity"] == "activity"


def test_what_cannot_be_is_refused(net, images):
    rec = influence(net, images, sites=SITES, progress=False)
    for alpha in (0, -1, np.nan):
        with pytest.raises(NisslError, match="not above 0"):
            activation_states(rec, alpha=alpha)
    with pytest.raises(NisslError, match="give alpha= for 'last' as well"):
        activation_states(rec, alpha={"relu": 1})
    with pytest.raises(NisslError, match="not a row of classes"):
        influence(nissl.load(nn.Conv2d(3, 2, 3)), images.float(), sites="", progress=False)
    with pytest.raises(NisslError, match="texts are not inputs"):
        influence(nissl.load(tiny("gpt2")), [[1, 2, 3]], sites="mlp.neurons", progress=False)
    broken = tiny("conv")
    broken.head.weight.data[1, 2] = torch.nan
    with pytest.raises(NisslError, match="not finite"):
        influence(nissl.load(broken), images, sites="last", progress=False)
