"""Causal path graphs (system 3): path interventions in an MLP and a CNN, stable under noise.

Two small networks learn MNIST here. For each digit, every path of a unit (or channel) of the first
layer through one of the second is intervened on: the second alone is given what it would be without
the first. The same graph by gradients multiplies two derivatives. Which changes less with noise?
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.behaviour import Behaviour, Patching
from nissl.statistics import Test, paired_test
from nissl.statistics.figure import bar, heatmap, panels, save_figure
from nissl.training import Batches, train

SEED, STEPS, IMAGES, NOISE, DRAWS = 0, 600, 20, 0.3, 2
FIRST, SECOND = "1", "3"  # after the nonlinearities


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def networks():
    """Return an MLP and a CNN with fresh weights, and how each is given an image."""
    torch.manual_seed(SEED)
    mlp = nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)
    conv = nn.Conv2d(1, 12, 5, 2), nn.ReLU(), nn.Conv2d(12, 16, 3, 2), nn.ReLU()
    cnn = *conv, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    given = {"MLP": (784,), "CNN": (1, 28, 28)}
    return {"MLP": nn.Sequential(*mlp), "CNN": nn.Sequential(*cnn)}, given


def interventions(pairs):
    """Return the effect of every path on every image, shape (image, first, second)."""
    net, one = pairs.net, Patching(pairs, "zero")
    n_first, n_second = (net.run(one.call, sites=s)[s].shape[-1] for s in (FIRST, SECOND))
    effects = []
    for a in range(n_first):
        with net.edit(nissl.ablate(f"{FIRST}[{a}]")):
            without = net.run(one.call, sites=SECOND)
        with net.edit_batch(nissl.patch(without, units=f"{SECOND}[{b}]") for b in range(n_second)):
            outputs = one.run(copies=n_second)
        effects.append(torch.stack([one.value - one.metric(y) for y in outputs], 1))
    return torch.stack(effects, 1).numpy()


def by_gradients(pairs):
    """Return the same to first order: what two derivatives say, multiplied along the path."""
    net, one = pairs.net, Patching(pairs, "zero")
    found = one.gradients(SECOND)[SECOND]
    with torch.no_grad():
        x = net.model[:2](one.call.args[0])
    effects = []
    for a in range(x.shape[1]):
        alone = torch.zeros_like(x)
        alone[:, a] = x[:, a]
        change = torch.func.jvp(net.model[2:4], (x,), (alone,))[1].movedim(1, -1)
        effects.append((change * found).reshape(len(x), -1, change.shape[-1]).sum(1))
    return torch.stack(effects, 1).detach().numpy()


data = nissl.read("mnist")
pixels, digits = torch.as_tensor(data.values).float() / 255, torch.as_tensor(data.labels).long()
models, shapes = networks()
stable, graphs = {}, {}
for name, model in models.items():
    x, rng = pixels.reshape(-1, *shapes[name]), torch.Generator().manual_seed(SEED)
    batches = Batches(x[:-10_000], digits[:-10_000], batch_size=128)
    done = train(model, batches, loss=cross_entropy, steps=STEPS, learning_rate=3e-3, seed=SEED)
    net = nissl.load(done.model, progress=False)
    test, truth = x[-10_000:], digits[-10_000:]
    with torch.no_grad():
        right = net.model(test).argmax(1) == truth
    for digit in range(10):
        some = test[right & (truth == digit)][:IMAGES]
        others = [[k for k in range(10) if k != digit]] * len(some)
        scores = {}
        for draw in range(1 + DRAWS):
            noisy = some + (draw > 0) * NOISE * torch.randn(some.shape, generator=rng)
            pairs = Behaviour(net, noisy, some, right=[digit] * len(some), wrong=others)
            for how in (interventions, by_gradients):
                scores.setdefault(how.__name__, []).append(how(pairs).mean(0).ravel())
        for how, graph in scores.items():
            graphs[name, digit, how] = graph[0]
            stable[name, digit, how] = float(np.corrcoef(graph)[0, 1:].mean())

table = pd.Series(stable).unstack()
found = paired_test(
    *(table[[how]].to_numpy() for how in ("interventions", "by_gradients")),
    units=pd.DataFrame({"unit": ["stability"]}),
    test=Test(seed=SEED),
    progress=False,
).table.iloc[0]
mean = table.groupby(level=0).mean()
figure, axes = panels(2)
heatmap(graphs["MLP", 3, "interventions"].reshape(32, 16), label="effect", axes=axes[0])
axes[0].set(xlabel="second layer", ylabel="first layer", title="Digit 3, MLP")
bar(mean, axes=axes[1]).set(ylabel="correlation of graphs with and without noise", xlabel="")
save_figure(figure, "out/circuits/path_graphs.png")

nissl.claim(
    "path_graphs",
    system=3,
    says="Causal graphs from path interventions are more stable under noise of the input than "
    "those of gradient attribution.",
    measured={"stability": float(table["interventions"].mean()), "p": float(found["p"])}
    | {name.lower(): value for name, value in mean["interventions"].items()},
    null={"stability": float(table["by_gradients"].mean())}
    | {name.lower(): value for name, value in mean["by_gradients"].items()},
    rule="stability > null.stability and p < 0.05",
    data=f"MNIST; an MLP of 32 and 16 units and a CNN of 12 and 16 channels trained here; {IMAGES} "
    f"test images of each digit, noise of {NOISE} of the range of a pixel; the null is gradients",
)
