"""Clamped training (system 67): what the formation of induction heads waits for.

The paper (Singh et al. 2024) holds parts of a network throughout training as they will be at its
end, as optogenetics holds neurons: with the previous-token head in place from the start, induction
heads form sooner, so that part of the wait is for it. Two layers of attention learn to copy random
segments here, over three seeds: free; with the attention of the finished network's best
previous-token head held; with an ideal one; and with the attention of the head of the same layer
that looks at the previous token least. When do the heads of the second layer match prefixes?
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.behaviour import clamped_loss
from nissl.circuits import head_scores
from nissl.network import attend
from nissl.statistics.figure import curve, save_figure
from nissl.training import next_token_loss, small_language_model, train

SEEDS, STEPS, EVERY = (0, 1, 2), 900, 20
VOCABULARY, LENGTH, BATCH, PERIODS = 64, 64, 32, (8, 24)
FORMED = 0.3  # prefix matching of the best head: half of what it comes to
SITE = "blocks.0.attn.pattern"


def segments(step, seed):
    """Return sequences of a random segment again and again, each with a period of its own."""
    rng = np.random.default_rng((seed, step))
    tokens = rng.integers(0, VOCABULARY, (BATCH, LENGTH))
    period = rng.integers(PERIODS[0], PERIODS[1] + 1, (BATCH, 1))
    return (torch.from_numpy(np.take_along_axis(tokens, np.arange(LENGTH) % period, 1)),)


def attention_only(seed):
    """Return two layers whose MLPs add nothing and do not learn to."""
    sizes = {"vocabulary": VOCABULARY, "d_model": 64, "n_heads": 4, "d_mlp": 1, "context": LENGTH}
    model = small_language_model(n_layers=2, seed=seed, tie_word_embeddings=False, **sizes)
    for block in model.model.layers:
        block.mlp.down_proj.weight.requires_grad_(False).zero_()
    return model


def course(seed, *, clamp=None, steps=STEPS):
    """Train, clamped or free; return the best prefix matching by step, and the network."""
    done = train(
        attention_only(seed),
        lambda step: segments(step, seed),
        loss=next_token_loss if clamp is None else clamped_loss(next_token_loss, clamp),
        steps=steps,
        learning_rate=1e-3,
        warmup=50,
        checkpoints=range(0, steps + 1, EVERY),
        key=f"segments {seed} {VOCABULARY} {LENGTH} {BATCH} {PERIODS}",
        progress=False,
    )
    best = {}
    for step in done.checkpoints:
        net = nissl.load(done.at(step), progress=False)
        with net.edit(*([] if clamp is None else [clamp])):
            found = head_scores(net, n=16, length=20, test=None, progress=False).table
        best[step] = found.loc[found["layer"] == 1, "mean"].max()
    return pd.Series(best), net


def waits(seed):
    """Return the steps until heads of the second layer match prefixes, and the courses."""
    free, finished = course(seed)
    first = head_scores(finished, "previous_token", length=20, test=None, progress=False).table
    first = first[first["layer"] == 0].sort_values("mean")

    def as_finished(row):
        head = int(row["head"])
        return attend(row["unit"], lambda ids: finished.run(ids, sites=SITE)[SITE][:, :, head])

    clamps = {
        "previous token, finished": as_finished(first.iloc[-1]),
        "previous token, ideal": attend(first["unit"].iloc[-1], "previous_token"),
        "another head, finished": as_finished(first.iloc[0]),
    }
    courses = pd.DataFrame(
        {"free": free, **{n: course(seed, clamp=c)[0] for n, c in clamps.items()}}
    )
    return (courses >= FORMED).idxmax().where((courses >= FORMED).any(), STEPS), courses


found = {seed: waits(seed) for seed in SEEDS}
steps = pd.DataFrame({seed: wait for seed, (wait, _) in found.items()})
share = steps / steps.loc["free"]
axes = curve(found[SEEDS[0]][1])
axes.set(xlabel="step", ylabel="prefix matching of the best head")
save_figure(axes.figure, "out/circuits/clamped_training.png")

nissl.claim(
    "clamped_training",
    system=67,
    says="With the previous-token head of the finished network held throughout training, induction "
    "heads form sooner; with another head held they do not.",
    measured={
        "wait": float(share.loc["previous token, finished"].max()),
        "ideal": float(share.loc["previous token, ideal"].max()),
        "steps_free": steps.loc["free"].tolist(),
        "steps_finished": steps.loc["previous token, finished"].tolist(),
        "steps_ideal": steps.loc["previous token, ideal"].tolist(),
        "steps_another": steps.loc["another head, finished"].tolist(),
    },
    null={"wait": float(share.loc["another head, finished"].min())},
    rule="wait <= 0.8 and wait <= null.wait - 0.1",
    data=f"attention-only transformers of 2 x 4 heads trained here for {STEPS} steps on repeated "
    "random segments, three seeds; wait: steps until a head of the second layer matches prefixes "
    f"({FORMED}), as a share of those of free training, the largest of the seeds; null: another "
    "head of the first layer held as it is in the finished network, the smallest",
)
