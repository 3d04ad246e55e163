"""Voids (system 103): what a network does without the layers that tokens do not activate.

SmolLM2 chooses among four answers to facts. Each token skips the layers that are voids of it;
alpha, which says how many these are, is chosen on one half of the facts, and the score of the other
half is set against skipping as many random layers. (The paper's code skips nothing: its stream
leaves at the last layer that a token activates.)

What is planted is the same network in other units: each block doubles the stream, which the norms
take back, so that it computes what it did, and between two blocks lies one that does nothing.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.behaviour import PromptScorer, halves
from nissl.network import Network, skip_random, skip_voids
from nissl.statistics.figure import curve, save_figure

SEED, PER_KIND, CHOICES, DRAWS, BATCH = 0, 20, 4, 2, 64
ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
USED = 0.7  # of the layers at most: the paper's gains are with 30 to 70%


def with_choices(facts, tokenizer):
    """Add the token ids of each answer and of three answers to other facts of its kind."""
    first = np.asarray([tokenizer.encode(a, add_special_tokens=False)[0] for a in facts["answer"]])
    rng, kinds, choices = np.random.default_rng(SEED), facts["relation"].to_numpy(), []
    for own, kind in zip(first, kinds, strict=True):
        others = np.setdiff1d(first[kinds == kind], [own])
        choices.append([own, *rng.choice(others, CHOICES - 1, replace=False)])
    return facts.assign(choices=choices)


def accuracy(net, facts, *edits):
    """Return how often the right one of four answers is the likeliest."""
    choices, right = torch.tensor(np.stack(facts["choices"])), []
    with net.edit(*edits):
        scorer = PromptScorer(net, list(facts["text"]))
        for _, rows, logits in scorer.logits(batch_size=BATCH, progress=False):
            right.append(logits.gather(1, choices[rows]).argmax(1) == 0)
    return float(torch.cat(right).double().mean())


def skipped(net, facts, alpha, draws=0):
    """Return accuracy without voids, the layers used, and accuracy without as many at random."""
    edit = skip_voids(alpha=alpha)
    found = {"accuracy": accuracy(net, facts, edit), "used": edit.usage()["used"].mean()}
    random = [accuracy(net, facts, skip_random(edit, seed=seed)) for seed in range(draws)]
    return found | ({"random": float(np.mean(random))} if draws else {})


def measure(net, chosen_on, tested):
    """Choose the alpha that does best with few layers on one half; score the other half."""
    scores = pd.DataFrame({alpha: skipped(net, chosen_on, alpha) for alpha in ALPHAS}).T
    alpha = float(scores.loc[scores["used"] <= USED, "accuracy"].idxmax())
    found = skipped(net, tested, alpha, draws=DRAWS)
    null = {"accuracy": found.pop("random")}
    return scores, {**found, "alpha": alpha, "whole": accuracy(net, tested)}, null


class Doubled(nn.Module):
    """A block in other units: it reads a stream that was doubled `n` times, and doubles it."""

    def __init__(self, block, n):
        super().__init__()
        self.block, self.scale = block, 2.0**n

    def forward(self, hidden_states, *args, **kwargs):
        """Halve as often as was doubled, do what the block did, and double once more."""
        return 2 * self.scale * self.block(hidden_states / self.scale, *args, **kwargs)


class Idle(nn.Module):
    """A block that does nothing."""

    def forward(self, hidden_states, *args, **kwargs):
        """Return what it is given."""
        return hidden_states


def planted(net):
    """Return the network, half of whose layers do nothing to any token; others always do."""
    blocks = [b for n, one in enumerate(net.model.model.layers) for b in (Doubled(one, n), Idle())]
    net.model.model.layers = nn.ModuleList(blocks)
    net.model.config.num_hidden_layers = len(blocks)
    return Network(net.model, tokenizer=net.tokenizer, name=f"{net.name} with idle layers")


net = nissl.load("smollm2", dtype="bfloat16")
some = nissl.read("relations").groupby("relation").sample(PER_KIND, random_state=SEED)
some = with_choices(some.reset_index(drop=True), net.tokenizer)
parts = halves(some, labels="relation", seed=SEED)
scores, measured, null = measure(net, *parts)
_, power, power_null = measure(planted(nissl.load("smollm2", dtype="bfloat16")), *parts)

axes = curve(scores.sort_values("used").set_index("used")["accuracy"])
axes.set(xlabel="share of layers used", ylabel="right among four, facts that chose alpha")
save_figure(axes.figure, "out/selectivity/voids.png")

nissl.claim(
    "voids",
    system=103,
    says="Skipping the layers that tokens of the prompt do not activate keeps the score or betters "
    "it, with 30 to 70% of the layers.",
    measured=measured,
    null=null,
    rule="accuracy >= whole - 0.03 and accuracy > null.accuracy",
    power=power | {f"null.{name}": value for name, value in power_null.items()},
    data=f"smollm2 (bfloat16); {len(parts[1])} facts of nine relations, alpha chosen on "
    f"{len(parts[0])} others; a change of norm is not what a layer does; the paper's models are "
    "fifty times as large",
)
