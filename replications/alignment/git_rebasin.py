"""Git Re-Basin (system 324): two networks trained apart, with nothing worse between them.

A perceptron of three wide layers and a small convolutional net with batch norm learn MNIST from two
seeds each. How much of the loss barrier on the line between the two is left when the units of the
second are put into the order of the first, by weights, by activations and by straight-through
gradients? The null puts them into a random order. Planted: the first network itself, with noise on
its weights, in a random order. Statistics of batch norms are estimated anew in every network.
"""

import copy

import pandas as pd
import torch
from torch import nn
from torch.nn import functional

import nissl
from nissl.alignment import StraightThrough, rebasin
from nissl.behaviour import barrier
from nissl.network import symmetries
from nissl.statistics.figure import curve, panels, save_figure
from nissl.training import Batches, small_image_model, train

N_TRAIN, N_TEST, N_MATCH, WIDTH, STEPS, POINTS, NOISE = 20_000, 2000, 500, 512, 40, 7, 0.3
RECIPES = {"mlp": {"steps": 1500, "batch": 200}, "convolutional": {"steps": 500, "batch": 128}}


def loss(model, batch):
    """Return the cross entropy of a batch."""
    return functional.cross_entropy(model(batch[0]), batch[1])


def fresh(kind, seed):
    """Return a network with fresh weights."""
    if kind == "convolutional":
        return small_image_model(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(784, WIDTH), nn.ReLU()]
        layers += [nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def trained(kind, seed):
    """Return a network that has learned from one seed."""
    recipe = RECIPES[kind]
    batches = Batches(*data[kind]["train"], batch_size=recipe["batch"], seed=seed)
    how = {"loss": loss, "steps": recipe["steps"], "schedule": "cosine", "warmup": 50}
    return train(fresh(kind, seed), batches, seed=seed, progress=False, **how).model


def noisy(model, groups):
    """Return a model with noise on its weights, in a random order of units."""
    other, rng = copy.deepcopy(model), torch.Generator().manual_seed(1)
    for x in other.parameters():
        x.data += NOISE * x.data.std() * torch.randn(x.shape, generator=rng)
    return groups.permute(other, groups.random(seed=1))


def barriers(kind, a, b, groups):
    """Return the barrier to b as it is, in a random order, and in those of the algorithms."""
    inputs, labels = data[kind]["train"]
    few, test = inputs[:N_MATCH], data[kind]["test"]
    batches = Batches(inputs, labels, batch_size=RECIPES[kind]["batch"], seed=0)
    methods = {"weights": "weights", "activations": "activations"}
    methods["straight_through"] = StraightThrough(loss, batches, steps=STEPS)
    others = {"as it is": b, "random": groups.permute(b, groups.random(seed=0))}
    for name, how in methods.items():
        others[name] = rebasin(a, b, few, method=how, progress=False).model

    tested = torch.no_grad()(lambda model: loss(model, test))
    return {k: barrier(a, x, tested, n=POINTS, statistics=[few]) for k, x in others.items()}


images = nissl.read("mnist")
pixels, labels = torch.from_numpy(images.values), torch.as_tensor(images.labels).long()
learn, held_out = (torch.from_numpy(part).nonzero()[:, 0] for part in (~images.test, images.test))
rows = {"train": learn[:N_TRAIN], "test": held_out[:N_TEST]}
grey = {k: (pixels[r][:, None].float() / 255, labels[r]) for k, r in rows.items()}
colour = {k: (pixels[r][..., None].repeat(1, 1, 1, 3), labels[r]) for k, r in rows.items()}
data = {"mlp": grey, "convolutional": colour}

shares, accuracy = {}, []
figure, axes = panels(2)
for kind, panel in zip(data, axes, strict=True):
    a, b = (trained(kind, seed) for seed in (0, 1))
    x, y = data[kind]["test"]
    with torch.no_grad():
        accuracy += [float((model(x).argmax(1) == y).float().mean()) for model in (a, b)]
    groups = symmetries(a, x[:2])
    found = {"found": barriers(kind, a, b, groups)}
    found["planted"] = barriers(kind, a, noisy(a, groups), groups)
    for which, lines in found.items():
        whole = lines["as it is"].height
        shares[which, kind] = {name: line.height / whole for name, line in lines.items()}
    lines = {name: line.table.set_index("share")["loss"] for name, line in found["found"].items()}
    curve(pd.DataFrame(lines), axes=panel).set(title=kind, ylabel="test loss", yscale="log")
save_figure(figure, "out/alignment/git_rebasin.png")

table = pd.DataFrame(shares).drop("as it is")
left = table.drop("random")
nissl.claim(
    "git_rebasin",
    system=324,
    says="Permuting the units of one network into the order of another leaves about no barrier.",
    measured={
        "left": left["found"].to_numpy().max(),
        **{f"{m}_{k}": left["found"][k][m] for k in data for m in left.index},
        "accuracy": min(accuracy),
    },
    null={"left": table["found"].loc["random"].min()},
    rule="left <= 0.2 and left < 0.5 * null.left",
    power={"left": left["planted"].to_numpy().max()},
    data=f"MNIST, {N_TRAIN} images to learn, {N_TEST} to test; left: the largest share of the "
    "barrier in test loss that an algorithm leaves, of three on two networks; null: a random order",
)
