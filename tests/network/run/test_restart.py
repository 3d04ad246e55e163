"""Restarts: equal to a full run with the same patch, and what lies before is not computed."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import add, patch, restart, scale
from tiny import CAUSAL, MODULES, TRANSFORMERS, ids, inputs, tiny

NEURONS = "blocks.1.mlp.neurons"
LAST = "blocks.2.resid_post"
SITES = ("resid_pre", "attn.v", "attn.z", "attn.heads", "attn.k_rot", "resid_mid", "mlp.neurons")
SITES += ("mlp.out", "resid_post", "moe.experts[0].neurons")


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("kind", SITES)
def test_a_restarted_run_is_a_full_run_with_the_same_patch(name, kind):
    net, x, site = nissl.load(tiny(name)), inputs(name), f"blocks.1.{kind}"
    if site not in net.named_sites:
        return
    again = restart(net, x, at=site)
    plain = net.run(x, sites=LAST)[LAST]
    torch.testing.assert_close(again.run(sites=LAST)[LAST], plain, rtol=0, atol=1e-12)
    for factor in (0.5, -2.0, 0.5):
        values = again.values * factor
        with net.edit(patch({site: values})):
            expected = net.run(x, sites=LAST)[LAST]
        found = again.run(values, sites=[LAST, site])
        torch.testing.assert_close(found[LAST], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[site], values, equal_nan=True)
        assert (found[LAST] - plain).abs().max() > 1e-6
    assert not any("forward" in m.__dict__ for m in net.model.modules())
    torch.testing.assert_close(net.run(x, sites=LAST)[LAST], plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODULES)
def test_any_module_restarts(name):
    net, x = nissl.load(tiny(name)), inputs(name)
    site = {
        "conv": "conv2",
        "gru": "rnn",
        "lstm": "rnn",
        "dictionary": "inner.b",
        "tuple": "inner.b",
        "attention": "attention",
        "repeated": "head:in",
    }[name]
    again, last = restart(net, x, at=site), "head"
    plain = net.run(x, sites=last)[last]
    assert torch.equal(again.run(sites=last)[last], plain)
    with net.edit(scale(sites=site, by=-3.0)):
        expected = net.run(x, sites=last)[last]
    for _ in range(2):
        found = again.run(again.values * -3.0, sites=last)[last]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert (found - plain).abs().max() > 1e-6


def test_what_lies_before_is_not_called():
    net, x = nissl.load(tiny("llama")), ids()
    again = restart(net, x, at="blocks.2.resid_pre")
    calls = []
    for path, module in net.model.named_modules():
        module.register_forward_hook(lambda *_, path=path: calls.append(path))
    again.run(again.values, sites=LAST)
    assert [c for c in calls if c.endswith(("self_attn", "mlp"))] == [
        "model.layers.2.self_attn",
        "model.layers.2.mlp",
    ]
    assert not any("q_proj" in c and "layers.2" not in c for c in calls)


@pytest.mark.parametrize("name", CAUSAL)
def test_from_a_position_on_only_that_is_computed(name):
    net, x, site = nissl.load(tiny(name)), ids(2, 9), "blocks.1.resid_post"
    again = restart(net, x, at=site, from_position=-2)
    near = 1e-5 if "deepseek" in name else 1e-6  # its router multiplies floats
    assert again.values.shape == (2, 2, 16)
    plain = net.run(x, sites=[LAST, site])
    torch.testing.assert_close(again.values, plain[site][:, -2:], rtol=0, atol=near)
    for seed in range(2):
        torch.manual_seed(seed)
        values = torch.randn(2, 2, 16, dtype=torch.float64)
        whole = torch.cat([plain[site][:, :-2], values], 1)
        with net.edit(patch({site: whole})):
            expected = net.run(x, sites=LAST)[LAST]
        found = again.run(values, sites=LAST)[LAST]
        torch.testing.assert_close(found, expected[:, -2:], rtol=0, atol=near)
    edit = add(sites="blocks.2.mlp.out", by=1.0, positions=[-1, 7])
    with net.edit(edit):
        expected = net.run(x, sites=LAST)[LAST]
    with net.edit(edit):
        found = again.run(sites=LAST)[LAST]
    torch.testing.assert_close(found, expected[:, -2:], rtol=0, atol=near)


def test_texts_filled_up_on_the_left_begin_at_a_position_too():
    net, texts, site = nissl.load(tiny("llama")), [[5, 6, 7, 8, 9], [9, 10, 11]], NEURONS
    again = restart(net, texts, at=site, from_position=-2, padding="left")
    edit = add(sites="blocks.2.mlp.out", by=1.0, positions=[-1, 3])
    for row, text in enumerate(texts):
        alone = restart(net, [text], at=site, from_position=-2)
        for values in (None, again.values * 2):
            one = None if values is None else values[row : row + 1]
            with net.edit(edit):
                found = again.run(values, sites=LAST)[LAST][row]
            with net.edit(edit):
                expected = alone.run(one, sites=LAST)[LAST][0]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    for padding, position in (("right", -2), ("left", -3)):
        with pytest.raises(NisslError, match="different lengths"):
            restart(net, texts, at=site, from_position=position, padding=padding)


def test_gradients_flow_from_the_values_on():
    net, x = nissl.load(tiny("gpt2")), ids()
    again = restart(net, x, at="blocks.1.resid_post")
    values = again.values.clone().requires_grad_()
    loss = again.run(values, sites="logits", gradients=True)["logits"].square().mean()
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.abs().max() > 0


def test_sites_before_and_bad_values_are_refused():
    net, x = nissl.load(tiny("llama")), ids()
    again = restart(net, x, at="blocks.1.resid_post")
    with pytest.raises(NisslError, match="computed before"):
        again.run(sites="blocks.0.resid_post")
    with (
        net.edit(scale(sites="blocks.0.mlp.neurons", by=2.0)),
        pytest.raises(NisslError, match="computed before"),
    ):
        again.run(sites=LAST)
    with (
        net.edit(scale(sites="blocks.1.resid_post", by=2.0)),
        pytest.raises(NisslError, match="at once"),
    ):
        again.run(again.values, sites=LAST)
    with pytest.raises(NisslError, match="holds"):
        again.run(again.values[:1], sites=LAST)
    with pytest.raises(NisslError, match="is 3 sites"):
        restart(net, x, at="resid_post")
    for position in (0, 7, -7):
        with pytest.raises(NisslError, match="cannot begin"):
            restart(net, x, at="blocks.0.resid_post", from_position=position)
    with pytest.raises(NisslError, match="different lengths"):
        restart(net, [[5, 6], [7, 8, 9]], at="blocks.0.resid_post", from_position=1)
