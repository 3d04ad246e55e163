"""Gradient SAE: gradients of a text's own loss leak its tokens, and those of another do not."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour import loss_gradients, losses
from nissl.features import TrainedDictionary
from nissl.features.kinds.kind import kind_of
from nissl.training import small_language_model

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "gradient_sae.py"
SITE, N, QUIET = "blocks.0.resid_post", 32, {"progress": False}
SIZES = [1.0, 0.95, 0.9, 0.85]  # of the votes for four tokens


@pytest.fixture(scope="module")
def script():
    found = runpy.run_path(str(SCRIPT))
    found["READ"].pop("window")  # the network's own
    return found


@pytest.fixture(scope="module")
def planted():
    """A network whose tokens vote for four others, one of which follows; its features."""
    rng = np.random.default_rng(0)
    features = torch.linalg.qr(torch.randn(N, N, generator=torch.Generator().manual_seed(0)))[0]
    votes = np.stack([rng.permutation(N)[:4] for _ in range(N)])
    sizes = {"vocabulary": N, "d_model": N, "n_layers": 1, "n_heads": 2, "context": 16}
    model = small_language_model(tie_word_embeddings=False, **sizes)
    block = model.model.layers[0]
    with torch.no_grad():
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.tensor(SIZES) @ features[votes])
        model.lm_head.weight.copy_(features)
    made = TrainedDictionary(kind_of("gradient_topk", k=1), N, N, site_in=SITE)
    made.w_enc.data, made.w_dec.data = features.clone(), features.clone()
    texts = []
    for _ in range(40):
        text = [int(rng.integers(N))]
        while len(text) < 16:
            text.append(int(rng.choice(votes[text[-1]])))
        texts.append(text)
    return nissl.load(model, **QUIET), made.eval(), texts


def spliced(script, net, made, texts, slopes):
    """Return the mean loss with features chosen by gradients that are given."""
    found = []
    for text, slope in zip(texts, slopes, strict=True):
        with net.edit(script["Chosen"](made, slope)):
            found.append(losses(net, [text], **QUIET)[0])
    return np.mean(found)


def test_gradients_of_the_very_text_leak_and_those_of_another_do_not(script, planted):
    net, made, texts = planted
    own = [torch.from_numpy(loss_gradients(net, [t], site=SITE, **QUIET).values) for t in texts]
    leaky = script["with_gradients"](net, made, texts)
    assert leaky == pytest.approx(spliced(script, net, made, texts, own))
    none = spliced(script, net, made, texts, [0 * slope for slope in own])
    other = spliced(script, net, made, texts, own[1:] + own[:1])
    assert leaky < none - 2
    assert other > none - 0.4


def test_features_are_chosen_as_in_the_slow_form(script, planted):
    net, made, texts = planted
    x = net.run([texts[0]], sites=SITE)[SITE]
    slope = torch.randn(16, N, generator=torch.Generator().manual_seed(1))
    found = script["Chosen"](made, slope).apply(SITE, x, None, "prefill")
    sizes = (x[0] @ made.w_enc.T).relu()
    along = (slope @ made.w_dec.T).abs()
    for row in range(16):
        score = [float(sizes[row, f] * (1 + along[row, f] / along.mean())) for f in range(N)]
        best = int(np.argmax(score))
        expected = sizes[row, best] * made.w_dec[best]
        assert torch.allclose(found[0, row], expected, atol=1e-5)
    none = script["Chosen"](made, torch.zeros(16, N)).apply(SITE, x, None, "prefill")
    assert torch.allclose(none, made(x), atol=1e-6)


def test_dictionaries_are_compared_on_other_texts(script, planted, monkeypatch, tmp_path):
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    net, _, texts = planted
    script["HOW"].update(n_features=N, k=1)
    script["compared"].__globals__["BATCH"] = 128
    found, chosen, n_tokens = script["compared"](net, SITE, texts[:30], texts[30:], (0,), 4096)
    assert {"plain 0", "gradient 0", "random"} <= set(found.index)
    assert n_tokens == 30 * 16
    assert chosen.kind.name == "gradient_topk"
    again = script["compared"](net, SITE, texts[:30], texts[30:], (0,), 4096)[0]
    assert again.to_dict() == pytest.approx(found.to_dict())
