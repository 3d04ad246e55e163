"""Local interaction basis: planted blocks are found where PCA cannot, and none in random nets."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.features import local_interaction_basis

N, WIDTH = 600, 12


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed, width=WIDTH):
    return torch.linalg.qr(drawn(width, width, seed=seed))[0]


def planted(blocks):
    """Return a layer of blocks that do not interact, hidden by rotations, and its input."""
    into, out = rotation(1), rotation(2)
    mask = torch.block_diag(*[torch.ones(blocks, blocks)] * (WIDTH // blocks)).double()
    w = drawn(WIDTH, WIDTH, seed=3) * mask * (1 + torch.arange(WIDTH).double())[:, None]
    return [lambda x: torch.relu(x @ into @ w.T) @ out], drawn(N, WIDTH, seed=4)


def share(edges, kept=0.99):
    """Return the share of edges that hold nearly all of the interactions."""
    held = edges.flatten().sort(descending=True)[0].cumsum(0) / edges.sum()
    return float((held < kept).double().mean())


def test_planted_blocks_are_found_and_pca_does_not_find_them():
    parts, x = planted(3)
    (first, last), (edges,) = local_interaction_basis(parts, x)
    _, (pca,) = local_interaction_basis(parts, x, rotate=False)
    assert share(edges) < 0.35  # blocks are a quarter of all edges
    assert share(pca) > 0.6
    of_block = (rotation(1).T @ first.w_enc).square().unflatten(0, (4, 3)).sum(1)
    assert float((of_block.max(0)[0] / of_block.sum(0)).mean()) > 0.9
    assert (first.n_features, last.n_features) == (WIDTH, WIDTH)


def test_in_a_random_network_nothing_is_sparser_than_in_pca():
    w, p = drawn(200, WIDTH, seed=5), drawn(200, WIDTH, seed=6)
    parts, x = [lambda x: torch.sin(4 * x @ w.T) @ p], drawn(N, WIDTH, seed=4)
    shares = [share(local_interaction_basis(parts, x, rotate=r)[1][0]) for r in (True, False)]
    assert shares[0] > shares[1] - 0.05


def test_it_is_the_slow_obvious_form():
    parts, x = planted(4)
    (first, last), (edges,) = local_interaction_basis(parts, x)
    centred = x - x.mean(0)
    half = torch.linalg.cholesky(torch.linalg.inv(centred.T @ centred / N))  # whitens, but turned
    jacobians = torch.func.vmap(torch.func.jacrev(lambda r: last.encode(parts[0](r))))(x)
    white = jacobians @ torch.linalg.inv(half).T
    squared, turned = torch.linalg.eigh((white.mT @ white).mean(0))
    enc = half @ turned.flip(-1) * squared.flip(-1).sqrt()
    features, wanted = first.encode(x), centred @ enc
    assert torch.allclose(features.abs(), wanted.abs(), rtol=1e-6, atol=1e-9)
    assert torch.allclose(first.decode(features), x)

    def onward(f):
        return last.encode(parts[0](first.decode(f)))

    slow = torch.func.vmap(torch.func.jacrev(onward))
    mean = sum(slow(at * features) for at in (0.1, 0.3, 0.5, 0.7, 0.9)) / 5
    assert torch.allclose(edges, (mean * features[:, None]).square().mean(0))
    brought = (mean * features[:, None]).sum(-1)  # all parts together are the change from the mean
    change = onward(features) - onward(0 * features)
    assert float((brought - change).norm() / change.norm()) < 0.1


def test_what_does_not_matter_is_dropped():
    turn, w = rotation(1), drawn(5, 4, seed=3)
    parts = [lambda x: torch.tanh((x @ turn)[:, :4] @ w.T), lambda x: x[:, :2].square()]
    x = drawn(N, WIDTH, seed=4)
    basis, edges = local_interaction_basis(parts, x, sites=["a", "b", "c"])
    assert [d.site_in for d in basis] == ["a", "b", "c"]
    assert [d.n_features for d in basis] == [2, 2, 2]  # two of five matter in the end
    assert [tuple(e.shape) for e in edges] == [(2, 2), (2, 2)]
    read = turn[:, :4]
    assert torch.allclose(read @ read.T @ basis[0].w_enc, basis[0].w_enc)
    pca, _ = local_interaction_basis(parts, x, rotate=False)
    assert [d.n_features for d in pca] == [WIDTH, 5, 2]


def test_a_basis_is_a_site_of_a_network():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)
    ).eval()
    x = torch.randn(50, 5)
    hidden = model[1](model[0](x)).detach()
    basis, _ = local_interaction_basis([model[2]], hidden, sites=["1", "2"])
    net = nissl.load(model).with_dictionary(basis[0])
    assert torch.allclose(net.run(x, sites="1.lib")["1.lib"], basis[0].encode(hidden), atol=1e-5)


def test_what_cannot_be_is_said():
    with pytest.raises(NisslError, match="0 parts"):
        local_interaction_basis([], drawn(5, 3))
    with pytest.raises(NisslError, match="does not vary"):
        local_interaction_basis([torch.relu], torch.ones(5, 3))
    with pytest.raises(NisslError, match="does not matter"):
        local_interaction_basis([lambda x: 0 * x], drawn(5, 3))
    with pytest.raises(NisslError, match="not finite"):
        local_interaction_basis([torch.relu], drawn(5, 3) * torch.nan)
