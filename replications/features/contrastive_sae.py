"""Contrastive SAE (system 209): features that tell optimal play from other play, in a small game.

A network learns which boards of Nim are won (four heaps of up to seven; who takes the last wins).
From a board that is won both sides play three plies, optimally, or at random with a mistake. Of its
activity at such pairs a dictionary is learned, half of whose features are pressed to be the same in
a pair (common), the others not to be active in both (differing). On new boards, how often does the
best differing feature tell optimal play? Beside it the best common one and one without contrast;
the null, boards paired at random; and for power, a direction added to each kind of play.
"""

from functools import cache, partial
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.features import ReLU, TrainedDictionary
from nissl.statistics.figure import bar, save_figure
from nissl.training import Batches, train

SIZE, PLIES, DRAWS, FEATURES, STEPS, SEEDS, CONTRAST = 8, 3, 6, 256, 1000, (0, 1, 2), 1.0
QUIET = {"cache": False, "progress": False}
BOARDS = list(product(range(SIZE), repeat=4))


@cache
def moves(board):
    """Return the boards after each move, and those of them that are lost for the other."""
    every = [(*board[:i], n, *board[i + 1 :]) for i, x in enumerate(board) for n in range(x)]
    every = every or [board]
    return every, [after for after in every if not np.bitwise_xor.reduce(after)] or every


def play(board, optimal, rng):
    """Return the board some plies on, or None where the game is over or the play another."""
    mistakes = 0
    for _ in range(PLIES):
        board, best = tuple(rng.choice(moves(board)[optimal]).tolist()), moves(board)[1]
        mistakes += board not in best
    return board if any(board) and optimal == (not mistakes) else None


def pairs_of_play(rng):
    """Return pairs of numbers of boards, optimal play first, in two parts that share no board."""
    number, parts, side = {x: i for i, x in enumerate(BOARDS)}, ([], []), rng.integers(2, size=4096)
    for root in (x for x in BOARDS for _ in range(DRAWS) if np.bitwise_xor.reduce(x)):
        one, other = (number.get(play(root, optimal, rng)) for optimal in (True, False))
        if one and other and one != other and side[one] == side[other]:
            parts[side[one]].append((one, other))
    return [torch.tensor(part) for part in parts]


def player():
    """Return hidden activity at each board of a network that tells which are won, and how well."""
    x = nn.functional.one_hot(torch.tensor(BOARDS), SIZE).flatten(1).float()
    won = torch.tensor(np.bitwise_xor.reduce(BOARDS, axis=1) > 0).float() - 0.5
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
    net.extend([nn.Linear(128, 1), nn.Flatten(0)])
    how = {"loss": lambda model, batch: (model(batch[0]) - batch[1]).square().mean(), **QUIET}
    train(net, Batches(x, won, batch_size=512), steps=4000, learning_rate=3e-3, **how)
    with torch.no_grad():
        return net[:4](x), float((net(x) * won > 0).float().mean())


def contrast_loss(model, batch, contrast=CONTRAST):
    """Return a dictionary's loss, and by how much common features differ and others do not."""
    x = model.scaled(torch.cat(batch))
    features = model.kind.encode(model, x)
    (common, own), (others, theirs) = (part.chunk(2, 1) for part in features.chunk(2))
    apart = ((common - others).abs() + own * theirs).sum(1).mean() / x.shape[1] ** 0.5
    error = model.kind.error(model, features, x).mean() / x.shape[1]
    return error + contrast * apart + model.kind.penalty(model, x, x, features)


def told(learn, test, seed, shuffled=False, contrast=CONTRAST):
    """Return how often the best common and the best differing feature tell optimal play."""
    both, rng = torch.cat(learn), np.random.default_rng(seed)
    pairs = (both[rng.permutation(len(both))] if shuffled else both).chunk(2)
    model = TrainedDictionary(ReLU(), FEATURES, both.shape[1], seed=seed)
    model.scale.copy_((both - both.mean(0)).square().mean().sqrt())
    how = {"loss": partial(contrast_loss, contrast=contrast), "seed": seed, **QUIET}
    train(model, Batches(*pairs, batch_size=256, seed=seed), steps=STEPS, schedule="linear", **how)
    with torch.no_grad():
        on = [[(model.encode(x) > 0).float().mean(0) for x in pair] for pair in (learn, test)]
    first, then = ((a - b).chunk(2) for a, b in on)  # how much oftener in optimal play
    best = [int(x.abs().argmax()) for x in first]
    right = [(1 + float(x[k].sign() * y[k])) / 2 for x, y, k in zip(first, then, best, strict=True)]
    return {"common": right[0], "differing": right[1]}


def planted(two):
    """Return activity, to either side of which a direction of its own is added."""
    ways = torch.randn(2, two[0].shape[1], generator=torch.Generator().manual_seed(0))
    return [x + torch.cat(two).std(0).norm() * w / w.norm() for x, w in zip(two, ways, strict=True)]


if __name__ == "__main__":
    hidden, boards = player()
    learn, test = ([*hidden[x].unbind(1)] for x in pairs_of_play(np.random.default_rng(0)))
    found, null, power = (
        pd.DataFrame([told(*x, seed, shuffled) for seed in SEEDS]).mean()
        for *x, shuffled in ((learn, test, 0), (learn, test, 1), (*map(planted, (learn, test)), 0))
    )
    plain = pd.DataFrame([told(learn, test, seed, contrast=0.0) for seed in SEEDS]).mean()
    save_figure(bar(found, null=null).figure, "out/features/contrastive_sae.png")
    nissl.claim(
        "contrastive_sae",
        system=209,
        says="A contrast of paired trajectories finds the features that separate them.",
        measured={**found, "without_contrast": plain.max(), "boards_told": boards},
        null={**null},
        rule="differing > common + 0.1 and differing > null.differing + 0.05",
        power={**power},
        data=f"Nim; {len(learn[0]):,} pairs to learn from, {len(test[0]):,} others; how often a"
        " feature tells optimal play: active in it alone (or never, as learned); else half",
    )
