"""Induction heads (system 236): they form where learning from context does, in one short window.

The paper (Olsson et al. 2022) trains small attention-only transformers: with two layers, heads that
match prefixes appear in a narrow window of steps, in which the in-context score (the loss late in
the context less the loss early in it) falls; with one layer neither happens. Here both are trained
on random segments that repeat with a period of their own, 8 to 24 tokens: over three seeds, when do
prefix matching, the in-context score and the loss of training come half of their way?
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.behaviour import repeated_tokens
from nissl.circuits import head_scores
from nissl.statistics.figure import curve, save_figure
from nissl.training import next_token_loss, small_language_model, train

SEEDS, STEPS, EVERY, FROM = (0, 1, 2), 900, 20, 100
VOCABULARY, LENGTH, BATCH, PERIODS = 64, 64, 32, (8, 24)
TEST = {"n": 32, "length": 20}


def segments(step, seed):
    """Return sequences of a random segment again and again, each with a period of its own."""
    rng = np.random.default_rng((seed, step))
    tokens = rng.integers(0, VOCABULARY, (BATCH, LENGTH))
    period = rng.integers(PERIODS[0], PERIODS[1] + 1, (BATCH, 1))
    return (torch.from_numpy(np.take_along_axis(tokens, np.arange(LENGTH) % period, 1)),)


def attention_only(layers, seed):
    """Return a transformer whose MLPs add nothing and do not learn to."""
    sizes = {"vocabulary": VOCABULARY, "d_model": 64, "n_heads": 4, "d_mlp": 1, "context": LENGTH}
    model = small_language_model(n_layers=layers, seed=seed, tie_word_embeddings=False, **sizes)
    for block in model.model.layers:
        block.mlp.down_proj.weight.requires_grad_(False).zero_()
    return model


def course(layers, seed):
    """Train, and return the loss, the in-context score and the best prefix matching by step."""
    done = train(
        attention_only(layers, seed),
        lambda step: segments(step, seed),
        loss=next_token_loss,
        steps=STEPS,
        learning_rate=1e-3,
        warmup=50,
        checkpoints=range(0, STEPS + 1, EVERY),
        key=f"segments {seed} {VOCABULARY} {LENGTH} {BATCH} {PERIODS}",
        progress=False,
    )
    rows = {}
    for step in done.checkpoints:
        net = nissl.load(done.at(step), progress=False)
        heads = head_scores(net, test=None, progress=False, **TEST)
        ids = repeated_tokens(net, seed=seed + 1, **TEST)
        logits = net.run(ids, sites="logits")["logits"][:, :-1]
        each = torch.nn.functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none").mean(0)
        late, early = each[TEST["length"] :].mean(), each[: TEST["length"] // 2].mean()
        near = done.losses[max(0, step - EVERY // 2) : step + EVERY // 2]
        rows[step] = {
            "loss": near.mean(),
            "in-context score": float(late - early),
            "prefix matching": heads.table["mean"].max(),
        }
    found = head_scores(net, progress=False, **TEST).significant()
    return pd.DataFrame(rows).T, int((found.table["mean"] > 0.5).sum())


def half_way(table):
    """Return where in training each comes half of its way, from the plateau to the end."""
    table = table.loc[FROM:]
    share = (table - table.iloc[0]) / (table.iloc[-1] - table.iloc[0])
    return (share >= 0.5).idxmax() / STEPS


courses = {(n, seed): course(n, seed) for n in (1, 2) for seed in SEEDS}
halves = pd.DataFrame({seed: half_way(courses[2, seed][0]) for seed in SEEDS})
window = float((halves.max() - halves.min()).max())
control = pd.DataFrame({seed: courses[1, seed][0].iloc[-1] for seed in SEEDS}).T
last = pd.DataFrame({seed: courses[2, seed][0].iloc[-1] for seed in SEEDS}).T
rng = np.random.default_rng(0)
# Were there nothing that ties the three, each would come half of its way at a time of its own.
apart = np.ptp(rng.random((999, len(halves), len(SEEDS))) * (1 - FROM / STEPS), axis=1).max(1)

together = courses[2, SEEDS[0]][0]
axes = curve(together / together.abs().max())
axes.set(xlabel="step", ylabel="share of the largest")
save_figure(axes.figure, "out/circuits/induction.png")

nissl.claim(
    "induction",
    system=236,
    says="Induction heads, learning from context and a fall of the loss come in one short window "
    "of training with two attention layers, and not with one.",
    measured={
        "prefix_matching": float(last["prefix matching"].min()),
        "prefix_matching_window": window,
        "half_way": float(halves.to_numpy().mean()),
        "in_context_score": float(last["in-context score"].max()),
        "one_layer_in_context": float(control["in-context score"].min()),
        "induction_heads": [courses[2, seed][1] for seed in SEEDS],
    },
    null={
        "prefix_matching": float(control["prefix matching"].max()),
        "prefix_matching_window": float(np.quantile(apart, 0.05)),
    },
    rule="prefix_matching > null.prefix_matching + 0.3 "
    "and prefix_matching_window <= min(0.1, null.prefix_matching_window)",
    data=f"attention-only transformers of 64 x 4 heads trained here for {STEPS} steps on repeated "
    f"random segments, three seeds; the least best head of the "
    "seeds; window: the most that three curves lie apart where they are half of their way, as a "
    "share of training; null: one layer; of the window, times drawn at random, their 5% quantile",
)
