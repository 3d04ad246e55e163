"""Networks whose blocks lie in stages: ConvNeXt and Swin."""

import pytest
import torch

import nissl
from nissl.network import Network, ablate, add
from tiny import STAGED, inputs, tiny

LAYERS = range(3)  # two in the first stage, one in the second


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-10 * b.square().mean().sqrt())


def run(name: str) -> tuple[Network, dict[str, torch.Tensor]]:
    net = nissl.load(tiny(name))
    return net, net.run(inputs(name), sites=[*net.named_sites])


@pytest.mark.parametrize("name", STAGED)
def test_layers_count_over_stages_and_the_stream_adds_up(name):
    net, found = run(name)
    assert net.n_layers == len(net.blocks) == 3
    for site in net.named_sites.values():
        assert found[site.name].shape[-1] == site.width, site.name
    assert [net.named_sites[f"blocks.{i}.resid_pre"].width for i in LAYERS] in (
        [8, 8, 12],
        [8, 8, 16],
    )
    for layer in LAYERS:
        at, block = f"blocks.{layer}.", net.block(layer)
        added = [found[at + n] for n in ("attn.out", "mlp.out") if at + n in found]
        assert close(found[at + "resid_pre"] + sum(added), found[at + "resid_post"])
        if name == "swin":
            assert close(found[at + "resid_pre"] + added[0], found[at + "resid_mid"])
        site = at + "mlp.neurons"
        bias = block.get_submodule(net.architecture.matrices.write).bias
        if name == "convnext":
            bias = bias * block.layer_scale_parameter
        assert close(found[site] @ net.output_weights(site) + bias, found[at + "mlp.out"])
        act = block.get_submodule(net.architecture.matrices.activation)(found[at + "mlp.up"])
        assert close(block.grn(act) if name == "convnextv2" else act, found[site])
        assert net.input_weights(site).shape == (
            net.named_sites[site].width,
            net.named_sites[at + "resid_pre"].width,
        )
    assert close(found["blocks.0.resid_post"], found["blocks.1.resid_pre"])
    assert close(found["embed"], found["blocks.0.resid_pre"])
    for site in ("blocks.0.mlp.out", "blocks.1.resid_post", "blocks.2.mlp.neurons"):
        assert torch.equal(net.run(inputs(name), sites=site)[site], found[site])


@pytest.mark.parametrize("name", STAGED)
def test_edits_go_where_plain_code_says(name):
    net, found = run(name)
    x, block, end = inputs(name), net.block(0), "blocks.2.resid_post"
    shift = torch.linspace(-1, 1, 8, dtype=torch.float64)
    post = found["blocks.0.resid_pre"] + found["blocks.0.mlp.out"] + shift
    if name == "swin":
        post = post + found["blocks.0.attn.out"]

    def expected(post: torch.Tensor) -> torch.Tensor:
        def replace(module, args, output):
            return (post, *output[1:]) if name == "swin" else post.movedim(-1, 1)

        handle = block.register_forward_hook(replace)
        try:
            return net.run(x, sites=end)[end]
        finally:
            handle.remove()

    for site in ("mlp.out", "resid_post"):
        with net.edit(add(sites=f"blocks.0.{site}", by=shift)):
            assert close(net.run(x, sites=end)[end], expected(post))
    assert not torch.allclose(expected(post), found[end])
    if name == "swin":
        mid = found["blocks.0.resid_mid"] + shift
        by_hand = expected(mid + block.mlp(block.layernorm_after(mid)))
        for site in ("attn.out", "resid_mid"):
            with net.edit(add(sites=f"blocks.0.{site}", by=shift)):
                assert close(net.run(x, sites=end)[end], by_hand)
    with net.edit(nissl.ablate("blocks.0")), net.edit(ablate(sites="blocks.1.mlp.out")):
        skipped = net.run(x, sites=["blocks.0.resid_post", "blocks.1.mlp.out"])
    assert close(skipped["blocks.0.resid_post"], found["blocks.0.resid_pre"])
    assert not skipped["blocks.1.mlp.out"].any()
