"""Whole networks under backward rules, against the same networks written out by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import nissl
from by_hand import ByHand
from nissl import NisslError
from nissl.network import ablate, scale
from nissl.network.gradients import (
    AttentionRule,
    NonlinearityRule,
    NormRule,
    ProductRule,
    StopGradient,
    gradients,
    integrated_gradients,
)
from tiny import MIXTURES, MODULES, TRANSFORMERS, ids, in_doubles, inputs, tiny

DETACHED = (NormRule(), NonlinearityRule(), ProductRule("hold gate"), AttentionRule())
LRP = (NormRule(), NonlinearityRule(), ProductRule(), AttentionRule())
LISTS = {
    "nothing": ((), ByHand()),
    "norms": ((NormRule(),), ByHand(norm=True)),
    "secant": ((NonlinearityRule(),), ByHand(act="secant")),
    "identity": ((NonlinearityRule("identity"),), ByHand(act="identity")),
    "guided": ((NonlinearityRule("guided"),), ByHand(act="guided")),
    "half": ((ProductRule(),), ByHand(product="half")),
    "held": ((AttentionRule(),), ByHand(attention="held")),
    "GIM": (
        (NormRule(), ProductRule(), AttentionRule(temperature=2.0)),
        ByHand(norm=True, product="half", attention=2.0),
    ),
    "AttnLRP": (
        (NormRule(), NonlinearityRule(), ProductRule()),
        ByHand(norm=True, act="secant", product="half"),
    ),
    "detached": (DETACHED, ByHand(True, "secant", "hold gate", "held")),
}


def network(name, **options):
    if name == "gemma2":  # its scores are capped, so it has eager attention alone
        options |= {"attn_implementation": "eager", "num_key_value_heads": 2, "head_dim": 4}
        options |= {"query_pre_attn_scalar": 7, "attn_logit_softcapping": 2.0}
    return nissl.load(in_doubles(tiny(name, **options)))


def logits(output):
    return getattr(output, "logits", getattr(output, "last_hidden_state", output))


def metric(y):
    y = logits(y)
    return (y.tanh() * torch.linspace(-1, 1, y.shape[-1], dtype=y.dtype)).sum()


def one_logit(y):
    return logits(y)[0, -1, 3] if logits(y).ndim == 3 else logits(y)[0, 1]


def forwards(net):
    return [dict(module.__dict__) for module in net.model.modules()]


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "bert"])
@pytest.mark.parametrize("rules", LISTS)
def test_gradients_equal_those_of_the_network_written_by_hand(name, rules):
    net, x = network(name), ids()
    listed, by_hand = LISTS[rules]
    before = forwards(net)
    with net.backward(*listed):
        found = gradients(net, x, sites="embed", metric=metric)
        assert torch.equal(logits(net.model(x)), logits(net.model(x)))
    assert forwards(net) == before
    leaf = found.values["embed"].clone().requires_grad_()
    value = metric(getattr(by_hand, name)(net.model, leaf))
    (expected,) = torch.autograd.grad(value, leaf)
    # Eager attention of Gemma rounds its softmax to floats.
    tolerance = 3e-5 if name == "gemma2" else 1e-10
    torch.testing.assert_close(found.metric, value.detach(), rtol=tolerance, atol=tolerance)
    size = expected.abs().max()
    torch.testing.assert_close(found["embed"] / size, expected / size, rtol=0, atol=tolerance)


# Constants that are no parameters take their share: sigmoid(0), and the 1 of (up + 1).
CONSTANT = ("qwen2_moe", "gpt_oss")


@pytest.mark.parametrize("name", [n for n in (*TRANSFORMERS, "gemma2") if n not in CONSTANT])
def test_outputs_stay_and_what_is_lost_is_at_biases(name):
    net = network(name)
    x = inputs(name) if name != "gemma2" else ids()
    # The router of experts is a softmax that no attention computes.
    router = (AttentionRule(at="moe.router"),) if name in MIXTURES else ()
    if name == "deepseek_v3":  # its router divides sigmoids by their sum
        with pytest.raises(NisslError, match="div"), net.backward(*LRP, *router):
            net.model(x)
        return
    with torch.no_grad():
        plain = logits(net.model(x))
    path = net.find("embed")[0].hook_point.path
    added = ("bias", "wpe.weight", "embed_positions.weight")
    biases = [
        p
        for name, p in net.model.named_parameters()
        if name.endswith(added) and not name.startswith(f"{path}.")
    ]
    for rules in (LRP, DETACHED):
        kept = []
        embed = net.model.get_submodule(path)
        handle = embed.register_forward_hook(lambda module, args, out, kept=kept: kept.append(out))
        with net.backward(*rules, *router):
            output = logits(net.model(x))
        handle.remove()
        assert torch.equal(output, plain)
        # After the block: what was run inside keeps its rules.
        from_all, logit = [kept[0], *biases], one_logit(output)
        found = torch.autograd.grad(logit, from_all, allow_unused=True)
        share = sum((v * g).sum() for v, g in zip(from_all, found, strict=True) if g is not None)
        # Eager attention and routers round their softmax to floats.
        tolerance = 1e-5 if name in ("gemma2", *MIXTURES) else 1e-10
        torch.testing.assert_close(share, logit, rtol=tolerance, atol=tolerance)


def test_no_rules_are_autograd_to_the_bit():
    net, x = network("llama"), ids()
    sites = ["embed", "blocks.*.mlp.neurons", "blocks.*.attn.heads"]
    plain = gradients(net, x, sites=sites, metric=metric)
    before = forwards(net)
    with net.backward():
        assert forwards(net) == before
        ruled = gradients(net, x, sites=sites, metric=metric)
    assert all(torch.equal(plain[site], ruled[site]) for site in plain.gradients)


def test_the_detached_jacobian_is_the_network():
    """Llama has no biases: the Jacobian times the embedding is every logit."""
    net, x = network("llama"), ids(1, 5)
    embedded = net.model.model.embed_tokens(x).detach()
    expected = net.model(x).logits.detach()[0, -1]
    for rules in (LRP, DETACHED):
        with net.backward(*rules):
            jacobian = torch.autograd.functional.jacobian(
                lambda e: net.model(inputs_embeds=e).logits[0, -1], embedded
            )
        assert jacobian.shape == (40, 1, 5, 16)
        rebuilt = (jacobian * embedded).sum((1, 2, 3))
        assert (rebuilt - expected).abs().max() < 1e-12
    plain = torch.autograd.functional.jacobian(
        lambda e: net.model(inputs_embeds=e).logits[0, -1], embedded
    )
    assert ((plain * embedded).sum((1, 2, 3)) - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_every_cut_through_the_network_conserves_the_logit(name):
    net, x = network(name), ids(1)
    cuts = ["embed", "blocks.*.resid_pre", "blocks.*.resid_mid", "blocks.*.resid_post"]
    # Heads are the parts of attn.out; together with the stream before them they are a cut.
    with net.backward(*DETACHED):
        parts = ["blocks.1.attn.heads", "blocks.1.attn.out", "blocks.1.mlp.neurons"]
        parts += ["blocks.1.mlp.out"]
        found = gradients(net, x, sites=[*cuts, *parts, "final_norm"], metric=one_logit)
    share = {site: (found.values[site] * found[site]).sum() for site in found.gradients}
    for site in share:
        if site not in parts:
            torch.testing.assert_close(share[site], found.metric, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(share[parts[0]], share[parts[1]])
    torch.testing.assert_close(share[parts[2]], share[parts[3]])


def test_stopped_sites_and_rules_at_places():
    net, x = network("llama"), ids()
    leaf = net.run(x, sites="embed")["embed"].requires_grad_()
    stop = StopGradient(["blocks.1.attn.out", "blocks.1.mlp.out"])
    with net.backward(stop, NormRule()):
        found = gradients(net, x, sites=["embed", "blocks.1.mlp.out"], metric=metric)
    value = metric(ByHand(norm=True, stopped=(1,)).llama(net.model, leaf))
    torch.testing.assert_close(found["embed"], torch.autograd.grad(value, leaf)[0])
    assert found["blocks.1.mlp.out"].any()
    # Rules at all places of a kind, one after the other, are the rule without a place.
    with net.backward(*(AttentionRule(at=f"blocks.{n}.attn.pattern") for n in range(3))):
        parts = gradients(net, x, sites="embed", metric=metric)
    with net.backward(AttentionRule()):
        whole = gradients(net, x, sites="embed", metric=metric)
    with net.backward(AttentionRule(at="blocks.1.attn.pattern")):
        one = gradients(net, x, sites="embed", metric=metric)
    assert torch.equal(parts["embed"], whole["embed"])
    assert not torch.equal(one["embed"], whole["embed"])
    with net.backward(ProductRule(at=("model.layers.0.mlp", "model.layers.1.mlp"))):
        gradients(net, x, sites="embed", metric=metric)


def test_the_last_rule_holds_also_of_inner_blocks():
    net, x = network("gpt2"), ids()

    def found(*rules):
        with net.backward(*rules):
            return gradients(net, x, sites="embed", metric=metric)["embed"]

    secant = found(NonlinearityRule())
    assert torch.equal(found(NonlinearityRule("identity"), NonlinearityRule()), secant)
    before = forwards(net)
    with net.backward(NonlinearityRule("identity")):
        assert torch.equal(found(NonlinearityRule()), secant)
        both = found(NormRule())
        assert torch.equal(found(), found(NonlinearityRule("identity")))
    assert forwards(net) == before
    assert torch.equal(both, found(NonlinearityRule("identity"), NormRule()))


def test_with_edits_and_along_paths():
    net, x = network("llama"), ids()
    edit = scale(sites="blocks.0.mlp.neurons", by=2.0)
    ablated = ablate(sites="blocks.2.attn.heads", indices=[3])
    with net.edit(edit, ablated):
        expected = net.model(x).logits
        with net.backward(*LRP):
            inner = gradients(net, x, sites="embed", metric=one_logit)
            assert torch.equal(net.model(x).logits, expected)
    with net.backward(*LRP), net.edit(edit, ablated):
        outer = gradients(net, x, sites="embed", metric=one_logit)
    assert torch.equal(inner["embed"], outer["embed"])
    # Edits that multiply and cut are linear: nothing is lost.
    share = (inner.values["embed"] * inner["embed"]).sum()
    torch.testing.assert_close(share, inner.metric)
    site = "blocks.1.resid_post"
    options = {"sites": site, "start": site, "metric": one_logit, "steps": 3}
    with net.backward(*LRP):
        path = integrated_gradients(net, x, **options)
        text = net.run(x, sites=site, gradients=True)[site]
    plain = integrated_gradients(net, x, **options)
    assert not torch.equal(
        path.scores[site] if hasattr(path, "scores") else path[site], plain[site]
    )
    assert text.requires_grad
    with net.backward(*LRP):
        generated = net.generate([5, 6, 7], max_new_tokens=4)
    assert generated == net.generate([5, 6, 7], max_new_tokens=4)


def test_experts_that_are_looked_at_are_ruled_too():
    net, x = network("mixtral"), ids()
    site = "blocks.1.moe.experts[1].neurons"
    with net.backward(*LRP, AttentionRule(at="moe.router")):
        alone = gradients(net, x, sites="embed", metric=metric)["embed"]
        both = gradients(net, x, sites=["embed", site], metric=metric)
    torch.testing.assert_close(both["embed"], alone, rtol=1e-6, atol=1e-6)
    assert both[site].isfinite().all()
    assert both[site].any()


def test_padding_on_the_left():
    net = network("llama")
    with net.backward(*LRP):
        options = {"sites": "embed", "metric": lambda y: y[:, -1, 3].sum()}
        both = gradients(net, [[5, 6, 7, 8], [9, 10]], padding="left", **options)
        alone = gradients(net, [[9, 10]], **options)
    torch.testing.assert_close(both["embed"][1, 2:], alone["embed"][0])


@pytest.mark.parametrize("name", MODULES)
def test_plain_modules_keep_their_outputs(name):
    net, x = nissl.load(tiny(name)), inputs(name)
    refused = {"attention": AttentionRule(), "gru": NonlinearityRule()}
    refused |= {"lstm": ProductRule(), "repeated": NonlinearityRule()}

    def plain(output):
        return output["logits"] if isinstance(output, dict) else output

    expected = plain(net.model(x))
    if name in refused:
        with pytest.raises(NisslError, match="does not know"), net.backward(refused[name]):
            net.model(x.requires_grad_())
        return
    with net.backward(*LRP):
        assert torch.equal(plain(net.model(x)), expected)


def test_restored_after_errors_and_never_silent():
    net, x = network("llama"), ids()
    before = forwards(net)
    with pytest.raises(ZeroDivisionError), net.backward(*LRP):
        raise ZeroDivisionError
    assert forwards(net) == before

    def broken(module, args, output):
        raise ZeroDivisionError

    handle = net.model.model.layers[1].mlp.act_fn.register_forward_hook(broken)
    with net.backward(*LRP):
        with pytest.raises(ZeroDivisionError):
            net.model(x)
        handle.remove()
        again = gradients(net, x, sites="embed", metric=metric)
    with net.backward(*LRP):
        assert torch.equal(gradients(net, x, sites="embed", metric=metric)["embed"], again["embed"])
    assert forwards(net) == before
    with pytest.raises(NisslError, match="no backward rule"), net.backward("secant"):
        pass
    with (
        pytest.raises(NisslError, match="no site"),
        net.backward(NormRule(at="no")),
    ):
        pass
    with pytest.raises(NisslError, match="met nothing"), net.backward(NormRule(at="mlp.out")):
        net.model(x)
    with net.backward(NormRule(at="mlp.out")), torch.no_grad():
        net.model(x)  # without gradients nothing is ruled
    with net.backward(NormRule()), pytest.raises(NisslError, match="copied"):
        copy.deepcopy(net.model)
    assert forwards(net) == before


def test_opaque_attention_is_named():
    from transformers import AttentionInterface

    def fused(module, query, key, value, mask, **options):
        return value.repeat_interleave(2, 1).cumsum(2).transpose(1, 2), None

    AttentionInterface.register("fused_for_a_test", fused)
    net, x = network("llama"), ids()
    net.model.config._attn_implementation = "fused_for_a_test"
    for rule in (AttentionRule(), ProductRule(at="blocks.1.attn.pattern")):
        with pytest.raises(NisslError, match="attention, no softmax") as error, net.backward(rule):
            net.model(x)
        assert "self_attn (LlamaAttention)" in error.value.where
    with net.backward(NormRule()):
        net.model(x)


def test_what_is_computed_again_or_compiled_is_refused():
    net, x = network("llama"), ids()
    net.model.gradient_checkpointing_enable()
    with net.backward(*LRP):  # in evaluation nothing is computed again
        net.model(x)
    net.model.train()
    with pytest.raises(NisslError, match="checkpointing"), net.backward(*LRP):
        pass

    class Again(nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.first, self.inner = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Tanh())
            self.last, self.reentrant = nn.Linear(3, 1), reentrant

        def forward(self, x):
            x = checkpoint(self.inner, self.first(x), use_reentrant=self.reentrant)
            return self.last(x)

    for reentrant in (True, False):
        net = nissl.load(Again(reentrant))
        net.model(torch.ones(2, 3)).sum().backward()
        with pytest.raises(NisslError, match="checkpointing"), net.backward(NonlinearityRule()):
            net.model(torch.ones(2, 3))
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    inner.compile()
    net = nissl.load(nn.Sequential(inner))
    with pytest.raises(NisslError, match="compiled"), net.backward(NonlinearityRule()):
        pass
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    net = nissl.load(nn.Sequential(scripted))
    with pytest.raises(NisslError, match="scripted"), net.backward(NonlinearityRule()):
        pass


@pytest.mark.real
def test_smollm2_is_linear_at_its_prompt():
    net = nissl.load("smollm2")
    prompt = "The capital of France is"
    paris = net.tokenizer.encode(" Paris")[0]
    plain = net.run(prompt, sites="logits")["logits"]
    sites = ["embed", "blocks.10.resid_pre", "blocks.20.resid_mid", "final_norm"]
    for rules in (LRP, DETACHED):
        with net.backward(*rules):
            assert torch.equal(net.run(prompt, sites="logits")["logits"], plain)
            found = gradients(net, prompt, sites=sites, metric=lambda y: y[0, -1, paris])
        assert plain[0, -1].argmax() == paris
        assert found.metric == plain[0, -1, paris]
        for site in sites:
            share = (found.values[site] * found[site]).sum()
            torch.testing.assert_close(share, found.metric, rtol=1e-5, atol=0)
    # The plain gradient rebuilds nothing like it.
    found = gradients(net, prompt, sites=sites, metric=lambda y: y[0, -1, paris])
    share = (found.values["embed"] * found["embed"]).sum()
    assert abs(share / found.metric - 1) > 0.5
