"""Edits in force: applied everywhere they should be, composed in order, and gone afterwards."""

import copy

import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import Network, ablate, add, clamp, project, scale
from nissl.network.edits.weight_edit import WeightEdit
from tiny import MODULES, TRANSFORMERS, ids, inputs, tiny


def load(name, **options):
    return nissl.load(tiny(name, **options))


def state(model: nn.Module) -> object:
    """Everything that hooks and hook points may leave behind."""
    kept = []
    for path, module in model.named_modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        own = [k for k in module.__dict__ if k.startswith("_nissl") or k == "forward"]
        config = getattr(module, "config", None)
        attention = getattr(config, "_attn_implementation", None)
        kept.append((path, [len(h) for h in hooks], own, attention))
    return kept


EVERY = ("resid_pre", "attn.q", "attn.k_rot", "attn.z", "attn.heads", "attn.out", "resid_mid")
EVERY += ("mlp.neurons", "moe.experts[1].neurons", "mlp.out", "resid_post")


def some_sites(net: Network) -> list[str]:
    return [f"blocks.1.{name}" for name in EVERY if f"blocks.1.{name}" in net.named_sites]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_ablating_heads_and_neurons_leaves_the_residual_and_the_biases(name):
    net = load(name)
    x, at = inputs(name), "blocks.1."
    neurons = [s for s in net.named_sites if s.startswith(at) and s.endswith(".neurons")]
    with net.edit(ablate(sites=[at + "attn.heads", *neurons])):
        found = net.run(x, sites=[at + "resid_pre", at + "resid_post", at + "attn.heads"])
    assert not found[at + "attn.heads"].any()
    pre, post = found[at + "resid_pre"], found[at + "resid_post"]
    if net.architecture.post_norm:
        # The stream is normed after each addition, of which the biases are left.
        block = net.block(1)
        attention = block.attention.attn.o if name == "mpnet" else block.attention.output.dense
        norm = block.attention.LayerNorm if name == "mpnet" else block.attention.output.LayerNorm
        mid = norm(pre + attention.bias)
        expected = block.output.LayerNorm(mid + block.output.dense.bias)
        torch.testing.assert_close(post, expected, rtol=0, atol=1e-12)
        return
    if name == "gpt_oss":  # each expert has a bias
        return
    # What is left is the biases of the output projections.
    points = [net.named_sites[s].hook_point for s in (at + "attn.heads", *neurons[:1])]
    modules = [net.model.get_submodule(point.path) for point in points]
    biases = [m.bias for m in modules if getattr(m, "bias", None) is not None]
    if not biases:
        assert torch.equal(pre, post)
    torch.testing.assert_close(post, pre + sum(biases), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_z_and_heads_ablated_are_the_same(name):
    net, x = load(name), inputs(name)
    sites = ["blocks.1.resid_post"]
    with net.edit(ablate(sites="blocks.1.attn.z", heads=[1, 3])):
        a = net.run(x, sites=sites)[sites[0]]
    with net.edit(ablate(sites="blocks.1.attn.heads", heads=[1, 3])):
        b = net.run(x, sites=sites)[sites[0]]
    if net.architecture.norms[0] is None:  # a norm after the projection is of what is left
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * float(b.abs().max()))
    plain = net.run(x, sites=sites)[sites[0]]
    assert (plain - b).abs().max() > 1e-3


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_an_edit_that_does_nothing_changes_no_bit_at_any_site(name):
    net, x = load(name), inputs(name)
    last = list(net.named_sites)[-1]
    with torch.no_grad():
        plain = net.run(x, sites=last)[last]
        for site in some_sites(net):
            for edit in (scale(sites=site, by=1.0), add(sites=site, by=0.0)):
                with net.edit(edit):
                    assert torch.equal(net.run(x, sites=last)[last], plain), (site, edit)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_site_can_be_written_and_is_seen_written(name):
    net, x = load(name), inputs(name)
    last = list(net.named_sites)[-1]
    plain = net.run(x, sites=last)[last]
    for site in some_sites(net):
        with net.edit(scale(sites=site, indices=[2], by=4.0)):
            found = net.run(x, sites=[site, last])
        expected = net.run(x, sites=site)[site].clone()
        expected[..., 2] *= 4.0
        torch.testing.assert_close(found[site], expected, rtol=0, atol=1e-6, equal_nan=True)
        assert (found[last] - plain).abs().max() > 1e-6, site


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_everything_is_restored_also_after_an_exception(name):
    net, x = load(name), inputs(name)
    before, weights = state(net.model), copy.deepcopy(net.model.state_dict())
    sites = some_sites(net)
    with net.edit(*(scale(sites=s, by=2.0) for s in sites)):
        net.run(x, sites=sites)
        assert state(net.model) != before
    assert state(net.model) == before
    with pytest.raises(ZeroDivisionError), net.edit(*(scale(sites=s, by=2.0) for s in sites)):
        raise ZeroDivisionError
    with (
        pytest.raises(NisslError, match="no unit 10000"),
        net.edit(*(scale(sites=s, by=2.0) for s in sites), ablate(f"{sites[0]}[10000]")),
    ):
        pass
    assert state(net.model) == before
    assert not net.editing
    assert not net.edit_blocks
    for key, tensor in net.model.state_dict().items():
        assert torch.equal(tensor, weights[key])


def test_edits_compose_in_order_as_hooks_written_by_hand():
    net, x = load("llama"), ids()
    site, module = "blocks.1.mlp.neurons", net.block(1).mlp.down_proj

    def by_hand(module, args):
        return ((args[0] + 1.0) * 2.0,)

    handle = module.register_forward_pre_hook(by_hand)
    expected = net.model(x).logits
    handle.remove()
    a, b = add(sites=site, by=1.0), scale(sites=site, by=2.0)
    with net.edit(a, b):
        assert torch.equal(net.model(x).logits, expected)
    with net.edit(a), net.edit(b):
        assert torch.equal(net.model(x).logits, expected)
    with net.edit([b, a]):
        assert not torch.equal(net.model(x).logits, expected)


@pytest.mark.parametrize("name", ["llama", "bert", "gemma3_text", "gpt2"])
def test_edits_of_heads_compose_with_each_other_and_with_their_sum(name):
    net, x, at = load(name), inputs(name), "blocks.1.attn."
    sites = [at + "heads", at + "out"]
    with net.edit(ablate(sites=sites[0], heads=0)), net.edit(ablate(sites=sites[0], heads=2)):
        apart = net.run(x, sites=sites)
    with net.edit(ablate(sites=sites[0], heads=[0, 2])):
        torch.testing.assert_close(net.run(x, sites=sites), apart)
    assert not apart[sites[0]].unflatten(-1, (4, -1))[..., [0, 2], :].any()
    # The order of entering must not undo what comes later in the computation.
    edits = [add(sites=sites[1], by=5.0), ablate(sites=sites[0])]
    plain = net.run(x, sites=sites)
    rest = plain[sites[1]] - plain[sites[0]].unflatten(-1, (4, -1)).sum(-2)
    for order in (edits, edits[::-1]):
        with net.edit(order[0]), net.edit(order[1]):
            found = net.run(x, sites=sites)
        torch.testing.assert_close(found[sites[1]], rest + 5.0, rtol=0, atol=1e-6)
        assert not found[sites[0]].any()


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "mixtral", "opt"])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_edits_of_padded_batches_equal_those_of_single_items(name, padding):
    net = load(name)
    texts = [ids(1, n, seed=n)[0].tolist() for n in (7, 3, 5)]
    site = "blocks.1.resid_post"
    places = [None, 1, -1, [0, -2], slice(1, None), slice(-2, -1), lambda p: p % 2 == 0]
    for place in places:
        edit = add(sites="blocks.0.resid_post", by=torch.arange(16.0), positions=place)
        with net.edit(edit):
            alone = [net.run([t], sites=site)[site][0] for t in texts]
            together = net.run(texts, sites=site, padding=padding)[site]
        for row, expected in zip(together, alone, strict=True):
            n = len(expected)
            got = row[:n] if padding == "right" else row[-n:]
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_positions_count_without_padding_and_choose_only_what_they_say():
    net, site = load("llama"), "embed"
    texts = [ids(1, n)[0].tolist() for n in (6, 3)]
    plain = net.run(texts, sites=site)[site]

    def where(padding="right", **chosen):
        with net.edit(clamp(sites=site, to=9.0, **chosen)):
            hit = (net.run(texts, sites=site, padding=padding)[site] == 9.0).all(-1)
        return [row.nonzero().flatten().tolist() for row in hit]

    assert plain.shape[1] == 6
    assert where(positions=0) == [[0], [0]]
    assert where(positions=-1) == [[5], [2]]
    assert where("left", positions=-1) == [[5], [5]]
    assert where("left", positions=0) == [[0], [3]]
    assert where(positions=[1, -1]) == [[1, 5], [1, 2]]
    assert where(positions=slice(None, -2)) == [[0, 1, 2, 3], [0]]
    assert where(positions=slice(0, None, 2)) == [[0, 2, 4], [0, 2]]
    assert where(positions=slice(4, 9)) == [[4, 5], []]
    assert where(positions=torch.tensor([False, True])) == [[1], [1]]
    assert where(positions=slice(1, 2), items=1) == [[], [1]]
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[1, 2] = True
    assert where(positions=mask) == [[], [2]]
    with pytest.raises(NisslError, match="before the beginning of a prompt of 3"):
        where(positions=-5)
    with pytest.raises(NisslError, match="never came by"):
        where(positions=17)
    with pytest.raises(NisslError, match="2 items"):
        where(items=[7])
    with pytest.raises(NisslError, match="does not fit"):
        where(positions=torch.ones(3, 6, dtype=torch.bool))


def test_autograd_goes_through_edits():
    net, x = load("gpt2"), ids()  # its norms do not round to floats
    direction = torch.randn(16, dtype=torch.float64, requires_grad=True)

    def loss():
        with net.edit(
            ablate("blocks.0.mlp.neurons[3]"),
            add(sites="blocks.1.resid_mid", by=0.5 * direction),
            scale(sites="blocks.1.attn.heads", heads=1, by=0.3),
        ):
            return net.model(x).logits.square().mean()

    (gradient,) = torch.autograd.grad(loss(), direction)
    step = 1e-6 * torch.randn(16, dtype=torch.float64)
    with torch.no_grad():
        direction += step
        up = loss()
        direction -= 2 * step
        down = loss()
        direction += step
    torch.testing.assert_close((up - down) / 2, gradient @ step, rtol=1e-5, atol=1e-15)


def test_an_edit_never_applied_is_an_error():
    net, x = load("attention"), inputs("attention")
    edit = ablate(sites="attention.out_proj")
    with pytest.raises(NisslError, match="never fired"), net.edit(edit):
        net.model(x)
    with net.edit(edit):
        pass  # the model did not run
    with pytest.raises(ZeroDivisionError), net.edit(edit):
        net.model(x)[0 // 0]
    with net.edit(ablate(sites="attention")):
        assert torch.equal(net.model(x), net.model.head.bias.expand(2, 5, 3))


def test_a_compiled_model_is_refused():
    net = Network(torch.compile(tiny("conv"), backend="eager"))
    with pytest.raises(NisslError, match="compiled"), net.edit(ablate(sites="_orig_mod.conv1")):
        pass
    inside = load("llama")
    inside.block(1).compile(backend="eager")
    with pytest.raises(NisslError, match="compiled"), inside.edit(ablate(sites="resid_pre")):
        pass


@pytest.mark.parametrize("name", MODULES)
def test_plain_modules_are_edited_in_place_of_their_outputs(name):
    net, x = load(name), inputs(name)
    site = {
        "conv": "relu",
        "gru": "rnn",
        "lstm": "rnn",
        "dictionary": "inner:hidden",
        "tuple": "inner",
        "attention": "attention",
        "repeated": "cell",
    }[name]
    before = state(net.model)
    with torch.no_grad():
        plain = net.run(x, sites=site)[site]
        with net.edit(clamp(sites=site, indices=[1], to=2.5)):
            edited = net.run(x, sites=site)[site]
            out = net.model(x)
    assert state(net.model) == before
    assert (edited[..., 1] == 2.5).all()
    if name != "repeated":  # its state feeds back, so that other units change too
        assert torch.equal(edited[..., [0, 2, 3]], plain[..., [0, 2, 3]])
    out = out["logits"] if isinstance(out, dict) else out
    again = net.model(x)
    again = again["logits"] if isinstance(again, dict) else again
    assert (out - again).abs().max() > 1e-4


def test_maps_take_masks_of_places_and_two_dimensional_outputs_none():
    net, x = load("conv"), inputs("conv")
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, 3, 4] = True
    with net.edit(clamp(sites="conv1", to=7.0, positions=mask)):
        found = net.run(x, sites="conv1")["conv1"]
    assert ((found == 7.0).all(-1) == mask).all()
    with (
        pytest.raises(NisslError, match="no positions"),
        net.edit(ablate(sites="conv1", positions=1)),
    ):
        net.model(x)
    with net.edit(ablate("head[1]")):
        assert not net.model(x)[:, 1].any()


def test_ablation_by_mean_and_resample_take_from_a_reference():
    net, x, site = load("llama"), ids(), "blocks.1.mlp.neurons"
    reference = [ids(1, 5, seed=7)[0].tolist(), ids(1, 3, seed=8)[0].tolist()]
    raw = net.run(reference, sites=site)[site]
    rows = torch.cat([raw[0], raw[1, :3]])
    with net.edit(ablate([f"{site}[4]", f"{site}[1]"], to="mean", of=reference)):
        found = net.run(x, sites=site)[site]
    torch.testing.assert_close(found[..., [4, 1]], rows.mean(0)[[4, 1]].expand(2, 7, 2))
    rec = nissl.record(net, reference, sites=site, dtype="float32", progress=False)
    with net.edit(ablate([f"{site}[4]", f"{site}[1]"], to="mean", of=rec)):
        again = net.run(x, sites=site)[site]
    torch.testing.assert_close(again, found, rtol=1e-5, atol=1e-6)
    sites = [site, "blocks.0.resid_post"]
    rows0 = net.run(reference, sites=sites[1])[sites[1]]
    rows0 = torch.cat([rows0[0], rows0[1, :3]])
    with net.edit(ablate(sites=sites, to="resample", of=reference, seed=3)):
        drawn = net.run(x, sites=sites)
        again = net.run(x, sites=sites)
    torch.testing.assert_close(drawn, again, rtol=0, atol=0)
    which = (drawn[site][..., None, :] - rows).abs().amax(-1).argmin(-1)
    assert torch.equal(drawn[site], rows[which])
    assert torch.equal(drawn[sites[1]], rows0[which])
    assert len(which.unique()) > 2


def test_values_per_unit_follow_the_order_of_the_addresses():
    net, x = load("llama"), ids()
    units = ["blocks.1.mlp.neurons[5]", "blocks.0.mlp.neurons[2]", "blocks.1.mlp.neurons[3]"]
    with net.edit(clamp(units, to=torch.tensor([5.0, 2.0, 3.0]))):
        found = net.run(x, sites=["blocks.0.mlp.neurons", "blocks.1.mlp.neurons"])
    assert (found["blocks.0.mlp.neurons"][..., 2] == 2).all()
    assert (found["blocks.1.mlp.neurons"][..., [3, 5]] == torch.tensor([3.0, 5.0])).all()

    class Found:
        units = ("blocks.1.mlp.neurons[5]",)

    with net.edit(ablate(Found())):
        assert not net.run(x, sites="blocks.1.mlp.neurons")["blocks.1.mlp.neurons"][..., 5].any()
    with pytest.raises(NisslError, match="2 values"), net.edit(clamp(units, to=[1.0, 2.0])):
        pass


def test_bad_selections_say_what_to_do():
    net = load("llama")
    for edit, said in (
        (lambda: ablate(), "either units or sites"),
        (lambda: ablate("blocks.0.mlp.neurons[1"), "not an address"),
        (lambda: ablate([]), "no unit"),
        (lambda: ablate("a[1]", indices=[2]), "go with sites"),
        (lambda: ablate(sites="embed", to="mean"), "needs samples"),
        (lambda: ablate("a[1]", of=ids()), "takes no of="),
        (lambda: ablate("a[1]", to=torch.ones(1), of=ids()), "values takes no of="),
        (lambda: ablate("a[1]", seed=3), "draws nothing"),
        (lambda: ablate(sites="attn.z", heads=1, indices=[0]), "either indices or heads"),
        (lambda: ablate(sites="attn.z", heads=[]), "no unit"),
        (lambda: ablate(sites="attn.z", indices=[]), "no unit"),
        (lambda: clamp("a[1]", to=1.0, between=(0, 1)), "either to="),
        (lambda: clamp("a[1]", between=3.0), "pair of bounds"),
        (lambda: clamp("a[1]", between=(None, None)), "pair of bounds"),
        (lambda: ablate(sites="embed", to="noise"), "'zero', 'mean', 'resample' or values"),
        (lambda: clamp("a[1]"), "to="),
    ):
        with pytest.raises(NisslError, match=said):
            edit()
    for edit, said in (
        (ablate("blocks.0.mlp.neuron[2]"), "did you mean"),
        (ablate("blocks.0.mlp.neurons[24]"), "24 units, 0 to 23"),
        (ablate(sites="embed", heads=1), "do not fall into heads"),
        (ablate(sites="attn.z", heads=4), "has 4 heads"),
        (ablate(sites="embed", indices=torch.ones(3, dtype=torch.bool)), "3 places"),
        (ablate(sites="embed", indices=[1, 1]), "named once"),
        (ablate(sites="embed", indices=[1.5]), "whole numbers"),
        (ablate(sites="attn.z", heads=[2, 2]), "heads are named once"),
        (clamp(["embed[1]", "embed[2]"], to=[1.0, 2.0, 3.0]), "3 values are given for 2"),
        (clamp(sites="embed", indices=[1, 2], to=torch.ones(9)), "9 values are given for 2"),
        (clamp(["embed[1]", "embed[1]"], to=[1.0, 2.0]), "named twice"),
        (clamp(["blocks.0.attn.z[head 1]", "blocks.0.attn.z[5]"], to=[1.0, 2.0]), "named twice"),
        (add(sites="embed", by={"embed": 1.0, "final_norm": 2.0}), "not edited"),
        (project(torch.ones(3), units=["embed[1]", "embed[2]"]), "do not fit 2 units"),
    ):
        with pytest.raises(NisslError) as error, net.edit(edit):
            pass
        assert said in str(error.value)


@torch.no_grad()
def test_a_cache_made_under_other_edits_is_refused():
    net, x = load("llama"), ids(1, 6)
    edit = add(sites="blocks.0.resid_post", by=1.0)
    with net.edit(edit):
        full = net.model(x).logits
        cache = net.model(x[:, :4], use_cache=True).past_key_values
        rest = net.model(x[:, 4:], past_key_values=cache).logits
        torch.testing.assert_close(rest, full[:, 4:])
        other = copy.deepcopy(cache)
        net.model(x[:, :1], past_key_values=other)
        with (
            net.edit(ablate("blocks.1.mlp.neurons[0]")),
            pytest.raises(NisslError, match="other edits"),
        ):
            net.model(x[:, :1], past_key_values=cache)
        net.model(x[:, :4])
        with pytest.raises(NisslError, match="another prompt"):
            net.model(x[:, :1], past_key_values=cache)
    with net.edit(edit), pytest.raises(NisslError, match="other edits"):
        net.model(x[:, :1], past_key_values=cache)
    with pytest.raises(NisslError, match="other edits"):
        net.run({"input_ids": x[:, :1], "past_key_values": cache}, sites="embed")
    plain = net.model(x[:, :4], use_cache=True).past_key_values
    with net.edit(edit), pytest.raises(NisslError, match="other edits"):
        net.model(x[:, :1], past_key_values=plain)


def test_weights_are_edited_and_put_back():
    net, x = load("llama"), ids()
    weight = net.block(1).mlp.down_proj.weight
    saved, plain = weight.detach().clone(), net.model(x).logits
    name = "model.layers.1.mlp.down_proj.weight"
    with net.edit(WeightEdit(name, torch.zeros_like), add(sites="embed", by=0.0)):
        assert not net.run(x, sites="blocks.1.mlp.out")["blocks.1.mlp.out"].any()
    with pytest.raises(ZeroDivisionError), net.edit(WeightEdit(name, lambda w: w * 2)):
        raise ZeroDivisionError
    assert torch.equal(weight, saved)
    assert net.block(1).mlp.down_proj.weight is weight
    assert torch.equal(net.model(x).logits, plain)
    with pytest.raises(NisslError, match="did you mean"), net.edit(WeightEdit(name + "s", saved)):
        pass
    with pytest.raises(NisslError, match="shape"), net.edit(WeightEdit(name, saved[:1])):
        pass


class Shifted:
    """An edit of one's own: reads one site, writes another."""

    def __init__(self, shape=None):
        self.reads, self.writes = ("blocks.0.attn.pattern", "embed"), ("blocks.1.resid_post",)
        self.shape, self.log = shape, []

    def begin(self, batch):
        self.log.append(("begin", tuple(batch.ids.shape), batch.prompt_lengths.tolist()))

    def apply(self, site, x, positions, phase):
        self.log.append((site, tuple(x.shape), positions.tolist(), phase))
        if site == "embed":
            self.embedded = x
            return x + 1.0  # only read, so that nothing comes of it
        if site == "blocks.1.resid_post":
            return x[:1] if self.shape else x + self.embedded
        return None


def test_an_edit_of_ones_own_sees_batches_positions_and_phases():
    net, x = load("llama"), [[5, 6, 7], [8, 9]]
    plain = net.run(x, sites=["embed", "blocks.1.resid_post"], padding="left")
    edit = Shifted()
    assert isinstance(edit, nissl.network.Edit)
    with net.edit(edit):
        found = net.run(x, sites=["embed", "blocks.1.resid_post"], padding="left")
    assert torch.equal(found["embed"], plain["embed"])
    expected = plain["blocks.1.resid_post"] + plain["embed"]
    torch.testing.assert_close(found["blocks.1.resid_post"], expected)
    assert edit.log[:2] == [
        ("begin", (2, 3), [3, 2]),
        ("embed", (2, 3, 16), [[0, 1, 2], [-1, 0, 1]], "prefill"),
    ]
    edit = Shifted()
    with net.edit(edit):
        net.generate(x, max_new_tokens=2, min_new_tokens=2)
    assert [entry[0] for entry in edit.log].count("begin") == 1
    assert edit.log[-1] == ("blocks.1.resid_post", (2, 1, 16), [[3], [2]], "decode")
    with pytest.raises(NisslError, match="an edit made"), net.edit(Shifted(shape=True)):
        net.run(x, sites="blocks.1.resid_post")


def test_the_model_may_write_into_what_an_edit_left():
    net, x = load("conv"), inputs("conv")
    ones = torch.ones(4, dtype=torch.float64)
    with torch.no_grad(), net.edit(ablate(sites="conv2"), clamp(sites="norm", to=ones)):
        found = net.run(x, sites=["relu", "last"])
    assert (found["relu"] == 1).all()
    assert (found["last"] == 1).all()
    assert (ones == 1).all()
