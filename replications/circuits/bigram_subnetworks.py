"""Bigram subnetworks (system 267): few weights tell the next token from the current one alone.

The paper (Chang and Bergen 2025) trains masks of weights until what is kept predicts as a bigram
model does, and finds that the whole network needs it. Here stories15m reads stories of its own; the
target of a token is what follows it somewhere else. The weights that are kept are then taken out of
the whole network, beside as many of each matrix drawn at random, or from those nearly as large.
"""

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

import nissl
from nissl.circuits import weight_mask
from nissl.network import keep_weights
from nissl.statistics.figure import bar, save_figure
from nissl.training import Batches

STORIES, TESTED, LENGTH, DRAWS, NEAR = 384, 96, 64, 5, 200
OPTIONS = {"penalty": 3000.0, "steps": 250, "learning_rate": 0.1, "progress": False}


def loss(model, batch):
    """Return the cross entropy of targets, in nats."""
    return cross_entropy(model(input_ids=batch[0]).logits.mT, batch[1])


def followers(ids, targets, rng):
    """Return for each token what follows it at a place drawn among all where it stands."""
    drawn, ids, targets = np.empty(ids.shape, np.int64), ids.numpy(), targets.numpy()
    for token in np.unique(ids):
        drawn[ids == token] = rng.choice(targets[ids == token], (ids == token).sum())
    return torch.from_numpy(drawn)


def drawn_mask(mask, weights, near, rng):
    """Return as many weights of each matrix, drawn among those that are `near` in rank of size."""
    found = {}
    for name, kept in mask.items():
        order = weights[name].detach().abs().flatten().argsort()
        moved = np.argsort(np.arange(len(order)) + near * rng.random(len(order)))
        flat, place = kept.flatten(), order[torch.from_numpy(moved)]
        found[name] = torch.empty_like(flat).scatter_(0, place, flat[order]).view_as(kept)
    return found


def overlap(mask, other):
    """Return the share of a mask's weights that another has, and the share by chance."""
    size = sum(int(kept.sum()) for kept in mask.values())
    shared = sum(int((kept & other[name]).sum()) for name, kept in mask.items())
    chance = sum(float(kept.sum() * other[name].double().mean()) for name, kept in mask.items())
    return shared / size, chance / size


def predicted(net, batch):
    """Return the log probability of each target."""
    logits = (net.run(ids, sites="logits")["logits"].mT for ids in batch[0].split(16))
    each = zip(logits, batch[1].split(16), strict=True)
    return torch.cat([-cross_entropy(*one, reduction="none") for one in each])


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    net = nissl.load("stories15m", progress=False)
    told = net.generate([[1]] * STORIES, max_new_tokens=LENGTH, sample=True)
    told = torch.tensor([[1, *ids] for ids in told if len(ids) == LENGTH])
    (ids, targets), tested = ((x[:, :-1], x[:, 1:]) for x in (told[:-TESTED], told[-TESTED:]))
    mask, own = (
        weight_mask(net, Batches(ids, wanted, batch_size=4), loss=loss, **OPTIONS)
        for wanted in (followers(ids, targets, rng), targets)
    )
    size = {name: int(kept.sum()) for name, kept in mask.items()}
    weights = {name: p.detach() for name, p in net.model.named_parameters() if name in mask}

    follow = pd.Series(targets.flatten()).groupby(ids.flatten().numpy())
    asked = pd.MultiIndex.from_arrays([x.flatten().numpy() for x in tested])
    bigram = np.log(follow.value_counts(normalize=True).reindex(asked).to_numpy())
    seen, whole = np.isfinite(bigram), predicted(net, tested)
    with net.edit(*keep_weights(mask)):
        alone = predicted(net, tested)
    like_bigrams = [np.corrcoef(x.flatten()[seen], bigram[seen])[0, 1] for x in (alone, whole)]

    there = pd.Series({name: m.numel() for name, m in mask.items()})
    nears, others = [1e9] * DRAWS + [NEAR] * DRAWS, []
    for one in (mask, *(drawn_mask(mask, weights, near, rng) for near in nears)):
        with net.edit(*keep_weights(one, others=True)):
            others.append(float((whole - predicted(net, tested)).mean()))
    ranks = {name: w.abs().flatten().argsort().argsort().view_as(w) for name, w in weights.items()}
    largest = {name: rank >= rank.numel() - size[name] for name, rank in ranks.items()}
    shared = overlap(mask, own), overlap(mask, largest)
    kept = pd.Series(size).groupby(lambda name: ".".join(name.split(".")[2:4])).sum()
    axes = bar((kept / kept.sum()).to_dict())
    axes.set(ylabel="share of the subnetwork")
    save_figure(axes.figure, "out/circuits/bigram_subnetworks.png")

    nissl.claim(
        "bigram_subnetworks",
        system=267,
        says="The whole network needs the few weights that predict as bigrams do.",
        measured={
            "damage": others[0],
            "kept": kept.sum() / there.sum(),
            "correlation_with_bigrams": like_bigrams[0],
            "share_in_first_mlp": kept["0.mlp"] / kept.sum(),
            "overlap_with_own_loss": shared[0][0],
            "overlap_with_largest": shared[1][0],
        },
        null={
            "damage": np.mean(others[1 : DRAWS + 1]),
            "damage_as_large": np.mean(others[DRAWS + 1 :]),
            "correlation_with_bigrams": like_bigrams[1],
            "share_in_first_mlp": there[there.index.str.contains("0.mlp")].sum() / there.sum(),
            "overlap_with_own_loss": shared[0][1],
            "overlap_with_largest": shared[1][1],
        },
        rule="damage > 2 * null.damage and damage > 1.5 * null.damage_as_large",
        data=f"stories15m on {len(told)} stories of its own; damage: rise of loss without weights; "
        f"null: {DRAWS} draws of the same matrices, or of nearly the same size; the whole network",
    )
