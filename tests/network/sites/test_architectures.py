"""The identities that the names of sites promise, on every architecture."""

import pytest
import torch

import nissl
from nissl.network import Network, ablate, add, clamp, patch
from tiny import CAUSAL, ENCODERS, EVERY, LANGUAGE, MIXTURES, SINGLES, UNNAMED, VISION, inputs, tiny

TOLERANCE = 1e-10  # of a site's root mean square, in float64


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.square().mean().sqrt().clamp_min(1e-30))


def run(name: str) -> tuple[Network, dict[str, torch.Tensor]]:
    net = nissl.load(tiny(name))
    return net, net.run(inputs(name), sites=[*net.named_sites])


def mlp_by_hand(net: Network, block: torch.nn.Module, mid: torch.Tensor) -> torch.Tensor:
    """What the MLP of a block adds to a stream, through the norms around it."""
    mixed = ("post_attention_layernorm",)
    names = mixed if net.architecture.matrices is None else net.architecture.matrices.norm
    norms = [n for n in names if getattr(block, n, None) is not None]
    mlp = next(getattr(block, n) for n in ("mlp", "block_sparse_moe", "ffn") if hasattr(block, n))
    given = getattr(block, norms[0])(mid) if norms else mid
    adds = net.architecture.name in ("BLOOM", "MPT")  # what it is given as the residual
    out = mlp(given, torch.zeros_like(mid)) if adds else mlp(given)
    out = out[0] if isinstance(out, tuple) else out
    if net.architecture.norms[1]:
        out = getattr(block, net.architecture.norms[1])(out)
    return out * getattr(net.model.config, "residual_multiplier", 1.0)


@pytest.mark.parametrize("name", EVERY)
def test_every_named_site_fires_with_its_width(name):
    net, found = run(name)
    assert net.n_layers == 3
    for site in net.named_sites.values():
        assert site.width is None or found[site.name].shape[-1] == site.width, site.name


@pytest.mark.parametrize("name", EVERY)
def test_residual_stream_is_the_sum_of_what_enters_it(name):
    net, found = run(name)
    for layer in range(net.n_layers):
        at = f"blocks.{layer}."
        pre, post = found[at + "resid_pre"], found[at + "resid_post"]
        attention, mlp = found[at + "attn.out"], found[at + "mlp.out"]
        if net.architecture.parallel and at + "resid_mid" not in found:
            assert close(pre + attention + mlp, post)
        elif net.architecture.post_norm:
            block = net.block(layer)
            norms = [m for m in block.modules() if isinstance(m, torch.nn.LayerNorm)]
            assert close(norms[0](pre + attention), found[at + "resid_mid"])
            assert close(norms[1](found[at + "resid_mid"] + mlp), post)
        else:
            assert close(pre + attention, found[at + "resid_mid"])
            assert close(found[at + "resid_mid"] + mlp, post)
        if layer:
            assert close(found[f"blocks.{layer - 1}.resid_post"], pre)


@pytest.mark.parametrize("name", EVERY)
def test_heads_add_up_to_the_attention_output(name):
    net, found = run(name)
    for layer in range(net.n_layers):
        heads = found[f"blocks.{layer}.attn.heads"].unflatten(-1, (4, -1)).sum(-2)
        out = found[f"blocks.{layer}.attn.out"]
        rest = (out - heads).flatten(0, -2)
        # What heads leave over is the output projection's bias, the same at every position.
        rounds = net.architecture.norms[0] is not None  # its norms round to floats
        tolerance = 1e-6 if rounds else TOLERANCE
        assert rest.std(0).max() <= tolerance * out.std()
        if name in ("llama", "qwen2", "mistral", "mixtral"):
            assert close(heads, out)


@pytest.mark.parametrize("name", [n for n in EVERY if n not in MIXTURES])
def test_output_matrix_times_neurons_is_the_mlp_output(name):
    net, found = run(name)
    for layer in range(net.n_layers):
        site = f"blocks.{layer}.mlp.neurons"
        product = found[site] @ net.output_weights(site)
        module = net.block(layer).get_submodule(net.architecture.matrices.write)
        if module.bias is not None:
            product = product + module.bias
        if net.architecture.norms[1]:
            product = net.block(layer).get_submodule(net.architecture.norms[1])(product)
        assert close(product, found[f"blocks.{layer}.mlp.out"])


@pytest.mark.parametrize("name", [n for n in EVERY if n not in MIXTURES])
def test_neurons_follow_from_what_their_weights_read(name):
    net, found = run(name)
    for layer in range(net.n_layers):
        at, matrices = f"blocks.{layer}.mlp.", net.architecture.matrices
        act = torch.nn.functional.gelu  # ESM calls a function
        if matrices.activation:
            act = net.block(layer).get_submodule(matrices.activation)
        if matrices.gate:
            expected = act(found[at + "gate"]) * found[at + "up"]
        else:
            expected = act(found[at + "up"])
        assert close(expected, found[at + "neurons"])


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_weighted_by_the_router_are_the_mlp_output(name):
    net = nissl.load(tiny(name))
    mixed = [s.removesuffix("moe.router") for s in net.named_sites if s.endswith("moe.router")]
    assert len(mixed) == {"qwen3_moe": 1, "qwen2_moe": 2}.get(name, 2 if "deep" in name else 3)
    returned = {}
    for at in mixed:
        router = net.model.get_submodule(net.named_sites[f"{at}moe.router"].hook_point.path)
        router.register_forward_hook(lambda m, a, out, at=at: returned.update({at: out}))
    found = net.run(inputs(name), sites=[*net.named_sites])
    plain = net.run(inputs(name), sites="blocks.*.mlp.out")
    for at in mixed:
        out = found[at + "mlp.out"]
        assert close(out, plain[at + "mlp.out"])  # our loop is theirs
        scores, weights, chosen = (x.unflatten(0, (2, 7)) for x in returned[at])
        assert torch.equal(scores, found[at + "moe.router"])
        path = net.named_sites[f"{at}moe.experts[0].neurons"].hook_point.path
        experts, total = net.model.get_submodule(path), torch.zeros_like(out)
        for expert in range(scores.shape[-1]):
            neurons = found[f"{at}moe.experts[{expert}].neurons"]
            called = (chosen == expert).any(-1)
            assert torch.equal(neurons.isnan().all(-1), ~called)
            share = (weights * (chosen == expert)).sum(-1, keepdim=True)
            down = experts.down_proj[expert]
            written = neurons.nan_to_num() @ (down if name == "gpt_oss" else down.T)
            if name == "gpt_oss":
                written = written + experts.down_proj_bias[expert]
            total += share * written
        total += shared_by_hand(net, at, found)
        total *= getattr(net.model.config, "residual_multiplier", 1.0)
        assert (total - out).abs().max() < 1e-6 * total.abs().max()


def shared_by_hand(net, at, found):
    """What the experts add that every token calls."""
    if f"{at}moe.shared.neurons" not in found:
        return 0.0
    block = net.block(int(at.split(".")[1]))
    shared = getattr(block.mlp, "shared_expert", None) or block.mlp.shared_experts
    out = found[f"{at}moe.shared.neurons"] @ shared.down_proj.weight.T
    if not hasattr(block.mlp, "shared_expert_gate"):
        return out
    mid = block.post_attention_layernorm(found[f"{at}resid_mid"])
    return block.mlp.shared_expert_gate(mid).sigmoid() * out


@pytest.mark.parametrize("name", MIXTURES)
def test_scores_of_the_router_that_are_replaced_choose_other_experts(name):
    net, at = nissl.load(tiny(name)), "blocks.1.moe."
    plain = net.run(inputs(name), sites=["blocks.1.mlp.out", at + "router"])
    with net.edit(add(sites=at + "router", indices=[0], by=100.0)):
        found = net.run(inputs(name), sites=[at + "experts[0].neurons", "blocks.1.mlp.out"])
    assert not found[at + "experts[0].neurons"].isnan().any()  # every token calls it now
    assert not torch.allclose(found["blocks.1.mlp.out"], plain["blocks.1.mlp.out"])
    router = net.model.get_submodule(net.named_sites[at + "router"].hook_point.path)
    weight = router.weight.clone()
    with torch.no_grad():
        router.weight[0] = 0.0  # and by hand: the expert's scores are the same number everywhere
        by_hand = net.run(inputs(name), sites="blocks.1.mlp.out")["blocks.1.mlp.out"]
        router.weight.copy_(weight)
    value = getattr(router, "bias", torch.zeros(4))[0]
    with net.edit(clamp(sites=at + "router", indices=[0], to=float(value))):
        found = net.run(inputs(name), sites="blocks.1.mlp.out")["blocks.1.mlp.out"]
    assert close(found, by_hand)


@pytest.mark.parametrize("name", [n for n in EVERY if n not in UNNAMED])
def test_rotated_queries_and_keys_give_the_patterns_that_give_z(name):
    net, found = run(name)
    for layer in range(net.n_layers):
        at = f"blocks.{layer}.attn."
        clip = getattr(net.model.config, "clip_qkv", None) or torch.inf
        d = found[at + "z"].shape[-1] // 4
        value = found[at + "v"].clamp(-clip, clip).unflatten(-1, (-1, d)).transpose(1, 2)
        pattern = found[at + "pattern"].transpose(1, 2)
        value = value.repeat_interleave(pattern.shape[1] // value.shape[1], 1)
        assert close((pattern @ value).transpose(1, 2).flatten(-2), found[at + "z"])


@pytest.mark.parametrize("name", [n for n in (*LANGUAGE, *ENCODERS) if n not in UNNAMED])
def test_patterns_are_those_of_transformers(name):
    net = nissl.load(tiny(name, attn_implementation="eager"))
    theirs = net.model(inputs(name), output_attentions=True).attentions
    ours = net.run(inputs(name), sites="attn.pattern").values()
    for a, b in zip(ours, theirs, strict=True):
        assert (a.transpose(1, 2) - b).abs().max() < 1e-6  # theirs is rounded to floats


@pytest.mark.parametrize("name", [*LANGUAGE, *ENCODERS])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_padding_and_batches_change_nothing(name, padding):
    net = nissl.load(tiny(name))
    texts = [
        row[:length].tolist()
        for row, length in zip(inputs(name, batch=4), (7, 3, 5, 6), strict=True)
    ]
    sites = ["embed", "blocks.*.resid_post", "blocks.*.attn.z", "blocks.*.attn.heads"]
    sites += [
        s
        for s in ("blocks.*.mlp.neurons", "final_norm")
        if s != "final_norm" or net.architecture.final_norm
    ]
    if name in MIXTURES:
        sites[4] = "blocks.*.moe.router"
    single = nissl.record(net, texts, sites=sites, batch_size=1, progress=False)
    for batch_size in (2, 4):
        together = nissl.record(
            net, texts, sites=sites, batch_size=batch_size, padding=padding, progress=False
        )
        assert (together["token"].values == single["token"].values).all()
        for site in dict.fromkeys(single["site"].values):
            columns = single["site"].values == site
            a, b = (torch.from_numpy(rec.values[:, columns]) for rec in (single, together))
            # DeepSeek's router multiplies floats; left padding moves positions of ESM, whose
            # angles are rounded to floats.
            rounded = "deepseek" in name or (name == "esm" and padding == "left")
            assert close(b, a, 1e-5 if rounded else TOLERANCE), site


@pytest.mark.parametrize("name", CAUSAL)
def test_transformer_lens_names_are_ours(name):
    net = nissl.load(tiny(name))
    asked = ["blocks.0.hook_resid_pre", "blocks.1.attn.hook_z", "blocks.*.hook_mlp_out"]
    found = [site.name for site in net.find(asked)]
    assert found[:2] == ["blocks.0.resid_pre", "blocks.1.attn.z"]
    assert found[2:] == [f"blocks.{i}.mlp.out" for i in range(3)]


@pytest.mark.parametrize("name", [n for n in (*CAUSAL, *SINGLES) if n != "opt"])
@pytest.mark.parametrize("site", ["attn.out", "resid_mid", "mlp.out", "resid_post"])
def test_what_is_added_at_a_site_goes_where_plain_code_says(name, site):
    """Block 1 by hand: its norm and MLP are called on the changed stream, which goes on."""
    net, found = run(name)
    at, block = "blocks.1.", net.block(1)
    if at + site not in net.named_sites:
        pytest.skip("attention and MLP read one stream")
    shift = torch.linspace(-1, 1, 16, dtype=torch.float64)
    mid = found[at + "resid_pre"] + found[at + "attn.out"]
    if site in ("attn.out", "resid_mid"):
        mid = mid + shift
    post = mid + found[at + "mlp.out"]
    if site in ("attn.out", "resid_mid") and at + "resid_mid" in net.named_sites:
        post = mid + mlp_by_hand(net, block, mid)
    elif site in ("mlp.out", "resid_post"):
        post = post + shift

    def replace(module, args, output):
        return (post, *output[1:]) if isinstance(output, tuple) else post

    handle = block.register_forward_hook(replace)
    expected = net.model(inputs(name)).logits
    handle.remove()
    with net.edit(add(sites=at + site, by=shift)):
        assert (net.model(inputs(name)).logits - expected).abs().max() < 1e-5 * expected.std()


@pytest.mark.parametrize("name", [*ENCODERS, *VISION])
def test_edits_of_encoders_go_where_plain_code_says(name):
    """Block 1 by hand: what is added, the norms of the stream, and the MLP on what came of it."""
    net, found = run(name)
    at, block, end = "blocks.1.", net.block(1), "blocks.2.resid_post"
    shift = torch.linspace(-1, 1, 16, dtype=torch.float64)

    def after(post: torch.Tensor) -> torch.Tensor:
        handle = block.register_forward_hook(
            lambda module, args, output: (post, *output[1:]) if isinstance(output, tuple) else post
        )
        try:
            return net.run(inputs(name), sites=end)[end]
        finally:
            handle.remove()

    def edited(edit) -> torch.Tensor:
        with net.edit(edit):
            return net.run(inputs(name), sites=end)[end]

    if net.architecture.post_norm:
        norms = [m for m in block.modules() if isinstance(m, torch.nn.LayerNorm)]
        post = norms[1](found[at + "resid_mid"] + found[at + "mlp.out"] + shift)
        mid = norms[0](found[at + "resid_pre"] + found[at + "attn.out"] + shift)
    else:
        post, mid = found[at + "resid_post"] + shift, found[at + "resid_mid"] + shift
    assert close(edited(add(sites=at + "mlp.out", by=shift)), after(post))
    patched = edited(patch({at + "resid_mid": mid}))
    assert close(edited(add(sites=at + "attn.out", by=shift)), patched)
    assert not close(patched, found[end])
    for head in (0, 3):  # what a head reads is all that it adds
        one = edited(ablate(sites=at + "attn.z", heads=head))
        assert close(edited(ablate(sites=at + "attn.heads", heads=head)), one)
        assert not close(one, found[end])
