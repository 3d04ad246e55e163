"""Gradients at sites equal finite differences, at every kind of site."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import LinearDictionary, ablate, add, scale
from nissl.network.gradients import gradients
from tiny import MIXTURES, MODULES, TRANSFORMERS, ids, in_doubles, inputs, tiny

KINDS = ("resid_pre", "attn.q", "attn.v", "attn.q_rot", "attn.k_rot", "attn.z", "attn.heads")
KINDS += ("attn.out", "resid_mid", "mlp.up", "mlp.neurons", "mlp.out", "resid_post")
KINDS += ("moe.experts[1].neurons", "mlp.gate")


def metric(logits):
    logits = getattr(logits, "last_hidden_state", logits)
    weights = torch.linspace(-1, 1, logits.shape[-1], dtype=logits.dtype)
    return (logits.tanh() * weights).sum()


def difference(net, x, site, direction, step):
    """The derivative along a direction, by an edit to either side."""
    found = []
    for sign in (1, -1):
        with (
            torch.no_grad(),
            net.edit(add(sites=site, by={site: sign * step * direction})),
        ):
            output = net.model(x)
            found.append(metric(getattr(output, "logits", output)))
    return (found[0] - found[1]) / (2 * step)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_equal_finite_differences_at_every_kind_of_site(name):
    net, x = nissl.load(in_doubles(tiny(name))), inputs(name)
    sites = [s for s in (f"blocks.1.{kind}" for kind in KINDS) if s in net.named_sites]
    found = gradients(net, x, sites=["embed", *sites], metric=metric)
    output = net.model(x)
    torch.testing.assert_close(found.metric, metric(getattr(output, "logits", output)).detach())
    generator = torch.Generator().manual_seed(0)
    rounds = name in (
        *MIXTURES,
        "cohere",
        "cohere2",
        "gptj",
    )  # its router, positions or scores, to floats
    step, tolerance = (1e-4, 1e-2) if rounds else (1e-5, 1e-5)
    for site in found.gradients:
        assert found[site].shape == found.values[site].shape
        width = found[site].shape[-1]
        direction = torch.randn(width, generator=generator, dtype=torch.float64)
        # The same direction at every place: its derivative is the sum over places.
        analytic = (found[site] * direction).sum()
        numeric = difference(net, x, site, direction, step)
        assert (analytic - numeric).abs() <= tolerance * (1 + numeric.abs()), site
        if site != "blocks.1.moe.experts[1].neurons":
            values = net.run(x, sites=site)[site]
            torch.testing.assert_close(found.values[site], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_plain_modules(name):
    net, x = nissl.load(tiny(name)), inputs(name)
    site = {
        "conv": "conv2",
        "gru": "rnn",
        "lstm": "rnn",
        "dictionary": "inner:hidden",
        "tuple": "inner",
        "attention": "attention",
        "repeated": "cell",
    }[name]

    def of(output):
        return metric(output["logits"] if isinstance(output, dict) else output)

    found = gradients(net, x, sites=site, metric=of)
    direction = torch.randn(found[site].shape[-1], dtype=torch.float64)
    numeric = []
    for sign in (1, -1):
        with torch.no_grad(), net.edit(add(sites=site, by=sign * 1e-6 * direction)):
            numeric.append(of(net.model(x)))
    expected = (numeric[0] - numeric[1]) / 2e-6
    torch.testing.assert_close((found[site] * direction).sum(), expected, rtol=1e-5, atol=1e-8)
    if name == "repeated":
        assert found[site].shape == (2, 5, 8)  # each of its five calls


def test_features_and_padding_and_edits():
    net = nissl.load(tiny("gpt2"))
    width, n = 16, 20
    draw = torch.Generator().manual_seed(3)
    dictionary = LinearDictionary(
        "blocks.1.resid_post",
        torch.randn(width, n, generator=draw, dtype=torch.float64),
        torch.zeros(n, dtype=torch.float64),
        torch.randn(n, width, generator=draw, dtype=torch.float64),
        torch.zeros(width, dtype=torch.float64),
    )
    net = net.with_dictionary(dictionary)
    site = "blocks.1.resid_post.sae"
    found = gradients(net, ids(), sites=[site, "blocks.1.resid_post"], metric=metric)
    # Writing a feature adds its direction to the site.
    expected = found["blocks.1.resid_post"] @ dictionary.directions.T
    torch.testing.assert_close(found[site], expected)
    texts = [[5, 6, 7, 8], [9, 10]]
    for padding in ("left", "right"):
        # The answer's own position alone, so that padding cannot matter.
        def last(logits, padding=padding):
            ends = [3, 1] if padding == "right" else [3, 3]
            return metric(torch.stack([logits[0, ends[0]], logits[1, ends[1]]]))

        both = gradients(net, texts, sites="blocks.0.mlp.neurons", metric=last, padding=padding)
        row = both["blocks.0.mlp.neurons"][1]
        row = row[:2] if padding == "right" else row[2:]
        alone = gradients(
            net, texts[1:], sites="blocks.0.mlp.neurons", metric=lambda y: metric(y[:, -1])
        )
        torch.testing.assert_close(row, alone["blocks.0.mlp.neurons"][0], rtol=0, atol=1e-9)
    site = "blocks.1.mlp.neurons"
    with net.edit(scale(sites=site, by=2.0), ablate(sites="blocks.2.attn.heads")):
        edited = gradients(net, ids(), sites=site, metric=metric)
    assert torch.equal(edited.values[site], 2 * net.run(ids(), sites=site)[site])


def test_what_cannot_be_differentiated():
    net, x = nissl.load(tiny("llama")), ids()
    with pytest.raises(NisslError, match="not one number"):
        gradients(net, x, sites="embed", metric=lambda y: y)
    nothing = gradients(net, x, sites="embed", metric=lambda y: torch.ones(()))
    assert not nothing["embed"].any()
    assert all(p.grad is None for p in net.model.parameters())
