"""AtP*: patterns changed by hand, and the two failures of attribution patching that it cures."""

from functools import partial

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Patching
from nissl.circuits import atp_star, attribution, pair_effects
from nissl.network import nodes_of
from tiny import in_doubles, tiny

HOW = ("denoising", "noising", "zero", "mean", "resample")
QUIET = {"progress": False}
FIX = partial(atp_star, grad_drop=False)
DROP = partial(atp_star, qk_fix=False)
BLOCK = "blocks.1.attn."


def behaviour(name):
    """Two pairs that differ in the third token, and attention far from linear."""
    clean = np.random.default_rng(0).integers(3, 40, (2, 6))
    corrupted = clean.copy()
    corrupted[:, 2] = (clean[:, 2] + 5) % 37 + 3
    model = in_doubles(tiny(name))
    net = nissl.load(model)
    with torch.no_grad():
        for path in {site.hook_point.path for site in net.find(["attn.q", "attn.k"])}:
            model.get_submodule(path).weight *= 3
    metric = (lambda x: x[:, 0] - x[:, 1]) if name == "bert" else "logit_difference"
    return Behaviour(net, list(clean), list(corrupted), metric=metric, right=[5] * 2, wrong=[9] * 2)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text", "gpt_neox", "gpt_oss", "bert"])
def test_queries_and_keys_change_patterns_as_by_hand(name, how):
    """One run for each node's pattern, and the metric's slope towards it by finite differences."""
    pairs = behaviour(name)
    net, patching = pairs.net, Patching(pairs, how)
    nodes = nodes_of(net, [f"{BLOCK}q", f"{BLOCK}k"])
    given, pattern = patching.given(nodes.names), f"{BLOCK}pattern"
    base = patching.base([pattern, f"{BLOCK}q_rot", f"{BLOCK}k_rot"])
    found = {each: FIX(patching, nodes, positions=each) for each in (True, False)}
    sizes = []
    for number, node in enumerate(nodes):
        held = f"{BLOCK}{'k' if node.site.name.endswith('q') else 'q'}_rot"
        for place in (None, 2, 4):
            with net.edit(node.patch(given, place), nissl.patch({held: base[held]})):
                change = net.run(patching.call, sites=pattern)[pattern] - base[pattern]
            slope = torch.zeros(2, dtype=torch.float64)
            for end in (1e-5, -1e-5):
                with net.edit(nissl.patch({pattern: base[pattern] + end * change})):
                    slope += patching.metric(patching.run()[0]) / (2 * end)
            here = found[True][:, place, number] if place else found[False][:, number]
            assert torch.allclose(here, patching.sign * slope, rtol=1e-4, atol=1e-6)
            sizes.append(float(slope.abs().max()))
    assert np.mean(np.asarray(sizes) > 1e-3) > 0.4


def test_gradients_are_stopped_at_each_block_as_by_hand():
    pairs = behaviour("llama")
    net, patching = pairs.net, Patching(pairs, "noising")
    over = ["blocks.1.attn.z", "blocks.1.mlp.out", "blocks.0.resid_post", "embed"]
    nodes = nodes_of(net, over)
    terms = []
    for layer in net.model.model.layers:
        parts = (layer.self_attn, layer.mlp)
        stop = [
            part.register_forward_hook(
                lambda _, __, y: (y[0].detach(), *y[1:]) if isinstance(y, tuple) else y.detach()
            )
            for part in parts
        ]
        terms.append(attribution(patching, nodes).abs())
        for handle in stop:
            handle.remove()
    first, own, last = terms
    found, sign = DROP(patching, nodes), torch.sign(attribution(patching, nodes))
    inside = slice(0, 5)  # four heads and the output of the MLP: not their own block
    assert torch.allclose(found[..., inside], (sign * (first + last) / 2)[..., inside])
    assert torch.allclose(found[..., 5:], (sign * (first + own + last) / 3)[..., 5:])


def planted(*, layers=3):
    """A llama of four dimensions whose blocks do nothing yet: 0 asks, 1 tells, 2 is constant."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=8,
        hidden_size=4,
        intermediate_size=2,
        num_hidden_layers=layers,
        num_attention_heads=1,
        rope_parameters={"rope_type": "default", "rope_theta": 1e30},
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
    return model, [layer.self_attn for layer in model.model.layers]


def pairs_of(model, clean, corrupted):
    n = len(clean)
    return Behaviour(nissl.load(model), clean, corrupted, right=[6] * n, wrong=[7] * n)


def saturated():
    """The last token attends to the token that its query asks for, and to nothing else."""
    model, attention = planted()
    with torch.no_grad():
        rows = {1: (0, 9, 0, 9), 2: (0, -9, 0, 9), 3: (9, 0, 0, 9), 4: (-9, 0, 0, 9)}
        for token, row in rows.items():
            model.model.embed_tokens.weight[token] = torch.tensor(row, dtype=torch.float64)
        attention[0].q_proj.weight[3, 0] = 6.0
        attention[0].k_proj.weight[3, 1] = 6.0
        attention[0].v_proj.weight[1, 1] = 1.0
        attention[0].o_proj.weight[2, 1] = 1.0
        model.lm_head.weight[6, 2], model.lm_head.weight[7, 2] = 1.0, -1.0
    return pairs_of(model, [[1, 2, 3]] * 2, [[1, 2, 4]] * 2)


def test_saturated_softmax_hides_a_query_from_gradients_and_not_from_the_fix():
    pairs = saturated()
    options = {"over": "blocks.0.attn.q", **QUIET}
    exact, rows = pair_effects(pairs, method="exact", **options)
    assert rows["position"].tolist() == [2]
    assert float(exact.min()) > 0.5
    plain, _ = pair_effects(pairs, method=DROP, **options)
    fixed, _ = pair_effects(pairs, method="atp_star", **options)
    assert np.abs(plain).max() < 1e-6
    assert np.allclose(fixed, exact, rtol=0.1)
    assert float(pair_effects(pairs, method=FIX, **options)[0].min()) > 0.5


def cancelling(weight):
    """Attention of the first block writes what the MLP of the second takes off, up to a bound."""
    model, attention = planted()
    with torch.no_grad():
        for token, row in {1: (0, 0, 0, 20), 2: (6, 0, 0, 20)}.items():
            model.model.embed_tokens.weight[token] = torch.tensor(row, dtype=torch.float64)
        attention[0].v_proj.weight[0, 0], attention[0].o_proj.weight[1, 0] = 10.0, 1.0
        mlp = model.model.layers[1].mlp
        mlp.gate_proj.weight[0, 1], mlp.gate_proj.weight[0, 3] = -20.0, 2.0
        mlp.up_proj.weight[0, 3], mlp.down_proj.weight[2, 0] = 1.0, weight
        for dimension in (1, 2):
            model.lm_head.weight[6, dimension], model.lm_head.weight[7, dimension] = 1.0, -1.0
    return pairs_of(model, [[1, 2]] * 2, [[1, 1]] * 2)


def test_paths_that_cancel_hide_a_node_from_gradients_and_not_from_graddrop():
    options = {"over": "blocks.0.attn.z", "positions": "all", **QUIET}
    weights, slopes = [0.0, 0.05], []
    for step in range(10):  # by secants to the weight at which the first order is zero
        pairs = cancelling(weights[step])
        slopes.append(pair_effects(pairs, method="attribution", **options)[0][0, 0])
        if abs(slopes[-1]) < 1e-9:
            break
        if step:
            rise = (slopes[-1] - slopes[-2]) / (weights[-1] - weights[-2])
            weights.append(weights[-1] - slopes[-1] / rise)
    exact, _ = pair_effects(pairs, method="exact", **options)
    plain, _ = pair_effects(pairs, method=FIX, **options)
    found, _ = pair_effects(pairs, method="atp_star", **options)
    assert float(exact.min()) > 0.05
    assert np.abs(plain).max() < 1e-8
    assert np.all((found > exact / 3) & (found < 3 * exact))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: atp_star(*_asked(nodes_by="unit")), "single units"),
        (lambda: atp_star(*_asked(layers=1)), "one block of several"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(NisslError, match=said):
        make()


def _asked(*, nodes_by=None, layers=3):
    model, _ = planted(layers=layers)
    pairs = pairs_of(model, [[1, 2]] * 2, [[1, 3]] * 2)
    return Patching(pairs), nodes_of(pairs.net, "blocks.0.attn.q", by=nodes_by)
