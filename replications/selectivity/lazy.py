"""Lazy neurons (system 69): few activations of a ReLU are nonzero, whatever is learned.

The paper (Li et al. 2022) finds that 3.0% of the activations of T5 and 6.3% of a vision transformer
are nonzero, and as few after training on random labels or random inputs. Small vision transformers
learn digits of MNIST here: with their labels, with labels drawn at random, and with pixels drawn at
random. How many activations of each layer are nonzero, beside networks with fresh weights? For
power, all but the paper's share of the largest activations of the same networks are set to zero.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

import nissl
from nissl.network import top_k
from nissl.selectivity import lazy
from nissl.statistics import ReinitialisedNetwork
from nissl.statistics.figure import curve, save_figure
from nissl.training import Batches, train

SEED, N_TRAIN, N_RECORDED, STEPS, FRESH = 0, 512, 128, 1400, 39
D_MLP, LAYERS = 192, 3
PAPER = 0.063  # nonzero in the paper's ViT-B/16
FITS = 0.99  # of what it was told, by every network: else it says nothing of labels drawn at random


def transformer():
    """Return a small vision transformer of ReLUs with fresh weights."""
    config = ViTConfig(
        hidden_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=D_MLP,
        hidden_act="relu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        image_size=28,
        patch_size=7,
        num_channels=1,
        num_labels=10,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return ViTForImageClassification(config)


def label_loss(model, batch):
    """Return the cross entropy of labels."""
    images, labels = batch
    return nn.functional.cross_entropy(model(pixel_values=images).logits, labels)


def trained(images, labels):
    """Return a network trained here, which must fit; half a minute the first time."""
    batches = Batches(images, labels, batch_size=64, seed=SEED)
    options = {"learning_rate": 3e-3, "weight_decay": 0.05, "warmup": 50, "schedule": "cosine"}
    model = train(transformer(), batches, loss=label_loss, steps=STEPS, **options).model
    with torch.inference_mode():
        fits = (model(pixel_values=images).logits.argmax(1) == labels).float().mean()
    if fits < FITS:
        raise SystemExit(f"a network fits {fits:.2%} of what it was told")
    return model


def recorded(model, images, *edits):
    """Record every neuron on some of the images that were learned."""
    net = nissl.load(model, progress=False)
    with net.edit(*edits):
        return nissl.record(net, images[:N_RECORDED], sites="mlp.neurons", progress=False)


rng, mnist = np.random.default_rng(SEED), nissl.read("mnist")
rows = rng.choice(np.flatnonzero(~mnist.test), N_TRAIN, replace=False)
seen = torch.tensor(mnist.values[rows, None] / 255, dtype=torch.float32)
labels, anew = torch.tensor(mnist.labels[rows]), torch.tensor(rng.integers(0, 10, N_TRAIN))
static = torch.tensor(rng.random(seen.shape), dtype=torch.float32)
sets = {
    "digits": (seen, labels),
    "random labels": (seen, anew),
    "random pixels": (static, labels),
}
fresh = list(ReinitialisedNetwork().draw(transformer(), FRESH, seed=SEED))
few = top_k(sites="mlp.neurons", k=round(PAPER * D_MLP))
found, as_lazy = {}, {}
for name, (images, told) in sets.items():
    model = trained(images, told)
    blank = [recorded(one, images) for one in fresh]
    found[name] = lazy(recorded(model, images), untrained=blank)
    as_lazy[name] = lazy(recorded(model, images, few), untrained=blank)


def figures(findings):
    """Return the most that is nonzero of the trainings, what of each, and the largest q."""
    nonzero = {name: finding.provenance["nonzero"] for name, finding in findings.items()}
    q = max(float(finding.table["q"].max()) for finding in findings.values())
    by_name = {f"nonzero_{name.replace(' ', '_')}": share for name, share in nonzero.items()}
    return {"nonzero": max(nonzero.values()), "q": q, **by_name}


shares = {name: finding.table.set_index("layer")["nonzero"] for name, finding in found.items()}
never = {name: float(finding.table["null_mean"].mean()) for name, finding in found.items()}
axes = curve(pd.DataFrame(shares), null=found["digits"].table["null_mean"])
axes.set(ylabel="share of activations that are nonzero", ylim=(0, 0.6))
save_figure(axes.figure, "out/selectivity/lazy.png")

nissl.claim(
    "lazy",
    system=69,
    says="Few activations of ReLU transformers are nonzero (3.0% in T5, 6.3% in ViT), also after "
    "training on random labels or random inputs.",
    measured=figures(found) | {"busiest": float(found["digits"].table["busiest"].max())},
    null={"nonzero": min(never.values())},
    rule="nonzero < 0.5 * null.nonzero and q <= 0.05",
    power=figures(as_lazy),
    data=f"vision transformers of {LAYERS} x 48 with {D_MLP} neurons a block, trained here for "
    f"{STEPS} steps on {N_TRAIN} images of MNIST; nonzero: the most of the three trainings; null: "
    f"{FRESH} networks with fresh weights",
)
