"""A batch is what its texts are alone, where models count positions by rules of their own."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import nissl
from nissl import NisslError
from tiny import tiny

DOCUMENTS = [[5, 6, 7], [8, 9, 10, 11, 12], [9, 4, 33, 21]]
# Around a padding token: RoBERTa and its kin. From 0: the others.
AROUND = {
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "data2vec-text": {},
    "ibert": {},
    "roberta-prelayernorm": {},
    "xlm-roberta-xl": {},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "esm": {"position_embedding_type": "absolute", "token_dropout": True, "mask_token_id": 3},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "markuplm": {"max_depth": 4, "xpath_unit_hidden_size": 4},
    "mpnet": {"attn_implementation": "eager"},
}
FROM_0 = {"electra": {}, "ernie": {}, "deberta": {}, "megatron-bert": {}, "splinter": {}}


def load(kind, **options):
    given = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "pad_token_id": 1}
    given |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
    config = transformers.AutoConfig.for_model(kind, **given, **options)
    model = transformers.AutoModel.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=generator)
    return nissl.load(model.double())


def alone(net, site):
    """A plain hook's values, one text after the other, nothing padded."""
    seen = []

    def hook(module, args, output):
        seen.append((output[0] if isinstance(output, tuple) else output)[0].detach().numpy())

    handle = net.model.get_submodule(site).register_forward_hook(hook)
    for ids in DOCUMENTS:
        net.model(torch.tensor([ids]))
    handle.remove()
    return np.concatenate(seen)


@pytest.mark.parametrize("kind", [*AROUND, *FROM_0])
def test_a_batch_is_what_its_texts_are_alone(kind):
    net, site = load(kind, **AROUND.get(kind, FROM_0.get(kind, {}))), "encoder.layer.1"
    assert net.context == (62 if kind in AROUND else 64)
    expected = alone(net, site)
    for padding in ("right", "left"):
        rec = nissl.record(
            net, DOCUMENTS, sites=site, batch_size=3, padding=padding, progress=False
        )
        np.testing.assert_allclose(rec.values, expected, atol=1e-9 * np.abs(expected).max())
    net.tokenizer = type("Other", (), {"pad_token_id": 0})()  # not what the model takes for none
    net.tokenizer.encode = lambda *a, **k: [4]
    rec = nissl.record(net, DOCUMENTS, sites=site, batch_size=3, progress=False)
    np.testing.assert_allclose(rec.values, expected, atol=1e-9 * np.abs(expected).max())


def test_a_decoder_that_counts_around_its_padding_goes_on_by_its_own_rule():
    given = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "pad_token_id": 1}
    given |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
    config = transformers.RobertaConfig(**given, is_decoder=True, eos_token_id=None)
    model = transformers.RobertaForCausalLM(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5, generator=torch.Generator().manual_seed(0))
    net = nissl.load(model)
    for use_cache in (True, False):
        found = net.generate(DOCUMENTS, max_new_tokens=5, use_cache=use_cache)
        for ids, said in zip(DOCUMENTS, found, strict=True):
            row = list(ids)
            for token in said:
                assert int(model(torch.tensor([row])).logits[0, -1].argmax()) == token
                row.append(token)


class Counting(nn.Module):
    """Positions by an argument whose rule nobody knows."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(40, 4), nn.Embedding(20, 4)

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        if position_ids is None:
            position_ids = 7 + torch.arange(input_ids.shape[1]).expand_as(input_ids)
        return self.words(input_ids) + self.places(position_ids)


def test_positions_are_not_passed_to_a_model_whose_rule_is_not_known():
    net = nissl.load(Counting())
    rec = nissl.record(net, DOCUMENTS, sites="places", batch_size=3, progress=False)
    assert np.array_equal(rec.values, alone(net, "places"))
    with pytest.raises(NisslError, match="not known"):
        nissl.record(net, DOCUMENTS, sites="places", padding="left", progress=False)


def test_a_padding_token_beyond_the_vocabulary_is_not_read():
    net = nissl.load(tiny("llama", pad_token_id=None))
    net.model.config.pad_token_id = 40
    rec = nissl.record(net, DOCUMENTS, sites="blocks.0.resid_post", batch_size=3, progress=False)
    assert np.isfinite(rec.values).all()
