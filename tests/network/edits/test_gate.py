"""Gates: one site is read, another written, and what the prompt said holds while decoding."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import ablate, add, clamp, gate
from tiny import ids, tiny

READ, WRITE = "blocks.0.mlp.neurons", "blocks.1.mlp.neurons"


def test_acts_where_the_condition_holds_place_by_place():
    net, x = nissl.load(tiny("llama")), ids()
    read = net.run(x, sites=READ)[READ][..., 3]
    threshold = read.median()
    edit = gate(clamp(f"{WRITE}[5]", to=9.0), reads=READ, when=lambda r: r[..., 3] > threshold)
    with net.edit(edit):
        found = net.run(x, sites=WRITE)[WRITE][..., 5]
    assert torch.equal(found == 9.0, read > threshold)
    assert 0 < (found == 9.0).sum() < found.numel()


@pytest.mark.parametrize("use_cache", [True, False])
def test_what_the_prompt_said_holds_while_decoding(use_cache):
    net, token = nissl.load(tiny("llama")), 11
    with_it, without = [5, token, 9, 8], [5, 12, 9]
    seen = []

    class Spy:
        reads, writes = (WRITE,), ()

        def begin(self, batch):
            pass

        def apply(self, site, x, positions, phase):
            seen.append((x[..., 5] == 9.0, positions))

    embedded = net.run([[token]], sites="embed")["embed"][0, 0]
    edit = gate(
        clamp(f"{WRITE}[5]", to=9.0),
        reads="embed",
        when=lambda x: (x == embedded).all(-1),
        over="prompt",
    )
    with net.edit(edit, Spy()):
        net.generate([with_it, without], max_new_tokens=4, use_cache=use_cache, min_new_tokens=4)
    assert len(seen) == 4
    for hit, positions in seen:
        assert hit[0][positions[0] >= 0].all()
        assert not hit[1].any()


def test_items_are_decided_as_a_whole_and_edits_within_gates_compose():
    net, x = nissl.load(tiny("gpt2")), ids()
    first = torch.tensor([True, False])
    edits = [add(sites=WRITE, by=1.0), clamp(f"{WRITE}[0]", to=2.0, positions=1)]
    plain = net.run(x, sites=WRITE)[WRITE]
    with net.edit(gate(edits, reads="embed", when=lambda e: first)):
        found = net.run(x, sites=WRITE)[WRITE]
    expected = plain.clone()
    expected[0] += 1
    expected[0, 1, 0] = 2
    assert torch.equal(found, expected)


def test_a_gate_that_reads_too_late_or_vaguely_is_refused():
    net, x = nissl.load(tiny("llama")), ids()
    always = {"when": lambda r: r[..., 0] > -1e9}
    for edit, said in (
        (gate(ablate(sites=READ), reads=WRITE, **always), "computed after"),
        (gate(ablate(sites=WRITE), reads="mlp.neurons", **always), "3 sites would decide"),
        (gate(ablate(sites=WRITE), reads=READ, when=lambda r: r > 0), "condition has shape"),
    ):
        with pytest.raises(NisslError, match=said), net.edit(edit):
            net.model(x)
    with pytest.raises(NisslError, match="'position' or 'prompt'"):
        gate(ablate(sites=WRITE), reads=READ, over="all", **always)


def test_a_custom_edit_in_a_gate_may_name_its_sites_shortly():
    class Zero:
        reads = ()

        def __init__(self, *names):
            self.writes = names

        def begin(self, batch):
            pass

        def apply(self, site, x, positions, phase):
            return torch.zeros_like(x)

    net, x = nissl.load(tiny("llama")), ids()
    always = {"reads": "embed", "when": lambda e: torch.ones(len(e), dtype=torch.bool)}
    with net.edit(ablate(sites="mlp.neurons")):
        expected = net.model(x).logits
    for names in (("mlp.neurons",), ("blocks.*.mlp.neurons",), ("blocks.*.mlp.hook_post",)):
        for edit in (gate(Zero(*names), **always), gate(gate(Zero(*names), **always), **always)):
            with net.edit(edit):
                assert torch.equal(net.model(x).logits, expected)
            with net.edit_batch([edit, None]):
                torch.testing.assert_close(net.model(x).logits[:2], expected)
