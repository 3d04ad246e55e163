"""Small language models have the sizes asked for, learn, and are networks like any other."""

import numpy as np
import pytest
import torch

import nissl
from nissl.errors import NisslError
from nissl.training import (
    Batches,
    next_token_loss,
    small_language_model,
    small_tokenizer,
    token_windows,
    train,
)

SIZES = {"vocabulary": 20, "d_model": 16, "n_layers": 2, "n_heads": 2, "context": 16}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_sizes_and_sites(family):
    model = small_language_model(family, d_mlp=24, activation="relu", **SIZES)
    sites = nissl.load(model).sites().set_index("site")
    assert sites.loc["blocks.1.mlp.neurons", "width"] == 24
    assert sites.loc["blocks.1.resid_post", "width"] == 16
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    again, other = (
        small_language_model(family, d_mlp=24, activation="relu", seed=seed, **SIZES)
        for seed in (0, 1)
    )
    first = model.get_input_embeddings().weight
    assert torch.equal(again.get_input_embeddings().weight, first)
    assert not torch.equal(other.get_input_embeddings().weight, first)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_it_learns_what_comes_next(family):
    # Every token is followed by the next: after training the loss is almost nothing.
    starts = torch.randint(0, 20, (64, 1), generator=torch.Generator().manual_seed(0))
    ids = (starts + torch.arange(8)) % 20
    model = small_language_model(family, **SIZES)
    done = train(
        model,
        Batches(ids, batch_size=16),
        loss=next_token_loss,
        steps=80,
        learning_rate=0.01,
        cache=False,
        progress=False,
    )
    assert done.losses[0] > 2.5
    assert done.losses[-1] < 0.1


def test_loss_is_the_mean_over_next_tokens():
    model = small_language_model(**SIZES).eval()
    ids = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=ids).logits.log_softmax(-1).detach()
    expected = -np.mean([float(logits[b, t, ids[b, t + 1]]) for b in range(2) for t in range(4)])
    assert float(next_token_loss(model, (ids,)).detach()) == pytest.approx(expected, rel=1e-5)


def test_tokens_say_the_texts():
    texts = ["the cat sat on the mat", "ein Hündchen", "the cat"] * 3
    tokenizer = small_tokenizer(texts, vocabulary=280)
    assert len(tokenizer) <= 280
    windows = token_windows(texts, tokenizer, length=4)
    said = tokenizer.decode(windows.flatten())
    assert tokenizer.eos_token.join(texts).startswith(said.removesuffix(tokenizer.eos_token))
    assert (windows == tokenizer.eos_token_id).sum() >= 8
    assert len(tokenizer("the cat")["input_ids"]) < len("the cat")


def test_what_cannot_be_is_refused():
    with pytest.raises(NisslError, match="did you mean 'llama'"):
        small_language_model("lama", **SIZES)
    with pytest.raises(NisslError, match="no multiple"):
        small_language_model(**SIZES | {"n_heads": 3})
    with pytest.raises(NisslError, match="do not hold the 256 bytes"):
        small_tokenizer(["a"], vocabulary=100)
    with pytest.raises(NisslError, match="2 tokens do not fill a window of 9"):
        token_windows(["a"], small_tokenizer(["a"], vocabulary=257), length=9)
