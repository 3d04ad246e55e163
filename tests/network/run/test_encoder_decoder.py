"""Encoder-decoders: each side is read, recorded, edited and gone on from by its own tokens."""

import numpy as np
import pytest
import torch
import transformers

import nissl
from nissl import NisslError
from nissl.network import scale
from nissl.network.gradients import gradients

DOCUMENTS, ANSWERS = [[5, 6, 7], [8, 9, 10, 11, 12]], [[1, 4, 5, 6], [1, 9]]
SITES = {
    "t5": ("encoder.block.1", "decoder.block.1"),
    "bart": ("model.encoder.layers.1", "model.decoder.layers.1"),
    "marian": ("model.encoder.layers.1", "model.decoder.layers.1"),
}


def load(name):
    both = {"vocab_size": 40, "d_model": 16, "pad_token_id": 0, "eos_token_id": 2}
    both |= {"decoder_start_token_id": 0, "is_encoder_decoder": True}
    if name == "t5":
        both |= {"d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
    else:
        sides = {"layers": 2, "attention_heads": 4, "ffn_dim": 24}
        both |= {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in sides.items()}
        both |= {"max_position_embeddings": 64, "forced_eos_token_id": None}
    config = transformers.AutoConfig.for_model(name, **both)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.4, generator=generator)
    return nissl.load(model.double())


def padded(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def pairs():
    ids, said = padded(DOCUMENTS), padded(ANSWERS)
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "decoder_input_ids": said,
        "decoder_attention_mask": (said != 0).long(),
    }


def by_hand(net, site):
    """A plain hook's values, one pair after the other, nothing padded."""
    seen = []

    def hook(module, args, output):
        seen.append((output[0] if isinstance(output, tuple) else output)[0].detach().numpy())

    handle = net.model.get_submodule(site).register_forward_hook(hook)
    for ids, said in zip(DOCUMENTS, ANSWERS, strict=True):
        net.model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([said]))
    handle.remove()
    return np.concatenate(seen)


@pytest.mark.parametrize("name", SITES)
def test_each_side_is_recorded_at_its_own_tokens(name):
    net = load(name)
    encoder, decoder = SITES[name]
    for inputs in (DOCUMENTS, pairs()):
        rec = nissl.record(net, inputs, sites=encoder, progress=False)
        np.testing.assert_allclose(rec.values, by_hand(net, encoder), atol=1e-10)
        assert rec["token"].values.tolist() == [token for row in DOCUMENTS for token in row]
    rec = nissl.record(net, pairs(), sites=decoder, progress=False)
    np.testing.assert_allclose(rec.values, by_hand(net, decoder), atol=1e-10)
    assert rec["token"].values.tolist() == [token for row in ANSWERS for token in row]
    assert rec["position"].values.tolist() == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("name", SITES)
def test_what_the_decoder_reads_must_be_given(name):
    net = load(name)
    for sites in (SITES[name][1], "lm_head"):
        with pytest.raises(NisslError, match="not given"):
            nissl.record(net, DOCUMENTS, sites=sites, progress=False)
        with pytest.raises(NisslError, match="not given"):
            net.run(DOCUMENTS, sites=sites)
        with pytest.raises(NisslError, match="not given"):
            gradients(net, DOCUMENTS, sites=sites, metric=lambda y: y.sum())
    with pytest.raises(NisslError, match="other tokens than its decoder"):
        nissl.record(net, pairs(), sites=SITES[name], progress=False)
    both = scale(sites=SITES[name], by=2.0, positions=1)
    with pytest.raises(NisslError, match="not those in the decoder"), net.edit(both):
        pass


@pytest.mark.parametrize("name", SITES)
def test_generation_is_that_of_transformers_one_by_one(name):
    net, options = load(name), {"max_new_tokens": 6, "min_new_tokens": 6}
    found = net.generate(DOCUMENTS, **options)
    for ids, said in zip(DOCUMENTS, found, strict=True):
        theirs = net.model.generate(torch.tensor([ids]), num_beams=1, do_sample=False, **options)
        assert said == theirs[0, 1:].tolist()


EDITS = {
    "end of the prompt": (0, {"positions": -1}),
    "one item": (0, {"positions": 1, "items": 0}),
    "beginning of the answer": (1, {"positions": 0}),
    "end of what it was given": (1, {"positions": -1}),
    "in the answer": (1, {"positions": 2}),
    "from there on": (1, {"positions": slice(1, None)}),
}


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("edit", EDITS)
def test_edits_hold_with_a_cache_without_and_alone(name, edit):
    net, options = load(name), {"max_new_tokens": 5, "min_new_tokens": 5}
    side, where = EDITS[edit]
    change = scale(sites=SITES[name][side], by=-3.0, **where)
    with net.edit(change):
        found = net.generate(DOCUMENTS, **options)
        assert net.generate(DOCUMENTS, **options, use_cache=False) == found
        for number, ids in enumerate(DOCUMENTS[: 1 if "items" in where else 2]):
            assert net.generate([ids], **options) == [found[number]]
    with net.edit(change):
        edited = net.run(pairs(), sites=SITES[name][side])
    plain = net.run(pairs(), sites=SITES[name][side])
    (changed,) = ((edited[s] - plain[s]).abs().amax(-1) > 1e-9 for s in plain)
    rows = DOCUMENTS if side == 0 else ANSWERS
    expected = torch.zeros_like(changed)
    for row, ids in enumerate(rows):
        if row == 0 or "items" not in where:
            at = where["positions"]
            at = slice(at, at + 1 or None) if isinstance(at, int) else at
            expected[row, : len(ids)][at] = True
    assert torch.equal(changed, expected)
