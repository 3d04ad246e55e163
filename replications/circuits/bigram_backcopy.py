"""Active-dormant heads (system 115): attention sinks of a head with nothing to do.

In the paper's Bigram-Backcopy task (Guo et al. 2024) each token follows from the one before it, but
after a few triggers the token before the trigger comes again. Transformers of one layer learn it
with a head that is active at triggers and dormant elsewhere, where it attends to the first token;
that token's values drain, and its residual stream grows. With ReLU in the place of softmax none of
this happens. Both are trained here, over three seeds. (The paper's peaks of the stream are those of
three layers; with the one of this file it is the sinks and drains that can be expected.)
"""

import numpy as np
import pandas as pd
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

import nissl
from nissl.statistics.figure import bar, save_figure
from nissl.training import next_token_loss, small_language_model, train

SEEDS, STEPS, BATCH, TESTED = (1, 2, 3), 1500, 32, 64
VOCABULARY, LENGTH, WIDTH, TRIGGERS = 64, 48, 64, 4  # token 0 begins, 1 to 4 are triggers


def transitions(seed):
    """Return how often each token follows each: few follow one, triggers come often."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(VOCABULARY - 1, 0.1), VOCABULARY)
    shares[:, :TRIGGERS] = 6 * shares[:, :TRIGGERS] + 0.02
    return shares / shares.sum(1, keepdims=True)


def sequences(shares, seed, n=BATCH):
    """Return sequences of the task."""
    rng, until = np.random.default_rng(seed), shares.cumsum(1)
    ids = np.zeros((n, LENGTH), np.int64)
    for place in range(1, LENGTH):
        last = ids[:, place - 1]
        drawn = (until[last] < rng.random((n, 1))).sum(1).clip(max=VOCABULARY - 2) + 1
        copied = is_trigger(last) & (place > 2)
        ids[:, place] = np.where(copied, ids[:, place - 2], drawn)
    return torch.from_numpy(ids)


def is_trigger(ids):
    """Return where the head has something to do."""
    return (ids >= 1) & (ids <= TRIGGERS)


def patterns(query, key, scaling, kind):
    """Return attention by softmax, or by ReLU over the number of keys."""
    scores = query @ key.mT * scaling
    seen = torch.ones_like(scores, dtype=torch.bool).tril()
    if kind == "relu":
        return (scores.relu() * seen) / seen.sum(-1, keepdim=True)
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


def relu_attention(module, query, key, value, mask, *, scaling, **options):
    """Attend as transformers asks an attention function to."""
    pattern = patterns(query, key, scaling, "relu")
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


def measured(kind, seed):
    """Train a network of one head; return its sink, and what is odd about the first token."""
    shares = transitions(seed)
    sizes = {"d_model": WIDTH, "n_layers": 1, "n_heads": 1, "d_mlp": 128, "context": LENGTH}
    more = {"attn_implementation": kind, "tie_word_embeddings": False, "seed": seed}
    done = train(
        small_language_model(vocabulary=VOCABULARY, **sizes, **more),
        lambda step: (sequences(shares, (seed, step)),),
        loss=next_token_loss,
        steps=STEPS,
        learning_rate=3e-3,
        warmup=50,
        key=f"bigram-backcopy {seed} {VOCABULARY} {LENGTH} {TRIGGERS} {BATCH} {kind}",
        progress=False,
    )
    net, ids = nissl.load(done.model, progress=False), sequences(shares, seed, TESTED)
    names = ("attn.q_rot", "attn.k_rot", "attn.v", "resid_post")
    found = net.run(ids, sites=[f"blocks.0.{name}" for name in names])
    query, key, value, stream = (found[f"blocks.0.{name}"] for name in names)
    attention = patterns(query, key, WIDTH**-0.5, kind)[:, 3:]
    active = is_trigger(ids[:, 3:])
    first, others = (
        [x[:, some].norm(dim=-1).mean() for x in (value, stream)]
        for some in (slice(1), slice(1, None))
    )
    return {
        "sink": float(attention[..., 0][~active].mean() - attention[..., 0][active].mean()),
        "sink_drain": float(others[0] / first[0]),
        "sink_peak": float(first[1] / others[1]),
        "copies": float(attention.diagonal(2, 1, 2)[active].mean()),
        "loss": float(done.losses[-100:].mean()),
    }


AttentionInterface.register("relu", relu_attention)
AttentionMaskInterface.register("relu", sdpa_mask)
table = {kind: pd.DataFrame([measured(kind, s) for s in SEEDS]) for kind in ("sdpa", "relu")}
softmax, relu = table["sdpa"], table["relu"]
axes = bar(pd.DataFrame({"softmax": softmax.mean(), "ReLU": relu.mean()}).iloc[:3])
save_figure(axes.figure, "out/circuits/bigram_backcopy.png")

nissl.claim(
    "bigram_backcopy",
    system=115,
    says="A head is a sink at the first token where it has nothing to do; the values of that token "
    "drain and its stream peaks; with ReLU attention none of this happens.",
    measured={**softmax.min().to_dict(), "loss": float(softmax["loss"].max())},
    null=relu.max().to_dict(),
    rule="sink > null.sink + 0.15 and sink_drain > 1.5 * null.sink_drain "
    "and sink_peak > 1.5 * null.sink_peak",
    data=f"transformers of one layer and head trained here for {STEPS} steps on Bigram-Backcopy, "
    "three seeds; sink: attention to the first token away from triggers less that at them; drain: "
    "norm of other values over that of the first; peak: norm of the first stream over others; the "
    "least of the seeds; null: ReLU attention, the largest",
)
