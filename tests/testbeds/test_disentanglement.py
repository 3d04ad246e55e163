"""Disentanglement: attributes in known subspaces, entangled ones, and exchanges by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.errors import TooFewSamples
from nissl.network import LinearDictionary
from nissl.testbeds import disentanglement, mdas

N, WIDTH, VALUES = 120, 16, 3


class Facts(nn.Module):
    """Reads an entity and a question; answers from what the entity's vector has in a subspace."""

    def __init__(self, entangled):
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=drawn))[0]
        self.a, self.b, rest = basis[:3], basis[3:6], basis[6:]
        one, other = torch.arange(N) % VALUES, torch.arange(N) // VALUES % VALUES
        if entangled:  # one subspace holds both, each answer of the one with one of the other
            self.b, other = self.a, one
        self.values = torch.stack([one, other], 1)
        noise = 3 * torch.randn(N, len(rest), generator=drawn) @ rest
        vectors = noise + self.a[one] + (0 if entangled else 1) * self.b[other]
        self.rep = nn.Identity()
        self.vectors = nn.Parameter(torch.cat([vectors, torch.zeros(2, WIDTH)]))

    def forward(self, input_ids):
        entity = self.rep(self.vectors[input_ids])[:, -2]
        both = torch.stack([entity @ self.a.T, entity @ self.b.T], 1)
        asked = input_ids[:, -1] - N
        said = torch.full((len(entity), N + 2 + 2 * VALUES), -9.0)
        rows, first = torch.arange(len(entity)), N + 2 + VALUES * asked
        for value in range(VALUES):
            said = said.index_put((rows, first + value), 9 * both[rows, asked, value])
        logits = said[:, None].expand(-1, input_ids.shape[1], -1)
        return type("Output", (), {"logits": logits})


def planted(entangled=False):
    model = Facts(entangled)
    rows = [
        ([e, N + q], [int(N + 2 + VALUES * q + model.values[e, q])], "ab"[q], e)
        for e in range(N)
        for q in (0, 1)
    ]
    items = pd.DataFrame(rows, columns=["text", "answer", "attribute", "entity"])
    half = items["entity"] // 2 % 2 == 0
    return nissl.load(model), items[half], items[~half]


def score(net, items, **features):
    found = disentanglement(net, items, features, site="rep", n_pairs=60)
    return found.set_index("attribute")


def components(net, n=3):
    x = net.model.vectors.detach()[:N]
    return torch.linalg.svd(x - x.mean(0)).Vh[:n]


def test_mdas_finds_planted_subspaces_and_pca_and_random_ones_do_not():
    net, learn, test = planted()
    how = {"site": "rep", "rank": 4, "steps": 200}
    found = {name: mdas(net, learn, name, **how) for name in "ab"}
    known = score(net, test, a=net.model.a, b=net.model.b)
    assert (known[["cause", "isolation"]] == 1).all(None)
    learned = score(net, test, **found)
    assert learned["score"].min() > 0.95
    drawn = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    for other in (components(net), drawn):
        assert score(net, test, a=other, b=other)["score"].max() < 0.7
    swapped = score(net, test, a=net.model.b, b=net.model.a)
    assert (swapped["score"] == 0).all()


def test_nothing_is_found_where_one_subspace_holds_both():
    net, learn, test = planted(entangled=True)
    found = mdas(net, learn, "a", site="rep", rank=3, steps=100)
    assert score(net, test, a=found)["score"].max() < 0.6
    assert score(net, test, a=torch.eye(WIDTH)).loc["a"].tolist() == [1, 0, 0.5]


def test_a_dictionary_of_the_subspace_is_the_subspace_and_an_exchange_by_hand():
    net, _, test = planted()
    drawn = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(2))
    basis = torch.linalg.qr(torch.cat([net.model.a[:2], drawn]).T)[0].T
    none = torch.zeros(len(basis))
    whole = LinearDictionary("rep", basis.T, none, basis, torch.ones(WIDTH), nn.Identity())
    chosen = [0, 1, 4]
    pd.testing.assert_frame_equal(
        score(net, test, a=basis[chosen]), score(net, test, a=(whole, chosen))
    )

    base, other = test.iloc[0], test.iloc[6]
    model = net.model
    x, source = (model.vectors.detach()[[e["entity"], N]] for e in (base, other))
    change = torch.zeros(WIDTH)
    for row in basis[chosen]:
        change += (source[0] @ row - x[0] @ row) * row
    hook = model.rep.register_forward_hook(lambda m, i, o: o + torch.stack([change, 0 * change]))
    by_hand = model(torch.tensor([base["text"]])).logits[:, -1]
    hook.remove()
    pairs = disentanglement.__globals__["_Pairs"](net, test, "rep", -2, "a")
    got = pairs.logits(np.array([0]), np.array([6]), (whole, chosen))
    assert torch.allclose(got, by_hand, atol=1e-4)


def test_what_cannot_be_is_said():
    net, learn, _ = planted()
    with pytest.raises(NisslError, match="no attribute is called"):
        score(net, learn, c=net.model.a)
    with pytest.raises(NisslError, match="one attribute"):
        score(net, learn[learn["attribute"] == "a"], a=net.model.a)
    with pytest.raises(TooFewSamples, match="no two entities"):
        score(net, learn.iloc[:2], a=net.model.a)
    with pytest.raises(NisslError, match="entity"):
        score(net, learn.drop(columns="entity"), a=net.model.a)
