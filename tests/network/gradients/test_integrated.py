"""Integrated gradients sum to what the metric gained, and are exact where that can be known."""

import itertools

import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import ablate, patch
from nissl.network.gradients import gradients, integrated_gradients
from tiny import CAUSAL, MIXTURES, TRANSFORMERS, ids, inputs, tiny

NEURONS = "blocks.1.mlp.neurons"
PATHS = ("inputs", "site")


def metric(logits):
    logits = getattr(logits, "last_hidden_state", logits)
    weights = torch.linspace(-1, 1, logits.shape[-1], dtype=logits.dtype)
    return (logits.tanh() * weights).sum()


def linear():
    """Two linear layers, whose contributions are known in closed form."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).double()


@pytest.mark.parametrize("path", PATHS)
def test_a_linear_model_in_closed_form(path):
    model = linear()
    x, b = torch.randn(2, 6, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    net = nissl.load(model)
    begin = b if path == "inputs" else model[0](b).detach()
    found = integrated_gradients(
        net, x, sites="0", metric=lambda y: (2 * y).sum(), path=path, baseline=begin, steps=1
    )
    # Every unit's change times the sum of its output weights.
    expected = (model[0](x) - model[0](b)) * 2 * model[1].weight.sum(0)
    torch.testing.assert_close(found["0"], expected.detach())
    assert found["0"].shape == found.values["0"].shape == (2, 6, 5)
    assert abs(found.gap["0"]) < 1e-9


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", [name for name in TRANSFORMERS if name not in MIXTURES])
def test_they_sum_to_what_the_metric_gained(name, path):
    net, x = nissl.load(tiny(name)), inputs(name)
    cut = "blocks.1.resid_post"  # all that the inputs do passes through it
    values = net.run(x, sites=["embed", cut])
    # From near by: norms make a path from zero steep. (A router jumps, and leaves a gap.)
    begin = {site: 0.8 * value for site, value in values.items()}
    few, many = (
        integrated_gradients(
            net, x, sites=cut, metric=metric, path=path, baseline=begin, steps=steps
        )
        for steps in (3, 12)
    )
    gained = float(many.metric - many.baseline[cut])
    assert abs(gained) > 1e-3
    assert abs(many.gap[cut]) < 0.01 * abs(gained)
    assert abs(many.gap[cut]) < abs(few.gap[cut]) / 4  # sixteen times less, far enough on
    torch.testing.assert_close(many.values[cut], values[cut], rtol=0, atol=1e-6)


def test_conductance_equals_a_slow_loop():
    net, x = nissl.load(tiny("gpt2")), ids()
    sites = [NEURONS, "blocks.2.attn.z"]
    embedded = net.run(x, sites="embed")["embed"]
    found = integrated_gradients(net, x, sites=sites, metric=metric, steps=5)
    for site in sites:
        total, points = 0.0, []
        for step in range(6):
            with net.edit(patch({"embed": embedded * step / 5})):
                points.append(gradients(net, x, sites=site, metric=metric))
        for a, b in itertools.pairwise(points):
            total = total + (a[site] + b[site]) / 2 * (b.values[site] - a.values[site])
        torch.testing.assert_close(found[site], total)
        torch.testing.assert_close(found.baseline[site], points[0].metric)
    torch.testing.assert_close(found.metric, points[-1].metric)


@pytest.mark.parametrize("name", CAUSAL)
def test_along_the_site_equals_a_slow_loop(name):
    net, x = nissl.load(tiny(name)), ids()
    sites = ["blocks.0.attn.v", NEURONS.replace("1", "2")]
    sites = [site for site in sites if site in net.named_sites]
    found = integrated_gradients(net, x, sites=sites, metric=metric, path="site", steps=4)
    for site in sites:
        values, slope = net.run(x, sites=site)[site], 0.0
        for step, weight in zip(range(5), (0.5, 1, 1, 1, 0.5), strict=True):
            with net.edit(patch({site: values * step / 4})):
                slope = slope + weight * gradients(net, x, sites=site, metric=metric)[site]
        torch.testing.assert_close(found[site], values * slope / 4, rtol=1e-6, atol=1e-9)
        with net.edit(ablate(sites=site)):
            silent = metric(net.model(x).logits)
        torch.testing.assert_close(found.baseline[site], silent.detach())


def test_one_position_alone_can_move():
    net, x = nissl.load(tiny("llama")), ids()
    begin = net.run(x, sites=NEURONS)[NEURONS]
    begin[:, -1] = 0
    found = integrated_gradients(
        net, x, sites=NEURONS, metric=metric, path="site", baseline=begin, steps=32
    )
    assert not found[NEURONS][:, :-1].any()
    assert found[NEURONS][:, -1].all()
    assert abs(found.gap[NEURONS]) < 0.01 * abs(float(found.metric - found.baseline[NEURONS]))


@pytest.mark.parametrize("path", PATHS)
def test_positions_before_the_first_that_moves_are_not_needed(path):
    net, sites = nissl.load(tiny("llama")), [NEURONS, "blocks.0.mlp.neurons"]
    texts, begin = [[5, 6, 7, 8], [9, 10, 11]], {}
    for site in ("embed", *sites):
        begin[site] = net.run(texts, sites=site, padding="left")[site]
        begin[site][:, -1] = 0
    options = {"sites": sites, "path": path, "steps": 3, "padding": "left"}

    def last(logits):
        return metric(logits[:, -1:])

    baseline = begin["embed"] if path == "inputs" else begin
    whole = integrated_gradients(net, texts, metric=last, baseline=baseline, **options)
    short = integrated_gradients(net, texts, metric=last, from_position=-1, **options)
    for site in sites:
        assert short[site].shape[1] == 1
        torch.testing.assert_close(short[site], whole[site][:, -1:], rtol=0, atol=1e-9)
        torch.testing.assert_close(short.baseline[site], whole.baseline[site])
    torch.testing.assert_close(short.metric, whole.metric)


def test_padding_items_and_edits():
    net = nissl.load(tiny("llama"))
    texts = [[5, 6, 7, 8], [9, 10]]
    for path in PATHS:
        for padding in ("left", "right"):

            def last(logits, padding=padding):
                ends = [3, 1] if padding == "right" else [3, 3]
                return metric(torch.stack([logits[0, ends[0]], logits[1, ends[1]]]))

            both = integrated_gradients(
                net, texts, sites=NEURONS, metric=last, path=path, padding=padding, steps=3
            )
            row = both[NEURONS][1][:2] if padding == "right" else both[NEURONS][1][2:]
            alone = integrated_gradients(
                net,
                texts[1:],
                sites=NEURONS,
                metric=lambda y: metric(y[:, -1]),
                path=path,
                steps=3,
            )
            torch.testing.assert_close(row, alone[NEURONS][0], rtol=0, atol=1e-9)
        for unit in ("blocks.0.mlp.neurons[3]", f"{NEURONS}[3]"):
            with net.edit(ablate(unit)):
                edited = integrated_gradients(
                    net,
                    ids(),
                    sites=[NEURONS, "blocks.0.mlp.neurons"],
                    metric=metric,
                    path=path,
                    steps=3,
                )
            site = unit.removesuffix("[3]")
            assert not edited[site][..., 3].any()
            assert edited[site].abs().sum() > 0


def test_images_move_from_black():
    net, x = nissl.load(tiny("conv")), inputs("conv")
    found = integrated_gradients(net, x, sites=["norm", ":in"], metric=metric, steps=50)
    for site in ("norm", ":in"):
        gained = float(found.metric - found.baseline[site])
        assert abs(found.gap[site]) < 0.02 * abs(gained)


def test_what_cannot_be_integrated():
    net, x = nissl.load(tiny("llama")), ids()

    def ask(**options):
        return integrated_gradients(net, x, metric=metric, **{"sites": NEURONS, **options})

    with pytest.raises(NisslError, match="steps=0"):
        ask(steps=0)
    with pytest.raises(NisslError, match="inputs or site"):
        ask(path="input")
    with pytest.raises(NisslError, match="each site moves itself"):
        ask(path="site", start="embed")
    with pytest.raises(NisslError, match="does not broadcast"):
        ask(baseline=torch.zeros(5))
    with pytest.raises(NisslError, match="no baseline is given"):
        ask(path="site", baseline={"blocks.0.mlp.neurons": 0.0})
    with pytest.raises(NisslError, match="never fired"):
        ask(sites="blocks.0.mlp.neurons", start="blocks.2.resid_pre")
    with pytest.raises(NisslError, match="not one number"):
        integrated_gradients(net, x, sites=NEURONS, metric=lambda y: y)
    with pytest.raises(NisslError, match="whole numbers"):
        integrated_gradients(
            nissl.load(nn.Sequential(nn.Embedding(9, 4))), x % 9, sites="0", metric=metric
        )
    steep = nissl.load(nn.Sequential(*[nn.RMSNorm(4, eps=1e-30) for _ in range(3)]))
    with pytest.raises(NisslError, match="gradient is not finite at step 1"):
        integrated_gradients(steep, torch.ones(1, 4), sites=":in", metric=lambda y: y.sum())
    recurrent = nissl.load(tiny("repeated"))
    with pytest.raises(NisslError, match="several times"):
        integrated_gradients(
            recurrent, inputs("repeated"), sites="cell", path="site", metric=metric
        )
    along = integrated_gradients(recurrent, inputs("repeated"), sites="cell", metric=metric)
    assert along["cell"].shape == (2, 5, 8)
