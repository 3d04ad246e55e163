"""Learning in context or in weights (system 72): the data decide, by way of an induction head.

The paper (Reddy 2024) trains a minimal attention-only network to label an item after others with
labels. Where classes come in bursts it labels items of new classes from their context, by an
induction head that forms abruptly; else it keeps labels in its weights. So does a model of two
numbers: how strongly a position looks at the one before, and the last item for its like.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.statistics.figure import curve, save_figure
from nissl.training import train

SEEDS, STEPS, EVERY, BATCH, TESTED = (1, 2), 3000, 250, 64, 1000
PAIRS, WIDTH, LABELS, CLASSES, NOISE, BURST = 8, 32, 16, 512, 0.1, 2
LENGTH = 2 * PAIRS + 1
VECTORS = np.random.default_rng(0).standard_normal((LABELS, WIDTH)) / WIDTH**0.5  # of the labels


def sequences(classes, seed, n, *, bursts):
    """Return items of some classes with labels, one without, and its label; in bursts or not."""
    rng, kinds = np.random.default_rng(seed), np.random.default_rng((classes, 7))
    means = kinds.standard_normal((CLASSES, WIDTH)) / WIDTH**0.5
    labels = kinds.integers(0, LABELS, CLASSES)
    every = rng.integers(0, CLASSES, (n, PAIRS + 1))
    if bursts:
        some = [rng.choice(CLASSES, PAIRS // BURST, replace=False) for _ in range(n)]
        every[:, :-1] = rng.permuted(np.repeat(some, BURST, axis=1), axis=1)
        every[:, -1] = every[np.arange(n), rng.integers(0, PAIRS, n)]
    items = means[every] + NOISE * rng.standard_normal((n, PAIRS + 1, WIDTH)) / WIDTH**0.5
    x = np.zeros((n, LENGTH, WIDTH))
    x[:, ::2], x[:, 1::2] = items / (1 + NOISE**2) ** 0.5, VECTORS[labels[every[:, :-1]]]
    return torch.tensor(x, dtype=torch.float32), torch.from_numpy(labels[every[:, -1]])


def causal(scores):
    """Return attention of scores, each position to those so far."""
    return scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -torch.inf).softmax(-1)


class AttentionOnly(nn.Module):
    """Two heads in a row over items beside their positions, and a classifier of the last."""

    def __init__(self, width=WIDTH + LENGTH):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(6))
        self.classifier = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 64))
        self.classifier.extend([nn.ReLU(), nn.Linear(64, LABELS)])

    def forward(self, x):
        """Return the logits of labels."""
        x = torch.cat([x, torch.eye(LENGTH).expand(len(x), -1, -1)], -1)
        for query, key, value in (self.maps[:3], self.maps[3:]):
            x = x + causal(query(x) @ key(x).mT / x.shape[-1] ** 0.5) @ value(x)
        return self.classifier(x[:, -1])


class TwoNumbers(AttentionOnly):
    """An induction head whose attention has two parameters, and the same classifier."""

    def __init__(self):
        super().__init__(2 * WIDTH)
        self.maps, self.strength = None, nn.Parameter(torch.zeros(2))

    def forward(self, x):
        """Return the logits of labels."""
        before = causal(self.strength[0] * torch.ones(LENGTH - 1).diag(-1)) @ x
        found = (self.strength[1] * (x[:, -1:] @ before.mT)).softmax(-1) @ x
        return self.classifier(torch.cat([x[:, -1], found[:, 0]], -1))


def course(kind, bursts, seed):
    """Train; return by step how often new classes are right in context, and known ones without."""
    torch.manual_seed(seed)
    sizes = f"{PAIRS} {WIDTH} {LABELS} {CLASSES} {NOISE} {BURST} {BATCH}"
    how = {"steps": STEPS, "learning_rate": 2e-3, "warmup": 50, "progress": False}
    how |= {"checkpoints": range(0, STEPS + 1, EVERY), "key": f"pairs {seed} {bursts} {sizes}"}
    batches = lambda step: sequences(seed, (seed, step), BATCH, bursts=bursts)  # noqa: E731
    loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])  # noqa: E731
    done = train(kind(), batches, loss=loss, **how)
    rows = {step: {} for step in done.checkpoints}
    for name, classes, with_bursts in (("context", seed + 100, True), ("weights", seed, False)):
        x, y = sequences(classes, seed, TESTED, bursts=with_bursts)
        for step, row in rows.items():
            row[name] = float((done.at(step)(x).argmax(1) == y).float().mean())
    return pd.DataFrame(rows).T


arms = [(kind, bursts) for kind in (AttentionOnly, TwoNumbers) for bursts in (True, False)]
courses = {arm: [course(*arm, seed) for seed in SEEDS] for arm in arms}
ends = {arm: pd.DataFrame([table.iloc[-1] for table in each]) for arm, each in courses.items()}
axes = curve(pd.DataFrame({f"{k.__name__} {b}": c[0]["context"] for (k, b), c in courses.items()}))
save_figure(axes.figure, "out/circuits/in_context_classification.png")

nissl.claim(
    "in_context_classification",
    system=72,
    says="Bursts of classes make an attention-only network label new ones from their context, "
    "abruptly, and no bursts make it keep labels in weights; so does a model of two numbers.",
    measured={
        "context": float(ends[AttentionOnly, True]["context"].min()),
        "context_two_numbers": float(ends[TwoNumbers, True]["context"].min()),
        "weights": [
            float(ends[AttentionOnly, bursts]["weights"].mean()) for bursts in (True, False)
        ],
    },
    null={
        "context": float(ends[AttentionOnly, False]["context"].max()),
        "context_two_numbers": float(ends[TwoNumbers, False]["context"].max()),
    },
    rule="context > 0.6 and context > null.context + 0.3 "
    "and context_two_numbers > null.context_two_numbers + 0.3",
    data=f"networks trained here for {STEPS} steps on {PAIRS} items with labels of {CLASSES} "
    f"classes, two seeds; context: right labels of new classes, {BURST} items of each before; "
    "weights: known classes, with bursts and without; null: training without bursts",
)
