"""Spectra of a bilinear MLP (system 213): a few eigenvectors of each digit answer.

A bilinear MLP learns the digits of MNIST here, with noise on its inputs. Few of the 784
eigenvectors of a digit should answer as all do, unlike in the same network with shuffled weights.
An image made from weights alone is held against noise of the same norm.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.features import bilinear_tensor, eigenfeatures
from nissl.statistics.figure import curve, panels, save_figure
from nissl.training import Batches, train

SEED, HIDDEN, STEPS, BATCH, NOISE, TOP, TEST = 0, 256, 1500, 512, 0.3, 10, 2500


class BilinearMLP(nn.Module):
    """Read twice, multiply, write."""

    def __init__(self, width=784, hidden=HIDDEN, n_out=10):
        super().__init__()
        self.w, self.v = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.p = nn.Linear(hidden, n_out, bias=False)

    def forward(self, x):
        """Return logits of pixels, shape (batch, width)."""
        return self.p(self.w(x) * self.v(x))


def noisy_loss(model, batch):
    """Return the cross entropy of images with noise on them."""
    x, labels = batch
    return nn.functional.cross_entropy(model(x + NOISE * torch.randn_like(x)), labels)


def by_rank(weights, x, order=None):
    """Return the logits with ever more eigenvectors of each output, shape (n, n_out, rank)."""
    found = eigenfeatures(*weights)
    values = found.directions.sum(1).unflatten(0, (len(weights[2]), -1))
    parts = found.encode(x).unflatten(1, values.shape) * values
    return (parts if order is None else parts[:, :, order]).cumsum(-1)


def shuffled(weights, rng):
    """Return weights with the entries of each matrix in another order."""
    return [w.flatten()[rng.permutation(w.numel())].view(w.shape) for w in weights]


def agreement(weights, x, labels=None, order=None):
    """Return how often some eigenvectors answer as all of them, or as the labels, shape (rank,)."""
    answers = by_rank(weights, x, order).argmax(1)
    wanted = answers[:, -1] if labels is None else labels
    return (answers == wanted[:, None]).double().mean(0).numpy()


def adversarial(weights, target):
    """Return the image of norm 1 that raises one logit most above the mean of all others."""
    rows = weights[2][target] - weights[2].mean(0)  # nine tenths of one less the mean of others
    _, vectors = torch.linalg.eigh(bilinear_tensor(*weights[:2], rows[None])[0])
    return vectors[:, -1] * vectors[:, -1].sum().sign()  # pixels are positive


def moved(model, x, labels, image, target):
    """Return the accuracy on other digits under an added image, and how many are called it."""
    answers = model(x + image).argmax(1)
    counts = torch.stack([answers == labels, answers == target], 1).double()
    return counts[labels != target].mean(0).numpy()


if __name__ == "__main__":
    rng, digits = np.random.default_rng(SEED), nissl.read("mnist")
    pixels = torch.from_numpy(digits.values.reshape(-1, 784)).float() / 255
    labels, test = torch.from_numpy(digits.labels), torch.from_numpy(digits.test)
    torch.manual_seed(SEED)
    batches = Batches(pixels[~test], labels[~test], batch_size=BATCH, seed=SEED)
    how = {"steps": STEPS, "schedule": "cosine", "weight_decay": 0.5, "progress": False}
    model = train(BilinearMLP(), batches, loss=noisy_loss, **how).model
    weights = [w.detach() for w in model.parameters()]
    x, labels = pixels[test][:TEST], labels[test][:TEST]
    every = agreement(weights, x, labels)
    drawn = agreement(weights, x, labels, order=rng.permutation(784))
    same, null = agreement(weights, x), agreement(shuffled(weights, rng), x)
    size = 0.5 * x.norm(dim=1).mean()
    images = [adversarial(weights, target) for target in range(10)]
    hit = np.mean([moved(model, x, labels, size * images[t], t) for t in range(10)], 0)
    noise = nn.functional.normalize(torch.from_numpy(rng.normal(size=(100, 784))).float(), dim=1)
    missed = np.mean([moved(model, x, labels, size * e, i % 10) for i, e in enumerate(noise)], 0)
    figure, axes = panels(6, 2, size=2.2)
    found = eigenfeatures(*weights, n=TOP)
    for digit, column in enumerate(axes.T[:5]):
        values = found.directions[:, digit]
        for ax, top in zip(column, (values.argmax(), values.argmin()), strict=True):
            ax.imshow(found.w_enc[:, top].view(28, 28), cmap="RdBu")
            ax.set(title=f"{digit}: {values[top]:+.2f}", xticks=[], yticks=[])
    axes[0, 5].imshow(images[3].view(28, 28), cmap="RdBu")
    axes[0, 5].set(title="adversarial, 3", xticks=[], yticks=[])
    agree = pd.DataFrame({"trained": same[:50], "shuffled": null[:50]}, range(1, 51))
    curve(agree, axes=axes[1, 5]).set(xlabel="eigenvectors", ylabel="agreement")
    save_figure(figure, "out/features/bilinear_spectra.png")

    nissl.claim(
        "bilinear_spectra",
        system=213,
        says="Interaction matrices of a bilinear MLP on MNIST are of low rank: a few eigenvectors "
        "of each digit answer as all of them do; and weights alone give adversarial images.",
        measured={"agreement": same[TOP - 1], "accuracy": every[-1], "accuracy_top": every[TOP - 1]}
        | {"accuracy_attacked": hit[0], "called_target": hit[1]},
        null={"agreement": null[TOP - 1], "accuracy_top": drawn[TOP - 1]}
        | {"accuracy_attacked": missed[0], "called_target": missed[1]},
        rule="agreement >= 0.95 and agreement > null.agreement + 0.2",
        data=f"MNIST, {TEST} test images; {HIDDEN} hidden units, {STEPS} steps trained here; "
        f"agreement: the {TOP} largest eigenvectors of each digit answer as all 784; null: weights "
        "shuffled; accuracy_top: null of as many eigenvectors drawn at random; attack: an image of "
        "half the mean norm, null of noise",
    )
