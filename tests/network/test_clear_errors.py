"""What cannot be done is said in words: what was wrong, where, and what to do."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import ablate, clamp, patch, scale, unembed
from nissl.network.sites.weights import folded_unembedding
from tiny import Letters, ids, tiny

SITE = "blocks.0.resid_post"


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("llama"), tokenizer=Letters())


INPUTS = {
    "none among texts": ["ab", None],
    "nan among texts": ["ab", float("nan")],
    "none alone": [None],
    "nothing": None,
    "bytes": [b"abc"],
    "a missing text in a table": pd.DataFrame({"text": ["ab", None]}),
    "no text": "",
    "ids with fractions": [5.5, 3.2],
    "no ids": [[]],
    "words": [["a", "b"]],
    "truth": [[True, False]],
    "a number": 5,
    "a set": {"ab", "cde"},
    "an object": object(),
    "no array": {"input_ids": None},
}


@pytest.mark.parametrize("given", INPUTS)
def test_what_is_neither_text_nor_ids(net, given):
    with pytest.raises(NisslError):
        nissl.record(net, INPUTS[given], sites=SITE, progress=False)


def test_arguments_beside_the_ids_are_passed_on(net):
    expected = nissl.record(net, ids(), sites=SITE, progress=False).values
    for more in ({"use_cache": False}, {"attention_mask": None}, {"output_attentions": False}):
        given = {"input_ids": ids(), **more}
        rec = nissl.record(net, given, sites=SITE, progress=False)
        np.testing.assert_allclose(rec.values, expected)
        assert torch.equal(net.run(given, sites=SITE)[SITE], net.run(ids(), sites=SITE)[SITE])


@pytest.mark.parametrize(
    "option",
    [
        {"return_dict_in_generate": True},
        {"max_length": 9},
        {"do_sample": True},
        {"output_scores": True},
        {"attention_mask": torch.ones(1, 2)},
        {"input_ids": torch.ones(1, 2)},
        {"no_such_option": 1},
        {"max_new_tokens": 0},
        {"sample": True, "temperature": 0.0},
    ],
)
def test_options_of_generation_that_are_not_ours(net, option):
    with pytest.raises(NisslError) as caught:
        net.generate([[5, 6]], **option)
    assert caught.value.do


def test_no_units_no_sites_no_batch(net):
    for wrong in ({"heads": []}, {"indices": []}, {"indices": np.array([], dtype=int)}):
        with pytest.raises(NisslError, match="no unit"):
            ablate(sites="attn.z", **wrong)
    with pytest.raises(NisslError, match="no name of a site"):
        net.run(ids(), sites=0)
    for size in (0, -1, 1.5):
        with pytest.raises(NisslError, match="batch"):
            nissl.record(net, ids(), sites=SITE, batch_size=size, progress=False)


@pytest.mark.parametrize("value", [None, "a", [1.0, None], 1j, [[1.0], [1.0, 2.0]]])
def test_values_that_are_no_numbers(net, value):
    for make in (lambda: clamp(sites=SITE, to=value), lambda: scale(sites=SITE, by=value)):
        with pytest.raises(NisslError), net.edit(make()):
            net.run(ids(), sites="logits")


EDITS = {
    "heads in words": lambda: ablate(sites="attn.z", heads="1"),
    "indices of nothing": lambda: ablate(sites=SITE, indices=[None]),
    "positions in words": lambda: ablate(sites=SITE, positions="last"),
    "items in words": lambda: ablate(sites=SITE, items=["first"]),
    "a function that gives a word": lambda: ablate(sites=SITE, positions=lambda p: "all"),
    "a function of another shape": lambda: ablate(sites=SITE, positions=lambda p: p[0] > 2),
    "no run to patch from": lambda: patch(None, sites=SITE),
    "no edit": lambda: None,
    "an address alone": lambda: SITE,
    "a number alone": lambda: [5],
}


@pytest.mark.parametrize("kind", EDITS)
def test_what_is_no_edit_or_place(net, kind):
    with pytest.raises(NisslError), net.edit(EDITS[kind]()):
        net.run(ids(), sites="logits")


def test_weights_without_values_have_no_hash():
    with pytest.raises(NisslError, match="meta device"):
        nissl.load(nn.Sequential(nn.Linear(2, 2, device="meta"))).weights_hash  # noqa: B018


def test_what_is_no_network_and_devices_that_are_not_there():
    for wrong in (None, 5, {"a": 1}, len):
        with pytest.raises(NisslError, match="is no network"):
            nissl.load(wrong)
    missing = "cuda" if not torch.cuda.is_available() else "cuda:99"
    for device in (missing, "gpu"):
        for source in (tiny("llama"), "smollm2"):
            with pytest.raises(NisslError, match="cannot be used"):
                nissl.load(source, device=device, progress=False)


@pytest.mark.filterwarnings("ignore")
def test_scripted_models_and_parts():
    plain = nn.Sequential(nn.Linear(2, 2))
    for scripted in (torch.jit.script(plain), torch.jit.trace(plain, torch.ones(3, 2))):
        with pytest.raises(NisslError, match="keeps no hooks"):
            nissl.load(scripted)
        around = nissl.load(nn.Sequential(scripted, nn.ReLU()))
        assert nissl.record(around, torch.ones(3, 2), sites="1", progress=False).shape == (3, 2)
        with pytest.raises(NisslError, match="keeps no hooks"):
            nissl.record(around, torch.ones(3, 2), sites="0.0", progress=False)


class Lists(nn.Module):
    def forward(self, x):
        return [x * 2, x * 3]


class ReadsLists(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Lists()

    def forward(self, x):
        a, b = self.inner(x)
        return a + b


def test_outputs_in_lists_are_read_and_edited_like_those_in_tuples():
    net, x = nissl.load(ReadsLists()), torch.ones(3, 2)
    for site, factor in (("inner", 2), ("inner:0", 2), ("inner:1", 3)):
        assert torch.equal(net.run(x, sites=site)[site], factor * x)
        with net.edit(ablate(sites=site)):
            assert torch.equal(net.model(x), (5 - factor) * x)
    with pytest.raises(NisslError, match="no item 7"):
        net.run(x, sites="inner:7")


@pytest.mark.parametrize("before", [True, False])
def test_embeddings_narrower_than_the_stream(before):
    model = tiny("opt", word_embed_proj_dim=8, do_layer_norm_before=before)
    net = nissl.load(model)
    found = net.run(ids(), sites=list(net.named_sites))
    for site in net.named_sites.values():
        assert site.width in (None, found[site.name].shape[-1]), site.name
    assert net.unembedding.shape == (40, 16)
    read = unembed(net)(found["blocks.2.resid_post"])
    torch.testing.assert_close(read, found["logits"])
    assert folded_unembedding(net).shape == (40, 16)


def classifier(**options):
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_labels=3,
        **options,
    )
    torch.manual_seed(0)
    return transformers.LlamaForSequenceClassification(config).double().eval()


def test_a_classifier_without_a_padding_token_reads_one_text_at_a_time():
    net, texts = nissl.load(classifier()), [[5, 6, 7], [4, 9]]
    with pytest.raises(NisslError, match="padding token") as caught:
        net.run(texts, sites="logits")
    assert "batch_size=1" in caught.value.do
    assert net.run(texts, sites=SITE)
    other = nissl.load(classifier(pad_token_id=0))
    other.model.load_state_dict(net.model.state_dict())
    found = other.run(texts, sites="logits")["logits"]
    for row, text in zip(found, texts, strict=True):
        torch.testing.assert_close(row, net.model(torch.tensor([text])).logits[0])


def test_inputs_that_a_model_does_not_take():
    net = nissl.load(nn.Sequential(nn.Linear(2, 2)))
    for x in (torch.ones(3, 5), torch.ones(3, 2, dtype=torch.complex64), torch.ones(3, 2).long()):
        with pytest.raises(NisslError, match="failed on its inputs") as caught:
            nissl.record(net, x, sites="0", progress=False)
        assert caught.value.__cause__ is not None
    with net.edit(scale(sites="0", by=2.0)), pytest.raises(NisslError, match="failed"):
        net.run(torch.ones(3, 5), sites="0")


@pytest.mark.parametrize("edit", ["ablate", "clamp", "scale", "add", "project", "patch"])
def test_options_that_an_edit_does_not_have(edit):
    with pytest.raises(NisslError, match="no option is called 'values'"):
        getattr(nissl.network, edit)("0", values=5)
