"""Bilinear language models: the tensor replaces the MLP, and does not where a gate bends."""

import runpy
from pathlib import Path

import pytest
import torch

from nissl.training import small_language_model

SCRIPT = Path(__file__).parents[3] / "replications/features/bilinear.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def model(activation):
    sizes = {"vocabulary": 32, "d_model": 16, "n_layers": 2, "n_heads": 2, "d_mlp": 24}
    return small_language_model(activation=activation, initializer_range=0.5, **sizes).double()


def test_the_tensor_is_the_mlp_only_without_a_nonlinearity(script):
    ids = torch.randint(0, 32, (4, 12), generator=torch.Generator().manual_seed(0))
    assert script["largest_error"](model("linear"), ids) < 1e-12
    assert script["largest_error"](model("silu"), ids) > 0.1


def test_a_network_of_tensors_or_of_all_eigenvectors_has_the_same_loss(script):
    ids = torch.randint(0, 32, (4, 12), generator=torch.Generator().manual_seed(0))
    plain = model("linear")
    loss = script["loss_of"](plain, ids)
    for n in (None, 16):
        other = script["rewritten"](plain, n)
        assert script["loss_of"](other, ids) == pytest.approx(loss, rel=1e-10)
    assert abs(script["loss_of"](script["rewritten"](plain, 1), ids) - loss) > 1e-3
