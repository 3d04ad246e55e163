"""PPL-p% sparsity (system 50): how few neurons a language model needs, and how training changes it.

SmolLM2 and Gemma read the beginnings of texts, and lose what contributes least until perplexity has
risen by p percent; thresholds are found on one half of the texts and tried on the other. Then four
small models that differ in their nonlinearity alone learn here from the same translation of the
Bible. The activation ratio of the checkpoints of two of them, ReLU and SiLU, is fitted by the
paper's laws on every second checkpoint, and judged on the others.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import nissl
from nissl.network import Network
from nissl.selectivity import SparsingLaw, losses, ppl_sparsity, sparsing_law, thresholded
from nissl.training import (
    Batches,
    next_token_loss,
    small_language_model,
    small_tokenizer,
    token_windows,
    train,
)

SEED, TEXTS, WORDS = 0, 16, 60
VOCABULARY, LENGTH, BATCH, STEPS, WARMUP = 1024, 64, 16, 900, 50
CHECKPOINTS = [0, *range(50, STEPS + 1, 50)]
FIRST = 100  # the paper's laws are of what comes after the warm-up
WINDOWS = 48  # held out, on which small models are measured
LAW = {"relu": "logspace", "silu": "power"}
PLANTED = 0.2  # of the ratio, by which it rises or falls in what is planted


def real_model(name, texts):
    """Ratios of a model for several p, and how its thresholds do on texts they were not found on."""
    net = nissl.load(name, dtype="bfloat16")
    found = {p: ppl_sparsity(net, texts[::2], p=p, n_tokens=192, progress=False) for p in (1, 5)}
    dense = losses(net, texts[1::2], progress=False).mean()
    with net.edit(thresholded(net, found[1])):
        rise = 100 * np.expm1(losses(net, texts[1::2], progress=False).mean() - dense)
    for p, f in found.items():
        print(name, p, f.provenance, f"elsewhere {rise:.2f}%", file=sys.stderr)
    return found, float(rise)


def trained_here():
    """Four small models on the same data, a minute or two each the first time; held-out windows."""
    texts = list(nissl.read("bible")["text"])
    tokenizer = small_tokenizer(texts, vocabulary=VOCABULARY)
    seen = token_windows([t for i, t in enumerate(texts) if i % 20], tokenizer, length=LENGTH)
    apart = token_windows(texts[::20], tokenizer, length=LENGTH)
    chosen = np.random.default_rng(SEED).choice(len(apart), 2 * WINDOWS, replace=False)
    models = {}
    for activation in ("relu", "silu", "gelu", "relu2"):
        model = small_language_model(
            "llama", vocabulary=VOCABULARY, d_model=96, n_layers=4, n_heads=4, context=LENGTH,
            activation=activation,
        )  # fmt: skip
        models[activation] = train(
            model, Batches(seen, batch_size=BATCH), loss=next_token_loss, steps=STEPS,
            learning_rate=2e-3, weight_decay=0.1, schedule="constant", warmup=WARMUP,
            checkpoints=CHECKPOINTS if activation in LAW else (0,),
        )  # fmt: skip
    return models, [row.numpy() for row in apart[chosen]]


def measured_at(model, windows, **options):
    net = Network(model)
    return ppl_sparsity(net, windows, progress=False, batch_size=WINDOWS, **options).provenance


def held_out(amounts, ratios, kind):
    """Fit every second checkpoint, and say how much of the others is explained."""
    return sparsing_law(amounts[::2], ratios[::2], kind=kind).explains(amounts[1::2], ratios[1::2])


def judged(amounts, ratios):
    """What the rule asks of the two models."""
    figures = {}
    for activation, kind in LAW.items():
        law = sparsing_law(amounts, ratios[activation], kind=kind)
        first, last = law.at(amounts[[0, -1]])
        figures |= {
            f"{activation}_change": float(last - first),
            f"{activation}_r2": held_out(amounts, ratios[activation], kind),
        }
    return figures


models, windows = trained_here()
if len(sys.argv) > 1:
    sys.exit()
