"""Inputs that drive units most: planted optima are found, and what has none is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import scale
from nissl.network.gradients import Ascent, synthesise

SIZE = 16


def cosine(a, b):
    a, b = np.ravel(a), np.ravel(b)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def gabors():
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
    along = (x * np.cos(t) + y * np.sin(t) for t in (0, 1))
    window = np.exp(-(x**2 + y**2) / 18)
    return np.stack([window * np.cos(1.2 * u + 0.5) for u in along]).astype(np.float32)


def gabor_net(transform=None):
    conv = nn.Conv2d(1, 2, SIZE, bias=False)
    conv.weight.data = torch.tensor(gabors())[:, None]
    return nissl.load(nn.Sequential(conv, nn.ReLU()), transform=transform)


def linear_net(n=20, units=3):
    torch.manual_seed(0)
    return nissl.load(nn.Sequential(nn.Linear(n, units)))


def found(net, objective, start, *, generator=None, natural=None, seed=0, **how):
    more = {"generator": generator, "natural": natural, "seed": seed, "progress": False}
    return net.synthesise(objective, start=start, ascent=Ascent(**how), **more)


def test_a_linear_unit_is_driven_most_by_its_weights():
    net = linear_net()
    weights = net.model[0].weight.detach().numpy()
    best = 2 * weights / np.linalg.norm(weights, axis=1, keepdims=True)
    made = found(net, [f"0[{k}]" for k in range(3)], (20,), limit=2.0, natural=torch.randn(9, 20))
    np.testing.assert_allclose(made.stimuli, best, atol=1e-3)
    with torch.no_grad():
        reached = net.model(torch.tensor(made.stimuli)).diagonal().numpy()
    np.testing.assert_allclose(made.activity, reached, rtol=1e-6)
    assert made.trace.shape == (200, 3)
    assert (made.activity > made.random).all()
    direction = found(net, ("0", [0, 2.0, 0]), (20,), limit=2.0)
    np.testing.assert_allclose(direction.stimuli[0], best[1], atol=1e-3)
    np.testing.assert_allclose(direction.activity, 2 * made.activity[1:2], rtol=1e-3)


@pytest.mark.parametrize("generator", [None, "fourier"])
def test_a_planted_gabor_is_found_in_pixels_and_in_frequencies(generator):
    made = found(gabor_net(), ["1[0]", "1[1]"], (1, SIZE, SIZE), generator=generator, steps=80)
    for stimulus, gabor in zip(made.stimuli, gabors(), strict=True):
        assert cosine(stimulus, gabor) > 0.95
    # A place of a larger map: the filter, there.
    where = ("0", lambda x: x[4, 2, 0])
    large = found(gabor_net(), where, (1, 24, 24), generator=generator, steps=80)
    assert cosine(large.stimuli[0, 0, 4:20, 2:18], gabors()[0]) > 0.95
    assert np.abs(large.stimuli[0, 0, :4]).max() < 0.1 * np.abs(large.stimuli).max()


def test_jitter_widens_what_is_found_and_keeps_the_limit():
    made = found(gabor_net(), "1[0]", (1, SIZE, SIZE), limit=3.0, jitter=3, steps=20)
    assert 2.5 < np.linalg.norm(made.stimuli) < 3.0001
    assert len(set(np.diff(made.trace[:, 0]) > 0)) == 2  # another shift at each step


def test_a_range_holds_and_is_that_of_the_transform():
    made = found(gabor_net(), "1[0]", (1, SIZE, SIZE), limit=(-1, 3), steps=300)
    assert made.stimuli.min() >= -1
    assert made.stimuli.max() <= 3
    strong = np.abs(gabors()[0]) > 0.05
    np.testing.assert_allclose(  # the optimum is at a corner
        made.stimuli[0, 0][strong], np.where(gabors()[0] > 0, 3, -1)[strong], atol=0.1
    )
    net = gabor_net(lambda x: torch.as_tensor(x)[:, None].float() / 255 - 0.4)
    seen = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE)).astype(np.uint8)
    made = found(net, "0[0]", (1, SIZE, SIZE), steps=100, natural=seen)
    best = net.run(seen, sites="0")["0"][..., 0].max()
    np.testing.assert_allclose(made.natural, best, rtol=1e-5)
    assert -0.4 <= made.stimuli.min() < -0.3
    assert 0.5 < made.stimuli.max() <= 0.6
    assert max(made.natural, made.random) < made.activity / 2


def test_through_a_generator_the_best_latent_is_found():
    net, mix = linear_net(), torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    made = found(net, "0[0]", (4,), generator=lambda z: z @ mix.T, limit=1.0)
    best = (net.model[0].weight[0] @ mix).detach().numpy()
    np.testing.assert_allclose(made.latents[0], best / np.linalg.norm(best), atol=1e-3)
    np.testing.assert_allclose(made.stimuli[0], mix.numpy() @ made.latents[0], atol=1e-6)
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 20)).train()
    again = [found(net, "0[0]", (4,), generator=module, steps=5).stimuli for _ in "ab"]
    assert again[0].tobytes() == again[1].tobytes()
    assert module.training
    assert module[1].weight.grad is None


def test_series_vectors_and_several_sites():
    torch.manual_seed(0)
    for first in (True, False):
        net = nissl.load(nn.Sequential(nn.GRU(3, 4, batch_first=first)))
        made = found(net, ["0[1]", "0[2]"], (7, 3), natural=torch.randn(5, 5, 3), steps=30)
        assert made.stimuli.shape == (2, 7, 3)
        assert (made.activity > made.trace[0] + 0.2).all()
        assert (made.activity > made.random).all()
    net = nissl.load(nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2)))
    both = (["0", "1"], lambda a: a["0"][1] - a["1"].square().sum())
    made = found(net, both, (5,), steps=100)
    values = net.run(torch.tensor(made.stimuli), sites=["0", "1"])
    value = values["0"][0, 1] - values["1"].square().sum()
    assert made.activity[0] == pytest.approx(float(value), rel=1e-5)


def test_one_objective_from_several_starts():
    start = torch.randn(4, 20).numpy()
    start.flags.writeable = False
    made = found(linear_net(), "0[0]", start, limit=1.0, steps=100)
    assert np.ptp(made.activity) < 1e-3
    assert np.ptp(made.trace[0]) > 0.05
    doubles = np.asfortranarray(start.astype(np.float64))
    assert (
        made.stimuli.tobytes()
        == found(linear_net(), "0[0]", doubles, limit=1.0, steps=100).stimuli.tobytes()
    )


def test_edits_are_seen_and_the_network_is_left_as_it_was():
    net = gabor_net()
    net.model.train()
    net.model[0].weight.grad = torch.ones(2, 1, SIZE, SIZE)
    before = net.weights_hash
    with net.edit(scale("0[0]", by=-1.0)):
        made = found(net, "1[0]", (1, SIZE, SIZE), steps=60)
    assert cosine(made.stimuli, gabors()[0]) < -0.9
    assert net.model.training
    assert (net.model[0].weight.grad == 1).all()
    assert net.weights_hash == before
    with torch.no_grad():
        again = found(net, "1[0]", (1, SIZE, SIZE), steps=60)
    assert cosine(again.stimuli, gabors()[0]) > 0.9


def test_the_same_seed_gives_the_same_bytes():
    how = {"steps": 5, "jitter": 2, "generator": "fourier"}
    one, two, other = (
        found(gabor_net(), "1[0]", (1, 20, 20), seed=seed, **how).stimuli for seed in (3, 3, 4)
    )
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_closed_unit_is_begun_anew_and_a_dead_one_refused():
    net = nissl.load(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))
    nn.init.constant_(net.model[0].bias, -0.5)
    nn.init.constant_(net.model[0].weight, 0.5)
    made = found(net, "1[0]", -np.ones((1, 4)), limit=2.0)
    assert made.activity[0] == pytest.approx(1.5, rel=1e-3)
    nn.init.constant_(net.model[0].bias, -50.0)
    with pytest.raises(NisslError, match="gradient is zero"):
        found(net, "1[0]", (4,), steps=5)


def test_the_figure_shows_images_and_curves():
    made = found(gabor_net(), ["1[0]", "1[1]"], (1, SIZE, SIZE), steps=3)
    assert len(made.plot().axes) == 3
    assert len(found(linear_net(), "0[0]", (20,), steps=3, natural=torch.randn(2, 20)).plot().axes)


@pytest.mark.parametrize(
    ("objective", "start", "how", "match"),
    [
        ("0[7]", (20,), {}, "3 units"),
        ("9[0]", (20,), {}, "9"),
        ("0", (20,), {}, "not the address of a unit"),
        (("0", [1, 2]), (20,), {}, "3 units"),
        (("*", [1, 2, 3]), (20,), {}, "site"),
        (("0", lambda x: x), (20,), {}, "no number"),
        (("0", lambda x: x.detach().sum()), (20,), {}, "no gradient"),
        (("0", lambda x: x.sum() / 0), (20,), {}, "not finite"),
        (3, (20,), {}, "no objective"),
        ([], (20,), {}, "no inputs"),
        (["0[0]", "0[1]"], np.zeros((3, 20)), {}, "2 objectives for 3"),
        ("0[0]", (), {}, "no inputs"),
        ("0[0]", (0,), {}, "no inputs"),
        ("0[0]", np.zeros(20), {}, "no inputs"),
        ("0[0]", np.full((1, 20), np.nan), {}, "not finite"),
        ("0[0]", [["a"]], {}, "no array"),
        ("0[0]", (7,), {}, "failed on its inputs"),
        ("0[0]", (20,), {"steps": 0}, "steps"),
        ("0[0]", (20,), {"steps": 2.5}, "steps"),
        ("0[0]", (20,), {"rate": 0}, "rate"),
        ("0[0]", (20,), {"jitter": -1}, "jitter"),
        ("0[0]", (20,), {"jitter": 1}, "jitter moves images"),
        ("0[0]", (20,), {"limit": -1.0}, "limit"),
        ("0[0]", (20,), {"limit": np.nan}, "finite|limit"),
        ("0[0]", (20,), {"limit": 0}, "limit"),
        ("0[0]", (20,), {"limit": (1, 1)}, "limit"),
        ("0[0]", (20,), {"limit": (0, 1, 2)}, "limit"),
        ("0[0]", (20,), {"generator": "fourier"}, "frequencies"),
        ("0[0]", (20,), {"generator": "wavelets"}, "generator"),
        ("0[0]", (20,), {"natural": np.zeros((0, 20))}, "nothing to read"),
    ],
)
def test_refused(objective, start, how, match):
    with pytest.raises(NisslError, match=match):
        found(linear_net(), objective, start, **how)


class Reader(nn.Sequential):
    def get_input_embeddings(self):
        return self[0]


def test_tokens_are_refused():
    net = nissl.load(Reader(nn.Embedding(5, 3), nn.Linear(3, 2)))
    with pytest.raises(NisslError, match="tokens"):
        synthesise(net, "1[0]", start=torch.ones(1, 4, dtype=torch.long), progress=False)
    with pytest.raises(NisslError, match="failed on its inputs"):
        found(nissl.load(nn.Sequential(nn.Embedding(5, 3))), "0[0]", (4,))
