"""State-space blocks: their mixer adds to the stream, and an edit of it is one by hand."""

import pytest
import torch
import transformers

import nissl
from nissl.network import ablate, add

KINDS = {
    "mamba": {"state_size": 4, "time_step_rank": 2, "use_bias": True},
    "falcon_mamba": {"state_size": 4, "time_step_rank": 2},
    "mamba2": {"state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
}
AT = "blocks.1."


@pytest.fixture(params=KINDS)
def net(request):
    torch.manual_seed(0)
    common = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "expand": 2}
    config = transformers.AutoConfig.for_model(request.param, **common, **KINDS[request.param])
    return nissl.load(transformers.AutoModelForCausalLM.from_config(config).eval())


def inputs():
    return torch.randint(3, 40, (2, 7), generator=torch.Generator().manual_seed(0))


def test_the_mixer_adds_what_its_output_matrix_makes_of_its_neurons(net):
    found = net.run(inputs(), sites=[*net.named_sites])
    for layer in range(3):
        at = f"blocks.{layer}."
        out = net.block(layer).mixer.out_proj(found[at + "mixer.neurons"])
        assert torch.equal(out, found[at + "mixer.out"])
        total = found[at + "resid_pre"] + found[at + "mixer.out"]
        torch.testing.assert_close(total, found[at + "resid_post"])
        assert found[at + "mixer.neurons"].shape[-1] == net.find(at + "mixer.neurons")[0].width


def test_what_is_added_to_a_mixer_goes_where_plain_code_says(net):
    shift = torch.linspace(-1, 1, 16)
    handle = net.block(1).register_forward_hook(lambda module, args, output: output + shift)
    expected = net.model(inputs()).logits
    handle.remove()
    for site in ("mixer.out", "resid_post"):
        with net.edit(add(sites=AT + site, by=shift)):
            torch.testing.assert_close(net.model(inputs()).logits, expected)


def test_a_layer_is_its_mixer(net):
    with net.edit(ablate("blocks.1")):
        found = net.run(inputs(), sites=[AT + "resid_pre", AT + "resid_post"])
    assert torch.equal(found[AT + "resid_pre"], found[AT + "resid_post"])
