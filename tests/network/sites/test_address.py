"""What addresses mean: by `net.find`, and in edits, against hooks by hand."""

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nissl
from nissl import NisslError
from nissl.address import Address, parse
from nissl.errors import UnknownName
from nissl.network import (
    LinearDictionary,
    Part,
    ablate,
    add,
    clamp,
    gate,
    load_edit,
    patch,
    save_edit,
    scale,
)
from nissl.statistics import Finding
from tiny import ids, tiny

EDGE = "blocks.1.attn.z[head 2] -> blocks.2.attn.q[head 3]"
FORMS = (
    "blocks.3.mlp.neurons[812]",
    "blocks.3.attn.z[head 5]",
    "blocks.3",
    "blocks.3.attn.out",
    "blocks.5.resid_post.sae[77]",
    "blocks.1.moe.experts[3].neurons[7]",
    "layer3.0.conv2[5]",
    "layer3.0.conv2:in",
    "blocks.*.mlp.neurons[5]",
    "lstm:0[1]",
    EDGE,
)
NAMES = st.lists(
    st.one_of(
        st.from_regex(r"[a-z_]{1,8}(:in|:0|\[[0-9]{1,3}\]x)?", fullmatch=True),
        st.integers(0, 99).map(str),
    ),
    min_size=1,
    max_size=4,
).map(".".join)
NUMBER = st.integers(0, 10**6)
PARTS = st.one_of(
    st.builds(Address, NAMES),
    st.builds(Address, NAMES, NUMBER),
    st.builds(Address, NAMES, st.none(), NUMBER),
)
EDGES = st.builds(lambda a, b: Address(a.site, a.index, a.head, b), PARTS, PARTS)


@given(st.one_of(PARTS, EDGES))
def test_what_is_written_is_read_again(address):
    assert parse(str(address)) == address


@given(st.one_of(st.sampled_from(FORMS), st.text("blocks.0123[]head ->x:*", max_size=20)))
def test_what_is_read_is_written_again(text):
    try:
        address = parse(text)
    except NisslError:
        return
    assert str(address) == text


@pytest.mark.parametrize("text", FORMS)
def test_every_form_is_an_address(text):
    assert str(parse(text)) == text


BAD = {
    "brackets": ("a[", "a[]", "a[-1]", "a[01]", "a[1][2]", "[1]", "a]b", "a[b[1]", "a[1 ]"),
    "heads": ("a[head]", "a[head 01]", "a[head x]", "a[heads 1]"),
    "edges": ("a ->b", "a -> ", " -> b", "a -> b -> c"),
    "names": ("", " ", "a b"),
}


@pytest.mark.parametrize("text", [text for texts in BAD.values() for text in texts])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(NisslError, match="is not an address"):
        parse(text)


def test_layers_are_those_of_the_blocks():
    layers = [parse(text).layer for text in FORMS]
    assert layers == [3, 3, 3, 3, 5, 1, None, None, None, None, 2]
    assert [text for text in FORMS if parse(text).is_layer] == ["blocks.3"]


def test_find_resolves_sites_as_before_and_parts_to_units_of_sites():
    net = nissl.load(tiny("llama"))
    (site,) = net.find("blocks.1.attn.out")
    assert not isinstance(site, Part)
    unit, head, layer, edge = net.find(
        ["blocks.1.mlp.neurons[3]", "blocks.1.attn.z[head 2]", "blocks.1", EDGE]
    )
    assert [p.kind for p in (unit, head, layer, edge)] == ["unit", "head", "layer", "edge"]
    assert [p.layer for p in (unit, head, layer, edge)] == [1, 1, 1, 2]
    assert unit.name == "blocks.1.mlp.neurons[3]"
    assert unit.pieces[0].units == range(3, 4)
    size = net.find("blocks.1.attn.z")[0].width // 4
    assert head.pieces[0].units == range(2 * size, 3 * size)
    assert [p.site.name for p in layer.pieces] == ["blocks.1.attn.out", "blocks.1.mlp.out"]
    assert [(p.site.name, p.head) for p in edge.pieces] == [
        ("blocks.1.attn.z", 2),
        ("blocks.2.attn.q", 3),
    ]
    every = net.find(["attn.z[head 1]", "blocks.1.attn.hook_z[head 1]"])
    assert [p.name for p in every] == [f"blocks.{i}.attn.z[head 1]" for i in range(3)]


def test_an_expert_and_a_module_have_units():
    net = nissl.load(tiny("mixtral"))
    (unit,) = net.find("blocks.1.moe.experts[2].neurons[7]")
    assert unit.pieces[0].site.name == "blocks.1.moe.experts[2].neurons"
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU())
    (unit,) = nissl.load(model).find("0[2]")
    assert unit.pieces[0].units == range(2, 3)
    # Blocks of a module without named sites are modules, as ever.
    own = nn.ModuleDict({"blocks": nn.Sequential(nn.Linear(2, 2))})
    assert not isinstance(nissl.load(own).find("blocks.0")[0], Part)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("blocks.1.mlp.neuron[3]", "blocks.1.mlp.neurons"),
        ("blocks.1.attn.zz[head 1]", "blocks.1.attn.z"),
        ("blocks.7", "blocks.2"),
        ("blocks.1.attn.z[hed 2]", "blocks.1.attn.z"),
    ],
)
def test_unknown_names_come_with_the_nearest(text, near):
    with pytest.raises(UnknownName) as raised:
        nissl.load(tiny("llama")).find(text)
    assert near in raised.value.nearest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blocks.1.mlp.neurons[9999]", "no unit 9999"),
        ("blocks.1.attn.z[head 4]", "4 heads, 0 to 3"),
        ("blocks.1.mlp.out[head 0]", "do not fall into heads"),
        ("attn.z[head 1] -> blocks.2.attn.q[head 3]", "one beginning and one end"),
    ],
)
def test_what_a_site_does_not_have_is_refused(text, said):
    with pytest.raises(NisslError, match=said):
        nissl.load(tiny("llama")).find(text)


def test_a_part_is_not_run_as_if_it_were_its_site():
    net = nissl.load(tiny("llama"))
    for address in ("blocks.1.attn.z[head 2]", "blocks.1", "blocks.1.mlp.neurons[0]"):
        with pytest.raises(NisslError, match="a site is wanted"):
            net.run(ids(), sites=address)
        with pytest.raises(NisslError, match="a site is wanted"):
            nissl.record(net, ids(), sites=address, progress=False)


def logits(net, *edits):
    with net.edit(*edits):
        return net.run(ids(), sites="logits")["logits"]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_ablating_a_head_is_a_hook_by_hand(name):
    net = nissl.load(tiny(name, dtype=torch.float64))
    path = {"llama": "self_attn.o_proj", "gpt2": "attn.c_proj"}[name]
    size = net.find("blocks.1.attn.z")[0].width // 4

    def without(module, args):
        x = args[0].clone()
        x[..., 2 * size : 3 * size] = 0
        return (x,)

    handle = net.block(1).get_submodule(path).register_forward_pre_hook(without)
    expected = net.run(ids(), sites="logits")["logits"]
    handle.remove()
    found = logits(net, ablate("blocks.1.attn.z[head 2]"))
    assert torch.equal(found, expected)
    assert torch.equal(found, logits(net, ablate(sites="blocks.1.attn.z", heads=2)))
    assert not torch.equal(found, logits(net))


@pytest.mark.real
def test_ablating_heads_of_smollm2_is_a_hook_by_hand(smollm2):
    net, at, text = smollm2, "blocks.9.attn.z", "The capital of France is"

    def without(module, args):
        x = args[0].clone()
        x[..., 2 * 64 : 3 * 64] = 0
        x[..., 5 * 64 : 6 * 64] = 0
        return (x,)

    handle = net.block(9).self_attn.o_proj.register_forward_pre_hook(without)
    expected = net.run(text, sites="logits")["logits"]
    handle.remove()
    for edit in (ablate([f"{at}[head 2]", f"{at}[head 5]"]), ablate(sites=at, heads=[2, 5])):
        with net.edit(edit):
            assert torch.equal(net.run(text, sites="logits")["logits"], expected)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral", "gemma3_text"])
def test_a_layer_ablated_hands_the_stream_on(name):
    net = nissl.load(tiny(name))
    sites = ["blocks.1.resid_pre", "blocks.1.resid_post"]
    with net.edit(ablate("blocks.1")):
        found = net.run(ids(), sites=sites)
    assert torch.equal(found[sites[0]], found[sites[1]])


def test_findings_of_heads_layers_units_and_sites_are_edited_together():
    net = nissl.load(tiny("llama", dtype=torch.float64))
    units = ["blocks.0.attn.z[head 1]", "blocks.2", "blocks.1.mlp.neurons[4]", "blocks.0.mlp.out"]
    found = Finding(pd.DataFrame({"unit": units, "score": 1.0}), method="m", null="none")
    by_hand = [
        ablate(sites="blocks.0.attn.z", heads=1),
        ablate(sites=["blocks.2.attn.out", "blocks.2.mlp.out", "blocks.0.mlp.out"]),
        ablate("blocks.1.mlp.neurons[4]"),
    ]
    assert torch.equal(logits(net, ablate(found)), logits(net, *by_hand))
    assert torch.equal(logits(net, clamp(found, to=0.0)), logits(net, *by_hand))
    # One number for each address: every unit of a head or a layer has it.
    halves = torch.tensor([0.5, 2.0, 3.0, -1.0])
    by_hand = [
        scale(sites="blocks.0.attn.z", heads=1, by=0.5),
        scale(sites=["blocks.2.attn.out", "blocks.2.mlp.out"], by=2.0),
        scale("blocks.1.mlp.neurons[4]", by=3.0),
        scale(sites="blocks.0.mlp.out", by=-1.0),
    ]
    assert torch.equal(logits(net, scale(found, by=halves)), logits(net, *by_hand))
    # A site alone takes a direction, as in sites=.
    direction = torch.linspace(-1, 1, net.find("blocks.1.resid_post")[0].width)
    assert torch.equal(
        logits(net, add("blocks.1.resid_post", by=direction)),
        logits(net, add(sites="blocks.1.resid_post", by=direction)),
    )
    # A site and one of its units are the site; two numbers for one unit are refused.
    both = ["blocks.1.mlp.neurons[4]", "blocks.1.mlp.neurons"]
    whole = logits(net, scale(sites=both[1], by=2.0))
    for pair in (both, both[::-1], [both[1], both[1]]):
        torch.testing.assert_close(logits(net, scale(pair, by=2.0)), whole)
        with pytest.raises(NisslError, match="named twice"):
            logits(net, scale(pair, by=[0.5, 2.0]))


def test_heads_of_a_pattern_have_addresses():
    net, at = nissl.load(tiny("llama", dtype=torch.float64)), "blocks.1.attn.pattern"
    by_hand = [scale(sites=at, heads=1, by=0.5), scale(sites=at, heads=3, by=0.0)]
    found = logits(net, scale([f"{at}[head 1]", f"{at}[head 3]"], by=[0.5, 0.0]))
    assert torch.equal(found, logits(net, *by_hand))


def test_features_and_units_of_experts_go_with_heads():
    net = nissl.load(tiny("mixtral", dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    encoder, decoder = (torch.randn(*n, generator=generator) for n in ((16, 30), (30, 16)))
    zeros = torch.zeros(30), torch.zeros(16)
    at = "blocks.1.resid_post"
    net = net.with_dictionary(
        LinearDictionary(at, *(x.double() for x in (encoder, zeros[0], decoder, zeros[1])))
    )
    expert, feature = "blocks.0.moe.experts[2].neurons", f"{at}.sae"
    (found,) = net.find(f"{feature}[7]")
    assert (found.kind, found.layer, found.pieces[0].site.width) == ("unit", 1, 30)
    by_hand = [
        ablate(sites=expert, indices=[7]),
        ablate(sites=feature, indices=[7]),
        ablate(sites="blocks.2.attn.z", heads=3),
    ]
    mixed = [f"{expert}[7]", f"{feature}[7]", "blocks.2.attn.z[head 3]"]
    found = logits(net, ablate(mixed))
    assert torch.equal(found, logits(net, *by_hand))
    for one in by_hand:
        assert not torch.equal(found, logits(net, one))


def test_parts_go_through_batches_gates_patches_and_files(tmp_path):
    net, head = nissl.load(tiny("llama", dtype=torch.float64)), "blocks.1.attn.z[head 2]"
    edits = [ablate(head), scale("blocks.2", by=0.5), ablate([head, "blocks.0"], to=0.25)]
    with net.edit_batch(edits):
        together = net.run(ids(), sites="logits")["logits"].unflatten(0, (3, -1))
    for edit, found in zip(edits, together, strict=True):
        alone = logits(net, edit)
        torch.testing.assert_close(found, alone)
        save_edit(edit, tmp_path / "edit.json")
        assert torch.equal(logits(net, load_edit(tmp_path / "edit.json")), alone)
    always = gate(edits[2], reads="embed", when=lambda x: torch.ones(x.shape[:2], dtype=bool))
    assert torch.equal(logits(net, always), alone)
    other = net.run(ids(seed=1), sites="blocks.1.attn.z")
    by_hand = patch(other, sites="blocks.1.attn.z", heads=2)
    assert torch.equal(logits(net, patch(other, units=head)), logits(net, by_hand))


def test_edges_are_refused_for_now():
    with pytest.raises(NisslError, match="an edge cannot be edited"):
        ablate(EDGE)
