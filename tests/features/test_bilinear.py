"""Bilinear layers: the tensor is the layer, planted eigenvectors are found, random are many."""

import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.features import bilinear_tensor, eigenfeatures
from nissl.network import Dictionary

WIDTH, HIDDEN, OUT = 30, 80, 4


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def layer():
    return drawn(HIDDEN, WIDTH), drawn(HIDDEN, WIDTH, seed=1), drawn(OUT, HIDDEN, seed=2)


def applied(layer, x):
    w, v, p = layer
    return ((x @ w.T) * (x @ v.T)) @ p.T


def test_the_tensor_is_the_layer(layer):
    x = drawn(100, WIDTH, seed=3)
    tensor = bilinear_tensor(*layer)
    assert torch.equal(tensor, tensor.mT)
    assert torch.allclose(torch.einsum("oij,ni,nj->no", tensor, x, x), applied(layer, x), rtol=1e-9)
    w, v, p = layer
    slow = sum(p[2, h] * w[h, 5] * v[h, 7] + p[2, h] * w[h, 7] * v[h, 5] for h in range(HIDDEN)) / 2
    assert float(tensor[2, 5, 7]) == pytest.approx(float(slow))


def test_a_bias_is_one_more_input(layer):
    w, v, p = layer
    b, c, x = drawn(HIDDEN, seed=4), drawn(HIDDEN, seed=5), drawn(50, WIDTH, seed=6)
    tensor = bilinear_tensor(torch.cat([w, b[:, None]], 1), torch.cat([v, c[:, None]], 1), p)
    one = torch.cat([x, torch.ones(50, 1, dtype=x.dtype)], 1)
    wanted = ((x @ w.T + b) * (x @ v.T + c)) @ p.T
    assert torch.allclose(torch.einsum("oij,ni,nj->no", tensor, one, one), wanted)


def test_all_eigenfeatures_decode_to_the_output(layer):
    x = drawn(100, WIDTH, seed=3)
    found = eigenfeatures(*layer)
    assert isinstance(found, Dictionary)
    assert torch.allclose(found.decode(found.encode(x)), applied(layer, x))
    along = eigenfeatures(*layer, directions=2 * torch.eye(OUT)[1:2])
    wanted = applied(layer, x) * torch.eye(OUT)[1]
    assert torch.allclose(along.decode(along.encode(x)), wanted)
    norms = found.directions.norm(dim=1).unflatten(0, (OUT, WIDTH))
    assert bool((norms.diff(dim=1) <= 0).all())


def as_layer(values, vectors):
    """Write x @ (vectors @ diag(values) @ vectors.T) @ x in neurons that each mix all of it."""
    mixed = torch.linalg.qr(drawn(len(values), len(values), seed=8))[0]
    w = mixed @ vectors.T  # the product of two mixed readings has cross terms: neurons in pairs
    m = mixed @ torch.diag(values) @ mixed.T
    left = w.repeat_interleave(len(w), 0)
    return left, w.repeat(len(w), 1), m.flatten()[None]


def share(layer, n):
    squared = torch.linalg.eigvalsh(bilinear_tensor(*layer)[0]).square().sort(descending=True)[0]
    return float(squared[:n].sum() / squared.sum())


def test_planted_eigenvectors_are_found_and_a_random_layer_has_no_few(layer):
    values = torch.tensor([5.0, -4.0, 2.0], dtype=torch.float64)
    vectors = torch.linalg.qr(drawn(WIDTH, 3, seed=7))[0]
    planted = as_layer(values, vectors)
    found = eigenfeatures(*planted, n=3)
    assert torch.allclose(found.directions[:, 0], values)
    assert torch.allclose((found.w_enc * vectors).sum(0).abs(), torch.ones(3, dtype=torch.float64))
    x = drawn(100, WIDTH, seed=3)
    assert torch.allclose(found.decode(found.encode(x)), applied(planted, x))
    assert share(planted, 3) > 1 - 1e-9
    assert share(layer, 3) < 0.5


def test_the_eigenvector_of_the_largest_eigenvalue_writes_more_than_any_other_input(layer):
    contrast = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64)
    found = eigenfeatures(*layer, directions=contrast[None])
    best = found.w_enc[:, (found.directions @ contrast).argmax()]
    others = nn.functional.normalize(drawn(2000, WIDTH, seed=9), dim=1)
    assert applied(layer, best) @ contrast > (applied(layer, others) @ contrast).max()


def test_eigenfeatures_are_a_site_of_a_network():
    class Bilinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Linear(6, 9, bias=False), nn.Linear(6, 9, bias=False)
            self.before, self.p = nn.Identity(), nn.Linear(9, 2, bias=False)

        def forward(self, x):
            x = self.before(x)
            return self.p(self.w(x) * self.v(x))

    torch.manual_seed(0)
    model = Bilinear().eval()
    weights = [part.weight.detach() for part in (model.w, model.v, model.p)]
    net = nissl.load(model).with_dictionary(eigenfeatures(*weights, sites=("before", "p")))
    x = torch.randn(5, 6)
    plain = model(x).detach()
    with net.edit(nissl.ablate([f"before.eigen[{i}]" for i in range(6)])):
        assert torch.allclose(model(x), plain * torch.tensor([0.0, 1.0]), atol=1e-5)


def test_what_is_no_layer_is_said(layer):
    w, v, p = layer
    with pytest.raises(NisslError, match="no bilinear layer"):
        bilinear_tensor(w, v[:, 1:], p)
    with pytest.raises(NisslError, match="no bilinear layer"):
        eigenfeatures(w, v, p.T)
    with pytest.raises(NisslError, match="not finite"):
        bilinear_tensor(w * torch.nan, v, p)
    with pytest.raises(NisslError, match=r"directions of \(3,\) for 4 outputs"):
        eigenfeatures(w, v, p, directions=torch.ones(3))
