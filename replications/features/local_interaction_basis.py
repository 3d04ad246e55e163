"""Local interaction basis (system 87): fewer edges than principal components, at equal answers.

Networks of two hidden layers learn to add modulo 53 here. Edges between features of adjacent layers
are left out, the smallest first, while 99 of 100 answers stay: features of the local interaction
basis beside principal components. The last layer is linear, where the basis needs one edge a
feature whatever was learned: it does not count. The null is the same network before training.
"""

from bisect import bisect_left
from functools import reduce
from itertools import accumulate

import numpy as np
import torch
from torch import nn

import nissl
from nissl.features import local_interaction_basis
from nissl.statistics.figure import panels, save_figure
from nissl.training import Batches, train

SEEDS, MODULUS, WIDTH, STEPS, BATCH = (0, 1, 2), 53, 64, 3000, 512
PAIRS, BLOCKS, KEPT = 1000, 8, 0.99


class Adder(nn.Module):
    """The sum of two embeddings, two hidden layers, a linear reading."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2 * MODULUS, WIDTH)
        hidden = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(2)]
        self.parts = nn.Sequential(*hidden, nn.Linear(WIDTH, MODULUS))

    def forward(self, ids):
        """Return logits of pairs, shape (batch, 2)."""
        return self.parts(self.embed(ids).sum(1))


def adder_loss(model, batch):
    """Return the cross entropy of sums."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def planted(width=WIDTH, blocks=BLOCKS):
    """Return blocks that do not interact, hidden by rotations, a linear reading; and activity."""
    drawn = torch.Generator().manual_seed(0)
    turn = [torch.linalg.qr(torch.randn(width, width, generator=drawn))[0] for _ in range(3)]
    mask = torch.block_diag(*[torch.ones(width // blocks, width // blocks)] * blocks)
    scales = 1 + torch.arange(width)[:, None] / width
    w = [torch.randn(width, width, generator=drawn) * mask * scales for _ in range(2)]
    layers = [lambda x, i=i: torch.relu(x @ turn[i].T @ w[i].T) @ turn[i + 1] for i in range(2)]
    return [*layers, lambda x: x @ turn[0]], torch.randn(PAIRS, width, generator=drawn)


def edges_needed(parts, x, rotate):
    """Return how many edges before the last layer keep the answers, and the edges."""
    basis, edges = local_interaction_basis(parts, x, rotate=rotate)
    layers = list(accumulate(parts, lambda y, part: part(y).detach(), initial=x))
    count = 0
    for i, sizes in enumerate(edges[:-1]):
        order = sizes.flatten().argsort(descending=True)

        def kept(n, i=i, sizes=sizes, order=order):
            rows = torch.zeros(sizes.numel()).index_fill(0, order[:n], 1).view(sizes.shape)
            masked = (basis[i].decode(basis[i].encode(layers[i]) * row) for row in rows)
            each = [basis[i + 1].encode(parts[i](x))[:, j] for j, x in enumerate(masked)]
            rest = basis[i + 1].decode(torch.stack(each, 1))
            y = reduce(lambda z, part: part(z), parts[i + 1 :], rest)
            return bool((y.argmax(1) == layers[-1].argmax(1)).double().mean() >= KEPT)

        with torch.no_grad():
            count += bisect_left(range(sizes.numel()), True, key=kept)
    return count, edges


def ratio(parts, x):
    """Return the edges that the basis needs for each one of principal components."""
    return edges_needed(parts, x, True)[0] / edges_needed(parts, x, False)[0]


if __name__ == "__main__":
    a, b = np.divmod(np.arange(MODULUS**2), MODULUS)
    ids, sums = torch.from_numpy(np.stack([a, b + MODULUS], 1)), torch.from_numpy((a + b) % MODULUS)
    accuracy, ratios, before = [], [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        learned = torch.from_numpy(rng.random(len(ids)) < 0.8)
        torch.manual_seed(seed)
        batches = Batches(ids[learned], sums[learned], batch_size=BATCH, seed=seed)
        how = {"steps": STEPS, "learning_rate": 5e-3, "weight_decay": 1.0, "schedule": "cosine"}
        how |= {"warmup": 10, "checkpoints": [0], "progress": False}
        done = train(Adder(), batches, loss=adder_loss, **how)
        some = ids[rng.permutation(len(ids))[:PAIRS]]
        for model, found in ((done.model, ratios), (done.at(0), before)):
            found.append(ratio(list(model.parts), model.embed(some).sum(1).detach()))
        accuracy.append(float((done.model(ids).argmax(1) == sums)[~learned].double().mean()))
    figure, axes = panels(2)
    x = done.model.embed(some).sum(1).detach()
    for ax, rotate in zip(axes, (True, False), strict=True):
        needed, (edges, *_) = edges_needed(list(done.model.parts), x, rotate)
        ax.imshow((edges / edges.sum(1, keepdim=True)).sqrt(), cmap="Greys")
        ax.set(title=f"{'LIB' if rotate else 'PCA'}: {needed} edges", xlabel="embedding")
    save_figure(figure, "out/features/local_interaction_basis.png")

    nissl.claim(
        "local_interaction_basis",
        system=87,
        says="In modular addition, features of the local interaction basis interact more sparsely "
        "than principal components, at equal answers.",
        measured={"ratio": max(ratios), "ratios": ratios, "accuracy": min(accuracy)},
        null={"ratio": min(before), "ratios": before},
        power={"ratio": ratio(*planted())},
        rule="ratio <= 0.8 and ratio <= null.ratio - 0.1",
        data=f"networks that add modulo {MODULUS}, trained here, {len(SEEDS)} seeds; ratio: edges "
        f"that keep {KEPT:.0%} of {PAIRS} answers, of the basis by those of principal components, "
        f"the largest; null: before training, the smallest; power: {BLOCKS} planted blocks",
    )
