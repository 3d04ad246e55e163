"""Git Re-Basin: planted permutations found, against brute force, and refusals."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nissl import NisslError
from nissl.alignment import StraightThrough, rebasin
from nissl.behaviour import barrier
from nissl.network import symmetries
from nissl.training import Batches
from permutable import MODELS, made, mlp


def loss(model, batch):
    x, y = batch
    return functional.mse_loss(model(x), y.float())


def straight_through(model, x):
    with torch.no_grad():
        y = model(x)
    batches = Batches(x, y, batch_size=len(x) // 2)
    return StraightThrough(loss, batches, steps=3)


def planted(name):
    model, x = made(name)
    found = symmetries(model, x)
    drawn = found.random(seed=5)
    return model, found.permute(model, drawn), x, drawn


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["weights", "activations", "straight_through"])
def test_a_planted_permutation_is_found(name, method):
    a, b, x, drawn = planted(name)
    with torch.no_grad():
        target = a(x)
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in (a, b)]
    how = straight_through(a, x) if method == "straight_through" else method
    found = rebasin(a, b, x, method=how, progress=False)
    for group, p in drawn.items():
        assert np.array_equal(p[found.permutations[group]], np.arange(len(p)))
    assert all(
        torch.equal(v, a.state_dict()[k]) for k, v in found.model.state_dict().items()
    )  # to the bit
    assert torch.allclose(found.model(x), b(x), atol=1e-5)
    for model, state in zip((a, b), states, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    line = barrier(a, found.model, lambda m: functional.mse_loss(m(x), target).detach(), n=5)
    assert line.height < 1e-9
    before = barrier(a, b, lambda m: functional.mse_loss(m(x), target).detach(), n=5)
    assert before.height > 1e-3


@pytest.mark.parametrize("method", ["weights", "activations", "straight_through"])
def test_independent_networks_do_not_become_one(method):
    (a, x), (b, _) = made("mlp"), made("mlp", seed=1)
    how = straight_through(a, x) if method == "straight_through" else method
    found = rebasin(a, b, x, method=how, progress=False)
    assert torch.allclose(found.model(x), b(x), atol=1e-5)
    assert not torch.allclose(found.model[0].weight, a[0].weight, atol=0.05)
    again = rebasin(a, b, x, method=how, progress=False)
    assert all(np.array_equal(p, again.permutations[g]) for g, p in found.permutations.items())
    assert "of 24 units moved" in repr(found)


def agreement(a, b, orders):
    """Return the inner product of weights of two-layer nets, b's units in other orders."""
    one, two = (np.arange(4) if p is None else np.array(p) for p in orders)
    w = [{k: v.detach().double().numpy() for k, v in m.state_dict().items()} for m in (a, b)]
    found = (w[0]["0.weight"] * w[1]["0.weight"][one]).sum()
    found += w[0]["0.bias"] @ w[1]["0.bias"][one]
    if "4.weight" not in w[0]:
        return found + (w[0]["2.weight"] * w[1]["2.weight"][:, one]).sum()
    found += (w[0]["2.weight"] * w[1]["2.weight"][two][:, one]).sum()
    found += w[0]["2.bias"] @ w[1]["2.bias"][two]
    return found + (w[0]["4.weight"] * w[1]["4.weight"][:, two]).sum()


def small(hidden, seed):
    torch.manual_seed(seed)
    inner = [m for _ in range(hidden - 1) for m in (nn.Linear(4, 4), nn.ReLU())]
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), *inner, nn.Linear(4, 2))


def test_of_one_layer_the_best_permutation_is_found():
    for seed in range(10):
        a, b = small(1, seed), small(1, 100 + seed)
        found = rebasin(a, b, torch.zeros(1, 3), progress=False).permutations["0.weight[0]"]
        every = {p: agreement(a, b, (p, None)) for p in permutations(range(4))}
        assert tuple(found) == max(every, key=every.get)


def test_of_two_layers_none_is_better_by_one_group():
    best = 0
    for seed in range(20):
        a, b = small(2, seed), small(2, 100 + seed)
        found = rebasin(a, b, torch.zeros(1, 3), progress=False).permutations
        mine = [tuple(p) for p in found.values()]
        value, every = agreement(a, b, mine), list(permutations(range(4)))
        assert value >= agreement(a, b, (None, None)) - 1e-6
        for p in every:
            assert value >= agreement(a, b, (p, mine[1])) - 1e-4
            assert value >= agreement(a, b, (mine[0], p)) - 1e-4
        best += value >= max(agreement(a, b, pq) for pq in product(every, every)) - 1e-6
    assert best >= 8  # coordinate descent ends in other optima too


def test_weights_that_only_choose_lower_the_loss_midway():
    (a, x), (b, _) = made("mlp"), made("mlp", seed=1)
    y = (a(x) + b(x)).detach() / 2
    how = StraightThrough(loss, lambda step: (x, y), steps=60, learning_rate=0.05)

    def midway(model):
        state = model.state_dict()
        other = {k: (v + state[k]) / 2 for k, v in a.state_dict().items()}
        between = mlp().eval()
        between.load_state_dict(other)
        return float(loss(between, (x, y)).detach())

    found = {
        name: midway(rebasin(a, b, x, method=m, progress=False).model)
        for name, m in {"weights": "weights", "straight": how}.items()
    }
    assert found["straight"] < found["weights"]


def test_only_networks_of_one_architecture():
    (a, x), (b, _) = made("mlp"), made("mlp", seed=1)
    with pytest.raises(NisslError, match=r"'0.weight' of shapes \(12, 6\) and \(13, 6\)"):
        rebasin(a, mlp(13), x)
    with pytest.raises(NisslError, match=r"only the first network has .6\.weight."):
        rebasin(a, b[:6], x)
    b[3] = nn.Tanh()
    with pytest.raises(NisslError, match="gelu in the first where tanh is in the second"):
        rebasin(a, b, x)
    broken, _ = made("mlp")
    broken[0].weight.data[0, 0] = torch.nan
    with pytest.raises(NisslError, match="not finite"):
        rebasin(a, broken, x)
    with pytest.raises(NisslError, match="no method is called 'weight'; did you mean 'weights'"):
        rebasin(a, a, x, method="weight")
    with pytest.raises(NisslError, match="no units of the networks can be permuted"):
        rebasin(nn.Linear(6, 2), nn.Linear(6, 2), x)


def test_what_is_held_fixed_stays():
    a, b, x, drawn = planted("mlp")
    assert set(drawn) == {"0.weight[0]", "2.weight[0]"}
    for fixed in ("2.weight[0]", "2.bias", ["4.*"]):
        found = rebasin(a, b, x, fixed=fixed, progress=False)
        assert set(found.permutations) == {"0.weight[0]"}
