"""Spectra: all eigenvectors give the layer, planted low rank is seen, an image moves answers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parents[3] / "replications/features/bilinear_spectra.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def model(script):
    torch.manual_seed(0)
    return script["BilinearMLP"](20, 60, 4)


def read(model):
    return [w.detach() for w in model.parameters()]


def test_all_eigenvectors_give_the_logits_in_whatever_order(script, model):
    x = torch.randn(50, 20)
    for order in (None, torch.randperm(20)):
        logits = script["by_rank"](read(model), x, order)[..., -1]
        assert torch.allclose(logits, model(x), atol=1e-5)


def test_low_rank_is_seen_where_it_is_and_not_in_shuffled_weights(script):
    torch.manual_seed(1)
    rows = torch.randn(8, 20)  # two squares for each of four outputs
    planted = [rows, rows, torch.eye(4).repeat(1, 2)]
    x = torch.randn(2000, 20)
    assert script["agreement"](planted, x)[1] > 0.999
    random = [torch.randn(60, 20), torch.randn(60, 20), torch.randn(4, 60)]
    low = script["agreement"](script["shuffled"](random, np.random.default_rng(0)), x)
    assert low[1] < 0.7
    assert low[-1] == 1


def test_the_adversarial_image_moves_answers_and_noise_does_not(script, model):
    x, weights = torch.randn(500, 20), read(model)
    labels = model(x).argmax(1)
    image = script["adversarial"](weights, 2)
    noise = torch.nn.functional.normalize(torch.randn(20), dim=0)
    hit, missed = (script["moved"](model, x, labels, 10 * e, 2) for e in (image, noise))
    assert hit[1] > 0.9
    assert missed[1] < 0.6
    assert script["moved"](model, x, labels, 0 * image, 2).tolist() == [1, 0]
