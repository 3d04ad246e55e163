"""Bilinear layers (system 150): the MLPs of a language model as third-order tensors.

The paper writes an MLP whose two readings are multiplied, without a nonlinearity, as one tensor of
third order, so that it joins the algebra of attention. A language model with such MLPs is trained
here, each MLP is replaced by its tensor, and outputs and loss are compared. The null takes the same
three matrices of a model with SiLU gates, where this algebra does not hold. What it costs: the loss
beside that model's, the tensors' size, and the loss where few eigenvectors of each output are kept.
"""

import copy

import pandas as pd
import torch
from torch import nn

import nissl
from nissl.features import bilinear_tensor, eigenfeatures
from nissl.statistics.figure import curve, save_figure
from nissl.training import Batches, next_token_loss, small_language_model, train

SEED, STEPS, BATCH, LENGTH, VOCABULARY, HELD_OUT = 0, 600, 32, 64, 1024, 64
SIZES = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_mlp": 256, "context": LENGTH}
RANKS = (0, 1, 2, 4, 8, 16, 32, 64)


class Rewritten(nn.Module):
    """A gated MLP as its tensor, or as n eigenvectors of each output."""

    def __init__(self, mlp, n=None):
        super().__init__()
        weights = [getattr(mlp, f"{name}_proj").weight.detach() for name in ("gate", "up", "down")]
        self.tensor = bilinear_tensor(*weights) if n is None else None
        self.features = None if n is None else eigenfeatures(*weights, n=n)

    def forward(self, x):
        """Return what the MLP returns where nothing is left out."""
        if self.features is None:
            return torch.einsum("oij,...i,...j->...o", self.tensor, x, x)
        return self.features.decode(self.features.encode(x))


def rewritten(model, n=None):
    """Return a copy of a model whose MLPs are rewritten."""
    model = copy.deepcopy(model)
    for block in model.model.layers:
        block.mlp = Rewritten(block.mlp, n)
    return model


def largest_error(model, ids):
    """Return the largest relative error of an MLP's tensor, over blocks."""
    net = nissl.load(model, progress=False)
    layers = range(len(model.model.layers))
    into, out = ([f"model.layers.{i}.mlp{end}" for i in layers] for end in (":in", ""))
    found = net.run(ids, sites=[*into, *out])
    errors = []
    for i, x, y in zip(layers, into, out, strict=True):
        wrong = Rewritten(model.model.layers[i].mlp)(found[x]) - found[y]
        errors.append(float(wrong.norm() / found[y].norm()))
    return max(errors)


def loss_of(model, ids):
    """Return the mean loss of a token."""
    with torch.no_grad():
        return float(next_token_loss(model, (ids,)))


if __name__ == "__main__":
    texts = list(nissl.read("reader")["text"])
    tokenizer = nissl.training.small_tokenizer(texts[::2], vocabulary=VOCABULARY)
    windows, held_out = (
        nissl.training.token_windows(texts[half::2], tokenizer, length=LENGTH) for half in (0, 1)
    )
    held_out = held_out[:HELD_OUT]
    models = {
        activation: train(
            small_language_model(vocabulary=VOCABULARY, activation=activation, seed=SEED, **SIZES),
            Batches(windows, batch_size=BATCH, seed=SEED),
            loss=next_token_loss,
            steps=STEPS,
            learning_rate=2e-3,
            warmup=50,
            schedule="cosine",
            progress=False,
        ).model.double()
        for activation in ("linear", "silu")
    }
    bilinear, gated = models.values()
    ranks = pd.Series({n: loss_of(rewritten(bilinear, n), held_out) for n in RANKS})
    axes = curve(ranks)
    axes.set(xlabel="eigenvectors of each output", ylabel="loss, nats a token")
    save_figure(axes.figure, "out/features/bilinear.png")

    nissl.claim(
        "bilinear",
        system=150,
        says="A bilinear MLP is exactly a tensor of third order applied to its input twice.",
        measured={
            "error": largest_error(bilinear, held_out),
            "loss": loss_of(bilinear, held_out),
            "loss_with_tensors": loss_of(rewritten(bilinear), held_out),
            "loss_by_rank": ranks.tolist(),
            "numbers_a_weight": (SIZES["d_model"] ** 2 + SIZES["d_model"]) / 6 / SIZES["d_mlp"],
        },
        null={"error": largest_error(gated, held_out), "loss": loss_of(gated, held_out)},
        rule="error <= 1e-6 and error < null.error / 1000",
        data=f"a language model of two blocks of width 64, trained here for {STEPS} steps on the "
        "reader's texts; error: of an MLP's output in float64 on held-out text, relative, the "
        "largest of the blocks; null: the same model with SiLU gates, its nonlinearity left out of "
        f"the tensor; loss_by_rank: with {RANKS} eigenvectors of each output; numbers_a_weight: "
        "entries of the symmetric tensor for each weight of the MLP",
    )
