"""Gradient times activation against finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import divergence_from_uniform
from nissl.network.gradients import gradient_times_activation
from nissl.specimens import Images
from tiny import inputs, tiny

SITES = ["relu", "last", "head:in"]


def divergence(model, images):
    """KL(u || p) of each image."""
    p = model(images).softmax(-1)
    return ((1 / 3) * ((1 / 3) / p).log()).sum(-1)


def attributed(net, images, **options):
    """Attributions to the divergence from a uniform guess."""
    options = {"metric": divergence_from_uniform, "progress": False, **options}
    return gradient_times_activation(net, images, **options)


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("conv"))


@pytest.fixture(scope="module")
def images():
    return inputs("conv", batch=7)


def test_against_moving_each_channel_a_little(net, images):
    rec = attributed(net, images, sites=["norm", "conv2"], batch_size=3)
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
    rec = attributed(net, given, sites=SITES)
    assert rec.attrs["quantity"] == "attribution"
    assert rec["label"].values.tolist() == ["cat", "dog", "dog", "cat", "dog"]
    assert rec["stimulus"].values.tolist() == list(range(5))
    assert rec["site"].values.tolist() == np.repeat(SITES, 4).tolist()
    assert rec["unit"].values[5] == "last[1]"
    # What the head reads is the mean of the map, so both see the same.
    assert np.allclose(rec[:, 4:8], rec[:, 8:], rtol=1e-4, atol=1e-7)


def test_the_size_of_a_batch_changes_nothing(net, images):
    one, all_at_once = (attributed(net, images, sites="last", batch_size=size) for size in (1, 7))
    assert np.allclose(one, all_at_once, rtol=1e-4, atol=1e-7)


def test_what_cannot_be_is_refused(images):
    with pytest.raises(NisslError, match="not a row of classes"):
        attributed(nissl.load(nn.Conv2d(3, 2, 3)), images.float(), sites="")
    with pytest.raises(NisslError, match="texts are not inputs"):
        attributed(nissl.load(tiny("gpt2")), [[1, 2, 3]], sites="mlp.neurons")
    broken = tiny("conv")
    broken.head.weight.data[1, 2] = torch.nan
    with pytest.raises(NisslError, match="not finite"):
        attributed(nissl.load(broken), images, sites="last")
