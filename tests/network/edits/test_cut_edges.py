"""Cut edges: equal to runs by hand, to patched nodes, and to the other run where all are cut."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import cut_edges, edges_of
from tiny import CAUSAL, ids, in_doubles, tiny

CLOSE = {"atol": 1e-10, "rtol": 0}


def logits(net, inputs, *edits):
    with net.edit(*edits):
        return net.run(inputs, sites="logits")["logits"]


# DeepSeek makes queries and keys of latents, so that its edges are refused.
@pytest.fixture(params=[name for name in CAUSAL if "deepseek" not in name])
def net(request):
    return nissl.load(in_doubles(tiny(request.param)))


@pytest.fixture
def runs(net):
    """Two runs, and what each writer added in them."""
    edges, inputs = edges_of(net), (ids(2, 6, seed=1), ids(2, 6, seed=2))
    return inputs, [net.run(x, sites=edges.writer_sites) for x in inputs]


def test_with_every_edge_cut_all_is_as_in_the_other_run(net, runs):
    (here, there), (own, other) = runs
    every = edges_of(net).allowed.double()
    assert torch.allclose(
        logits(net, here, cut_edges(every, to=other)), logits(net, there), **CLOSE
    )
    assert torch.allclose(logits(net, here, cut_edges(every, to=own)), logits(net, here), **CLOSE)


@pytest.mark.parametrize("writer", ["blocks.0.attn.z[head 2]", "blocks.1.mlp.out"])
def test_all_edges_of_a_writer_are_the_patched_node(net, runs, writer):
    (here, _), (_, other) = runs
    edges = edges_of(net)
    rows = edges.allowed[:, edges.writers.index(writer)]
    names = [f"{writer} -> {edges.readers[r]}" for r in rows.nonzero().flatten()]
    head = 2 if "head" in writer else None
    site = "blocks.0.attn.heads" if head else "blocks.1.mlp.out"
    whole = logits(net, here, nissl.patch(other, sites=site, heads=head))
    found = logits(net, here, cut_edges(names, to=other))
    assert torch.allclose(found, whole, atol=1e-6)  # Gemma's heads are scaled in floats


@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_one_edge_into_a_head_equals_a_run_by_hand(kind):
    net = nissl.load(tiny("llama"))
    here, there = ids(2, 6, seed=1), ids(2, 6, seed=2)
    block = net.model.model.layers[2]
    own, other = (
        net.run(x, sites=["blocks.0.attn.heads", "blocks.2.resid_pre"]) for x in (here, there)
    )
    change = [run["blocks.0.attn.heads"][..., 3 * 16 : 4 * 16] for run in (other, own)]
    stream = own["blocks.2.resid_pre"] + change[0] - change[1]
    module = getattr(block.self_attn, f"{kind}_proj")
    with torch.no_grad():
        wanted = module(block.input_layernorm(stream))

    def hook(module, args, output):
        output = output.clone()
        output[..., 4:8] = wanted[..., 4:8]
        return output

    handle = module.register_forward_hook(hook)
    by_hand = logits(net, here)
    handle.remove()
    edge = f"blocks.0.attn.z[head 3] -> blocks.2.attn.{kind}[head 1]"
    to = net.run(there, sites=edges_of(net).writer_sites)
    found = logits(net, here, cut_edges(edge, to=to))
    assert torch.allclose(found, by_hand, **CLOSE)
    assert not torch.allclose(found, logits(net, here), **CLOSE)


def test_many_sets_of_edges_are_one_batch(net, runs):
    (here, _), (_, other) = runs
    sets = [["embed -> blocks.1.mlp.out"], ["blocks.0.mlp.out -> blocks.2.attn.q[head 0]"], None]
    edits = [None if s is None else cut_edges(s, to=other) for s in sets]
    alone = [logits(net, here, *([] if e is None else [e])) for e in edits]
    with net.edit_batch(edits):
        together = net.run(here, sites="logits")["logits"]
    assert torch.allclose(together, torch.cat(alone), **CLOSE)


def test_edges_stay_cut_while_generating(net):
    edges = ["embed -> blocks.1.mlp.out", "blocks.0.attn.z[head 1] -> blocks.2.attn.v[head 0]"]
    prompt = ids(2, 5).tolist()
    with net.edit(cut_edges(edges)):
        cached = net.generate(prompt, max_new_tokens=6)
        whole = net.generate(prompt, max_new_tokens=6, use_cache=False)
    assert cached == whole
    other = net.run(prompt, sites=edges_of(net).writer_sites)
    with pytest.raises(NisslError, match="goes on beyond"), net.edit(cut_edges(edges, to=other)):
        net.generate(prompt, max_new_tokens=6)


def test_prompts_of_several_lengths_are_cut_as_each_alone():
    net = nissl.load(tiny("llama"))
    given, others = [[5, 6, 7, 8], [9, 10]], [[11, 12, 13, 14], [15, 16]]
    edge = "embed -> blocks.1.attn.k[head 1]"
    sites = edges_of(net).writer_sites
    together = logits(net, given, cut_edges(edge, to=net.run(others, sites=sites)))
    for row, (a, b) in enumerate(zip(given, others, strict=True)):
        alone = logits(net, [a], cut_edges(edge, to=net.run([b], sites=sites)))
        assert torch.allclose(together[row, : len(a)], alone[0], **CLOSE)


def test_shares_have_a_gradient():
    """That of a share is the effect of cutting a little of the edge."""
    net = nissl.load(in_doubles(tiny("llama")))
    edges, here, there = edges_of(net), ids(1, 5, seed=1), ids(1, 5, seed=2)
    other = net.run(there, sites=edges.writer_sites)
    share = torch.full(edges.allowed.shape, 0.3, dtype=torch.float64, requires_grad=True)
    with net.edit(cut_edges(share, to=other)):
        net.model(here).logits[0, -1, 3].backward()
    row, column = edges.index(["blocks.0.mlp.out -> blocks.1.attn.v[head 0]"])
    more = share.detach().clone()
    more[row, column] += 1e-6
    values = [logits(net, here, cut_edges(s, to=other))[0, -1, 3] for s in (share.detach(), more)]
    assert float((values[1] - values[0]) / 1e-6) == pytest.approx(
        float(share.grad[row, column]), rel=1e-4
    )
    assert not share.grad[~edges.allowed].any()


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        ("blocks.1.mlp.out", "no edge"),
        ("blocks.1.mlp.out -> blocks.0.mlp.out", "computed after"),
        ("blocks.1.mlp.out -> blocks.1.mlp.out", "computed after"),
        ("blocks.0.attn.z[head 9] -> logits", "head 9"),
        ("embed -> blocks.1.attn.z[head 0]", "blocks.1.attn.z"),
    ],
)
def test_what_is_no_edge_is_said(edge, said):
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match=said), net.edit(cut_edges(edge)):
        pass


def test_networks_without_edges_say_why():
    for model, said in ((tiny("bert"), "norms the residual stream"), (tiny("conv"), "no sites")):
        with pytest.raises(NisslError, match=said):
            edges_of(nissl.load(model))


def test_attention_that_reads_a_latent_is_refused():
    with pytest.raises(NisslError, match=r"edges of .* are not known"):
        edges_of(nissl.load(tiny("deepseek_v3")))
