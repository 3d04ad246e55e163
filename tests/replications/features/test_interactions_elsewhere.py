"""Edges needed: groups of units need fewer than PCA's, networks without them and noise do not."""

import runpy
from pathlib import Path

import pytest
import torch

import nissl
from nissl.training import small_language_model

SCRIPT = Path(__file__).parents[3] / "replications/features/interactions_elsewhere.py"
WIDTH, N = 24, 200


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def layers(groups):
    """Two hidden layers whose units fall into groups, hidden by rotations, and their activity."""
    drawn = torch.Generator().manual_seed(0)
    turn = [torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=drawn))[0] for _ in range(3)]
    mask = torch.block_diag(*[torch.ones(WIDTH // groups, WIDTH // groups)] * groups)
    scales = 1 + torch.arange(WIDTH)[:, None] / WIDTH
    w = [torch.randn(WIDTH, WIDTH, generator=drawn) * mask * scales for _ in range(2)]
    hidden = [lambda x, i=i: torch.relu(x @ turn[i].T @ w[i].T) @ turn[i + 1] for i in range(2)]
    return [*hidden, lambda x: x @ turn[0]], torch.randn(N, WIDTH, generator=drawn)


def test_groups_of_units_need_fewer_edges_and_no_groups_do_not(script):
    ratio, own, other = script["compared"](*layers(8))
    assert ratio < 0.8
    parts, x = layers(8)
    whole = parts[2](parts[1](parts[0](x)))
    for logits in (own, other):
        assert (logits.argmax(1) == whole.argmax(1)).double().mean() >= script["KEPT"]
    assert script["compared"](*layers(1))[0] > ratio + 0.15


def test_the_mlp_of_a_language_model_gives_its_own_logits(script):
    sizes = {"vocabulary": 50, "d_model": 16, "n_layers": 4, "n_heads": 2, "d_mlp": 32}
    net = nissl.load(small_language_model(**sizes), progress=False)
    texts = torch.randint(0, 50, (2, 20), generator=torch.Generator().manual_seed(0)).tolist()
    (mlp,), x, finish = script["of_language"](net, texts)
    whole = net.run(texts, sites="logits")["logits"].flatten(0, 1)
    assert torch.allclose(finish(mlp(x).detach()), whole, atol=1e-5)
    assert not torch.allclose(finish(0 * x), whole, atol=1e-3)
