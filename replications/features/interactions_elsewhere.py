"""Local interaction basis (system 87) on photographs and on language: fewer edges, or no gain.

Networks of three hidden layers learn CIFAR-10 here. Edges between features of the first and of the
second are left out, the smallest first, while 99 of 100 answers stay: of the basis beside principal
components, at about equal loss (which is given). The null is the same networks before training; for
power, weights between eight groups of units are set to zero. Of a language model, stories15m, the
MLP of one block is looked at, from what it reads to what it writes; the paper found no gain there.
"""

from bisect import bisect_left
from functools import reduce
from itertools import pairwise

import numpy as np
import torch
from torch import nn

import nissl
from nissl.features import local_interaction_basis
from nissl.training import Batches, train

SEEDS, WIDTH, STEPS, BATCH, IMAGES, KEPT, GROUPS = (0, 1), 64, 2000, 256, 1000, 0.99, 8
BLOCK, LENGTH, GRID = 3, 200, 128  # tokens of each half of a text; how finely edges are counted


def perceptron():
    """Return three hidden layers and a linear reading of the last."""
    sizes = [3 * 32 * 32, WIDTH, WIDTH, WIDTH]
    hidden = [nn.Sequential(nn.Linear(n, m), nn.ReLU()) for n, m in pairwise(sizes)]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))


def image_loss(model, batch):
    """Return the cross entropy of photographs."""
    return nn.functional.cross_entropy(model(batch[0].flatten(1).float() / 64 - 2), batch[1])


def edges_needed(parts, x, finish, rotate):
    """Return how many edges to the second layer keep the answers, and what the logits are then."""
    (here, there, *_), (sizes, *_) = local_interaction_basis(parts, x, rotate=rotate)
    order, features = sizes.flatten().argsort(descending=True), here.encode(x)

    def onward(y):
        return finish(reduce(lambda z, part: part(z), parts[1:], y))

    def left(n):
        rows = torch.zeros(sizes.numel()).index_fill(0, order[:n], 1).view(sizes.shape)
        each = (there.encode(parts[0](here.decode(features * row))) for row in rows)
        return onward(there.decode(torch.stack([y[:, j] for j, y in enumerate(each)], 1)))

    with torch.no_grad():
        answers = onward(parts[0](x)).argmax(-1)
        steps = [round(i * sizes.numel() / GRID) for i in range(GRID + 1)]
        same = lambda n: (left(n).argmax(-1) == answers).double().mean()  # noqa: E731
        n = steps[min(GRID, bisect_left(steps, KEPT, key=same))]
        return n, left(n)


def compared(parts, x, finish=lambda y: y):
    """Return the edges that the basis needs for each of principal components, and both's logits."""
    (n, own), (m, other) = (edges_needed(parts, x, finish, rotate) for rotate in (True, False))
    return n / m, own, other


def of_language(net, ids):
    """Return the MLP of a block, what it reads on texts, and how logits follow from its output."""
    site, mlp = f"blocks.{BLOCK}.mlp.out", f"model.layers.{BLOCK}.mlp"
    x = net.run(ids, sites=f"{mlp}:in")[f"{mlp}:in"].flatten(0, 1)

    def finish(y):
        with net.edit(nissl.patch({site: y.unflatten(0, (len(ids), -1))})):
            return net.run(ids, sites="logits")["logits"].flatten(0, 1)

    return [net.model.get_submodule(mlp)], x, finish


if __name__ == "__main__":
    cifar = nissl.read("cifar10")
    pixels, labels = torch.from_numpy(cifar.values), torch.from_numpy(cifar.labels)
    some = np.flatnonzero(cifar.test)[:IMAGES]
    x, truth = pixels[some].flatten(1).float() / 64 - 2, labels[some]
    groups = torch.block_diag(*[torch.ones(WIDTH // GROUPS, WIDTH // GROUPS)] * GROUPS)
    ratios, before, planted, accuracy, losses = [], [], [], [], []
    for seed in SEEDS:
        torch.manual_seed(seed)
        batches = Batches(pixels[~cifar.test], labels[~cifar.test], batch_size=BATCH, seed=seed)
        how = {"learning_rate": 1e-3, "weight_decay": 0.01, "schedule": "cosine", "warmup": 20}
        how |= {"steps": STEPS, "checkpoints": [0], "progress": False}
        done = train(perceptron(), batches, loss=image_loss, **how)
        (first, *parts), (untrained, *rest) = done.model, done.at(0)
        before.append(compared(rest, untrained(x).detach())[0])
        ratio, *logits = compared(parts, first(x).detach())
        ratios.append(ratio)
        losses += [nn.functional.cross_entropy(y, truth).item() for y in (done.model(x), *logits)]
        accuracy.append(float((done.model(x).argmax(1) == truth).double().mean()))
        for part in parts[:2]:
            part[0].weight.data *= groups
        planted.append(compared(parts, first(x).detach())[0])
    net = nissl.load("stories15m", progress=False)
    ids = net.tokenizer(nissl.read("reader")["text"][0])["input_ids"]
    language = compared(*of_language(net, [ids[:LENGTH], ids[LENGTH : 2 * LENGTH]]))[0]

    nissl.claim(
        "interactions_elsewhere",
        system=87,
        says="On CIFAR-10 features of the local interaction basis interact more sparsely than "
        "principal components; in a language model they hardly do.",
        measured={"ratio": max(ratios), "language": language}
        | {"accuracy": min(accuracy), "losses": losses},
        null={"ratio": min(before)},
        power={"ratio": max(planted)},
        rule="ratio <= 0.8 and ratio <= null.ratio - 0.1 and ratio <= language - 0.1",
        data=f"CIFAR-10: perceptrons trained here, {len(SEEDS)} seeds, {IMAGES} test photographs; "
        f"ratio: edges that keep {KEPT:.0%} of the answers, of the basis by those of principal "
        f"components, the largest; null: before training; power: weights of {GROUPS} groups; "
        f"losses: with all edges, and those of either, each seed; language: block {BLOCK} of "
        f"stories15m, the MLP, {2 * LENGTH} tokens",
    )
