"""Encoder-decoders: two stacks with names, and attention of one to the other."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import Network, ablate, add, scale
from nissl.network.run.unembed import unembed
from nissl.network.sites.weights import folded_weights
from tiny import SIDES, inputs, tiny

AT, END = "decoder.blocks.0.", "decoder.blocks.1.resid_post"


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-10) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.square().mean().sqrt().clamp_min(1e-30))


def run(name: str) -> tuple[Network, dict[str, torch.Tensor]]:
    net = nissl.load(tiny(name))
    return net, net.run(inputs(name), sites=[*net.named_sites])


def blocks(net: Network) -> list[tuple[str, torch.nn.Module]]:
    stacks = [("encoder", 3), ("decoder", 2)]
    return [(f"{s}.blocks.{i}.", net.block(i, s)) for s, n in stacks for i in range(n)]


def rounded(name: str) -> float:
    return 1e-6 if "t5" in name else 1e-10  # its norms compute in floats


@pytest.mark.parametrize("name", SIDES)
def test_every_named_site_fires_with_its_width_and_the_stream_adds_up(name):
    net, found = run(name)
    assert net.n_layers == 3
    assert len(net.blocks) == 5
    for site in net.named_sites.values():
        assert site.width is None or found[site.name].shape[-1] == site.width, site.name
    for at, block in blocks(net):
        x = {full.removeprefix(at): value for full, value in found.items() if full.startswith(at)}
        added, streams = ["attn.out", "mlp.out"], ["resid_pre", "resid_mid", "resid_post"]
        if at.startswith("decoder"):
            added.insert(1, "cross.out")
            streams.insert(2, "resid_cross")
        assert ("cross.q" in x) == at.startswith("decoder")
        norms = [m for m in block.modules() if isinstance(m, torch.nn.LayerNorm)]
        for i, name_added in enumerate(added):
            total = x[streams[i]] + x[name_added]
            total = norms[i](total) if net.architecture.post_norm else total
            assert close(total, x[streams[i + 1]]), at


@pytest.mark.parametrize("name", SIDES)
def test_heads_patterns_and_neurons_make_what_is_added(name):
    net, found = run(name)
    for at, block in blocks(net):
        for kind in ("attn.", "cross.") if at.startswith("decoder") else ("attn.",):
            n = net.named_sites[f"{at}{kind}z"].heads
            assert n == (2 if at.startswith("decoder") and "t5" not in name else 4)
            heads = found[f"{at}{kind}heads"].unflatten(-1, (n, -1)).sum(-2)
            rest = found[f"{at}{kind}out"] - heads  # a bias, the same at every position
            assert (rest - rest[:1, :1]).abs().max() < 1e-12
            value = found[f"{at}{kind}v"].unflatten(-1, (n, -1)).transpose(1, 2)
            read = found[f"{at}{kind}pattern"].transpose(1, 2) @ value
            assert close(read.transpose(1, 2).flatten(-2), found[f"{at}{kind}z"])
        site, stack = f"{at}mlp.neurons", net.stack_of(net.named_sites[f"{at}mlp.neurons"])
        out = block.get_submodule(stack.matrices.write)
        made = found[site] @ net.output_weights(site)
        assert close(made if out.bias is None else made + out.bias, found[f"{at}mlp.out"])
        act = block.get_submodule(stack.matrices.activation)
        if stack.matrices.gate:
            assert close(act(found[f"{at}mlp.gate"]) * found[f"{at}mlp.up"], found[site])
        else:
            assert close(act(found[f"{at}mlp.up"]), found[site])
        norm = next((n for n in stack.matrices.norm if n in dict(block.named_modules())), None)
        folded = folded_weights(net, site)
        weight = block.get_submodule(norm).weight if norm else torch.ones(16)
        plain = net.input_weights(site) * weight
        if net.architecture.name != "T5" and "t5" not in name and norm:
            plain = plain - plain.mean(1, keepdim=True)
        assert close(folded.read, plain.float(), 1e-4)


def test_a_name_alone_means_all_of_both_in_the_order_of_computation():
    net = nissl.load(tiny("bart"))

    def names(asked):
        return [site.name for site in net.find(asked)]

    encoder = [f"encoder.blocks.{i}.mlp.neurons" for i in range(3)]
    decoder = [f"decoder.blocks.{i}.mlp.neurons" for i in range(2)]
    assert names("mlp.neurons") == [*encoder, *decoder]
    assert names("encoder.mlp.neurons") == names("encoder.blocks.*.mlp.neurons") == encoder
    assert names("cross.z") == ["decoder.blocks.0.cross.z", "decoder.blocks.1.cross.z"]
    assert names("embed") == ["encoder.embed", "decoder.embed"]
    assert names("*.blocks.*.attn.pattern")[2:4] == [
        "encoder.blocks.2.attn.pattern",
        "decoder.blocks.0.attn.pattern",
    ]
    (head,) = net.find("decoder.blocks.1.cross.z[head 1]")
    assert (head.layer, head.kind, head.pieces[0].units) == (1, "head", range(8, 16))
    (layer,) = net.find("decoder.blocks.1")
    assert [p.site.name.split(".", 3)[3] for p in layer.pieces] == [
        "attn.out",
        "cross.out",
        "mlp.out",
    ]
    (unit,) = net.find("encoder.blocks.2.mlp.neurons[5]")
    assert (unit.layer, unit.pieces[0].units) == (2, range(5, 6))
    with pytest.raises(NisslError, match="called"):
        net.find("blocks.1.mlp.neurons")
    with pytest.raises(NisslError, match="2 in its decoder"):
        net.block(2, "decoder")


def by_hand(net, name, block, mid, encoded, *, cross=True):
    """What a block of a decoder makes of its stream after attention (or after reading)."""
    if "t5" in name:
        mid = block.layer[1](mid, encoded)[0] if cross else mid
        return block.layer[2](mid)

    def mlp(x):
        return block.fc2(block.activation_fn(block.fc1(x)))

    norm, last = block.encoder_attn_layer_norm, block.final_layer_norm
    if net.architecture.post_norm:
        mid = norm(mid + block.encoder_attn(mid, key_value_states=encoded)[0]) if cross else mid
        return last(mid + mlp(mid))
    mid = mid + block.encoder_attn(norm(mid), key_value_states=encoded)[0] if cross else mid
    return mid + mlp(last(mid))


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("site", ["attn.out", "resid_mid", "cross.out", "resid_cross", "mlp.out"])
def test_edits_of_a_decoder_go_where_plain_code_says(name, site):
    net, found = run(name)
    x, block = inputs(name), net.block(0, "decoder")
    shift = torch.linspace(-1, 1, 16, dtype=torch.float64)
    encoded = net.model.get_encoder()(x["input_features" if name == "whisper" else "input_ids"])[0]
    post_norm = net.architecture.post_norm
    norms = [m for m in block.modules() if isinstance(m, torch.nn.LayerNorm)]
    if site in ("attn.out", "resid_mid"):
        mid = found[AT + "resid_mid"] + shift
        if post_norm and site == "attn.out":
            mid = norms[0](found[AT + "resid_pre"] + found[AT + "attn.out"] + shift)
        post = by_hand(net, name, block, mid, encoded)
    elif site in ("cross.out", "resid_cross"):
        mid = found[AT + "resid_cross"] + shift
        if post_norm and site == "cross.out":
            mid = norms[1](found[AT + "resid_mid"] + found[AT + "cross.out"] + shift)
        post = by_hand(net, name, block, mid, encoded, cross=False)
    else:
        before = found[AT + "resid_cross"] + found[AT + "mlp.out"] + shift
        post = norms[2](before) if post_norm else before

    def replace(module, args, output):
        return (post, *output[1:]) if isinstance(output, tuple) else post

    handle = block.register_forward_hook(replace)
    expected = net.run(x, sites=END)[END]
    handle.remove()
    with net.edit(add(sites=AT + site, by=shift)):
        edited = net.run(x, sites=[END, AT + "resid_cross", AT + "resid_post"])
    assert close(edited[END], expected, rounded(name))
    assert close(edited[AT + "resid_post"], post, rounded(name))
    assert not close(expected, found[END], 1e-3)
    if site == "resid_cross":
        assert close(edited[AT + "resid_cross"], found[AT + "resid_cross"] + shift)
    if site == "resid_mid" and not post_norm:  # what reads the stream later sees the change
        with net.edit(add(sites=AT + site, by=shift), ablate(sites=AT + "cross.out")):
            later = net.run(x, sites=AT + "resid_cross")[AT + "resid_cross"]
        assert close(later, found[AT + "resid_mid"] + shift)


@pytest.mark.parametrize("name", SIDES)
def test_heads_that_read_the_encoder_and_tokens_that_they_read(name):
    net, found = run(name)
    x = inputs(name)
    with net.edit(nissl.ablate(f"{AT}cross.z[head 1]")):
        one = net.run(x, sites=END)[END]
    for same in ("cross.heads", "cross.pattern"):
        with net.edit(nissl.ablate(f"{AT}{same}[head 1]")):
            assert close(net.run(x, sites=END)[END], one, rounded(name))
    assert not close(one, found[END], 1e-3)
    path = net.named_sites[AT + "cross.v"].hook_point.path

    def hook(module, args, output):
        changed = output.clone()
        changed[1, 3] = 0  # a token of the encoder
        return changed

    handle = net.model.get_submodule(path).register_forward_hook(hook)
    expected = net.run(x, sites=END)[END]
    handle.remove()
    with net.edit(ablate(sites=AT + "cross.v", positions=3, items=1)):
        assert close(net.run(x, sites=END)[END], expected)
    assert close(expected[0], found[END][0])
    assert not close(expected[1], found[END][1], 1e-3)


@pytest.mark.parametrize("name", SIDES)
def test_a_run_that_stops_early_and_edits_in_one_batch(name):
    net, found = run(name)
    x = inputs(name)
    for site in ("encoder.blocks.0.mlp.out", "encoder.blocks.2.resid_post", AT + "cross.q", END):
        assert torch.equal(net.run(x, sites=site)[site], found[site])
    called = []
    handle = net.block(0, "decoder").register_forward_hook(lambda *_: called.append(0))
    net.run(x, sites="encoder.blocks.2.resid_post")
    assert not called
    if "encoder.final_norm" in net.named_sites:
        site = "encoder.final_norm"
        assert torch.equal(net.run(x, sites=site)[site], found[site])
    handle.remove()
    edits = [scale(sites=s, by=-2.0) for s in ("encoder.blocks.1.attn.z", "cross.z", "mlp.out")]
    with net.edit_batch([None, *edits]):
        together = net.run(x, sites=END)[END].chunk(4)
    for edit, part in zip(edits, together[1:], strict=True):
        with net.edit(edit):
            assert close(part, net.run(x, sites=END)[END], rounded(name))
    assert close(together[0], found[END], rounded(name))


@pytest.mark.parametrize("name", ["t5", "bart", "mbart"])
def test_tokens_are_those_of_the_side_that_is_read(name):
    net = nissl.load(tiny(name))
    first, second = torch.tensor([[5, 6, 7, 8], [9, 4, 0, 0]]), torch.tensor([[3, 7, 9], [8, 9, 4]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    read = {"input_ids": first, "attention_mask": mask, "decoder_input_ids": second}
    for site, tokens in (
        ("encoder.blocks.1.mlp.neurons", [5, 6, 7, 8, 9, 4]),
        (AT + "cross.k", [5, 6, 7, 8, 9, 4]),
        (AT + "cross.q", [3, 7, 9, 8, 9, 4]),
        ("decoder.blocks.1.resid_post", [3, 7, 9, 8, 9, 4]),
    ):
        rec = nissl.record(net, read, sites=site, batch_size=2, progress=False)
        assert rec["token"].values.tolist() == tokens, site
        lone = {"input_ids": first[1:, :2], "decoder_input_ids": second[1:]}
        alone = nissl.record(net, lone, sites=site, progress=False).values
        assert close(torch.from_numpy(rec.values[-len(alone) :]), torch.from_numpy(alone), 1e-6)
    with pytest.raises(NisslError, match="apart"):
        nissl.record(net, read, sites=["resid_post"], progress=False)


@pytest.mark.parametrize("name", ["t5", "bart", "mbart"])
@pytest.mark.parametrize("site", ["encoder.mlp.out", "decoder.attn.z", "cross.z", "cross.v"])
def test_edits_hold_in_generation_with_a_cache_and_without(name, site):
    net, prompts = nissl.load(tiny(name)), [[5, 8, 3], [9, 30, 4]]
    said = net.generate(prompts, max_new_tokens=6)
    with net.edit(scale(sites=site, by=-3.0)):
        cached = net.generate(prompts, max_new_tokens=6)
        assert cached == net.generate(prompts, max_new_tokens=6, use_cache=False)
    assert net.generate(prompts, max_new_tokens=6) == said


@pytest.mark.parametrize("name", ["t5", "mt5", "bart", "mbart", "pegasus"])
def test_the_stream_of_the_last_block_reads_the_logits(name):
    net, found = run(name)
    logits = net.model(**inputs(name)).logits
    assert close(unembed(net)(found[END]), logits, rounded(name))
