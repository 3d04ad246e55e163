"""From neurons to neutrons (system 133): the geometry of embeddings yields the known terms.

Instead of the energies of nuclei a network learns a function of two integers that has, as those
have, a smooth term and a periodic one: shells of twelve. It is given the integers as tokens, so
their embeddings know nothing of numbers at first. Do the principal components of the embeddings
hold the terms, a line and a circle: a helix? Beside it: shuffled targets, and before training.
"""

import numpy as np
import torch

import nissl
from nissl.statistics.figure import panels, save_figure
from nissl.training import Batches, train

SEED, N, PERIOD, STEPS, COMPONENTS = 1, 72, 12, 3000, 6


class Pairs(torch.nn.Module):
    """A network of two integers."""

    def __init__(self, n=N, width=48, seed=SEED):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = torch.nn.Embedding(n, width)
        # As language models begin. A first run, of another seed, began with torch's unit variance,
        # which hides whatever is learned.
        torch.nn.init.normal_(self.embed.weight, std=0.02)
        self.read = torch.nn.Sequential(
            torch.nn.Linear(2 * width, 128),
            torch.nn.SiLU(),
            torch.nn.Linear(128, 128),
            torch.nn.SiLU(),
            torch.nn.Linear(128, 1),
        )

    def forward(self, pairs):
        """Return the predicted number."""
        return self.read(self.embed(pairs).flatten(1)).squeeze(1)


def terms(n=N):
    """Return the terms of one integer: the line, and cosine and sine of its place in a shell."""
    z = np.arange(n)
    angle = 2 * np.pi * z / PERIOD
    return np.stack([z / n - 0.5, np.cos(angle), np.sin(angle)], 1)


def table(n=N):
    """Return all pairs and the function: smooth, with shells of both integers."""
    pairs = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2)
    line, cosine, _ = terms(n).T
    a, b = pairs.T
    return pairs, -2 * (line[a] - line[b]) ** 2 + line[a] + 0.4 * (cosine[a] + cosine[b])


def trained(pairs, y, steps=STEPS):
    """Return a network, trained with weight decay."""
    data = torch.as_tensor(pairs), torch.as_tensor(y, dtype=torch.float32)
    return train(
        Pairs(),
        Batches(*data, batch_size=256, seed=SEED),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        steps=steps,
        weight_decay=0.1,
        schedule="cosine",
        seed=SEED,
        progress=False,
    ).model


def held(embedding, components=COMPONENTS):
    """Return the share of each term's variance that the first components hold, and those."""
    x = embedding - embedding.mean(0)
    scores = np.linalg.svd(x, full_matrices=False)[0][:, :components]
    known = terms(len(x)) - terms(len(x)).mean(0)
    return ((scores.T @ known) ** 2).sum(0) / (known**2).sum(0), scores


if __name__ == "__main__":
    pairs, y = table()
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(pairs))
    learn, test = order[: int(0.7 * len(order))], order[int(0.7 * len(order)) :]
    model = trained(pairs[learn], y[learn])
    with torch.no_grad():
        off = model(torch.as_tensor(pairs[test])).numpy() - y[test]
    other = trained(pairs[learn], rng.permutation(y[learn]))
    shares, scores = held(model.embed.weight.detach().numpy())
    shuffled, _ = held(other.embed.weight.detach().numpy())
    first, _ = held(Pairs().embed.weight.detach().numpy())

    figure, axes = panels(2)
    axes[0].scatter(scores[:, 0], scores[:, 1], c=np.arange(N))
    axes[1].scatter(scores[:, 1], scores[:, 2], c=np.arange(N) % PERIOD)
    axes[0].set(xlabel="component 1", ylabel="component 2", title="by number")
    axes[1].set(xlabel="component 2", ylabel="component 3", title="by place in the shell")
    save_figure(figure, "out/features/neurons_to_neutrons.png")
    nissl.claim(
        "neurons_to_neutrons",
        system=133,
        says="Components of the embeddings of a network that fits a table hold the known terms.",
        measured={
            "held": shares[:2].min(),
            "sine": shares[2],
            "explained": 1 - np.mean(off**2) / np.var(y[test]),
        },
        null={"shuffled": shuffled[:2].max(), "untrained": first[:2].max()},
        rule="held > 0.8 and held > null.shuffled + 0.3 and held > null.untrained + 0.3",
        data=f"a function of two integers below {N}, smooth, with shells of {PERIOD}; the least "
        f"share of the variance of its terms (line, cosine) in the first {COMPONENTS} components "
        "of the embeddings; explained: variance of held-out pairs",
    )
