"""Massive activations (system 38): where they are, what they do, and how they grow in training.

SmolLM2 and Gemma read the beginnings of texts: which dimensions of the residual stream hold values
beyond a thousand times the median, at which tokens, and what does the loss do without them? Then a
small GPT-NeoX, the architecture of the paper, learns here to write like a translation of the Bible;
the five-parameter curve is fitted to every second of its checkpoints and judged on the others.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import nissl
from nissl.behaviour import losses
from nissl.network import Network
from nissl.selectivity import Growth, growth, layer_ratios, massive
from nissl.statistics import Test
from nissl.training import (
    Batches,
    next_token_loss,
    small_language_model,
    small_tokenizer,
    token_windows,
    train,
)

SEED, TEXTS, TOKENS = 0, 10, 64  # the paper has ten texts
VOCABULARY, LENGTH, STEPS = 2048, 96, 1600
CHECKPOINTS = [0, *(2**i for i in range(6)), *range(50, STEPS, 50)]
# Planted: from what a layer has before training to some fifty times as much, then slowly less; and
# the deviation from text to text that the paper reports, 4 to 7%.
PAPER, NOISE = (30.0, 0.05, 20.0, 1.0, 1.0), 0.05


def loss(net, texts, *edits):
    """Mean loss of the texts under edits."""
    with net.edit(*edits):
        return float(losses(net, texts, every=2, progress=False).mean())


def detect(name, texts):
    """Find massive activations; take them out at the first token, where they first appear."""
    net = nissl.load(name, dtype="bfloat16")
    ids = net.tokenizer(texts, add_special_tokens=False)["input_ids"]
    texts = [row[:TOKENS] for row in ids]
    rec = nissl.record(net, texts, sites="resid_post", progress=False)
    table = massive(rec, test=Test(seed=SEED)).table
    held = table[table["massive"] >= 0.5]
    site = str(held["site"].iloc[0])
    units = held.loc[held["site"] == site, "unit"].tolist()
    means = rec.sel(unit=units).values[rec["position"].values == 0].mean(axis=0)
    rest = table.loc[(table["site"] == site) & (table["massive"] == 0), "unit"].to_numpy()
    rng, clean = np.random.default_rng(SEED), loss(net, texts)

    def without(chosen):
        return loss(net, texts, nissl.ablate(list(chosen), positions=0)) - clean

    at_mean = [
        nissl.clamp(unit, to=float(mean), positions=0)
        for unit, mean in zip(units, means, strict=True)
    ]
    change = {
        "set to zero": without(units),
        "set to their mean": loss(net, texts, *at_mean) - clean,
        "as many others to zero": float(
            np.mean([without(rng.choice(rest, len(units), replace=False)) for _ in range(3)])
        ),
    }
    return {"held": held, "layers": layer_ratios(rec), "change": change}


def trained_here():
    """A small language model and its checkpoints; some minutes the first time."""
    texts = list(nissl.read("bible")["text"])
    tokenizer = small_tokenizer(texts, vocabulary=VOCABULARY)
    model = small_language_model(
        "gpt_neox", vocabulary=VOCABULARY, d_model=96, n_layers=6, n_heads=6, context=LENGTH
    )
    windows = token_windows(texts, tokenizer, length=LENGTH)
    done = train(
        model,
        Batches(windows, batch_size=16),
        loss=next_token_loss,
        steps=STEPS,
        learning_rate=3e-3,
        weight_decay=0.1,
        schedule="cosine",
        warmup=50,
        checkpoints=CHECKPOINTS,
    )
    return done, windows


def followed(done, windows):
    """Ratio of the largest activation to the median, shape (checkpoints, layers)."""
    chosen = windows[np.random.default_rng(SEED).choice(len(windows), TEXTS, replace=False)]
    ratios = []
    for step in done.checkpoints:
        net = Network(done.at(step))
        rec = nissl.record(
            net, [ids.numpy() for ids in chosen], sites="resid_post", bos="never", progress=False
        )
        ratios.append(layer_ratios(rec)["ratio"].to_numpy())
    return np.stack(ratios)


def held_out(steps, ratios):
    """For each layer: fit every second checkpoint, and say how much of the others is explained."""
    fits = [growth(steps[::2], layer[::2]) for layer in ratios.T]
    return [
        fit.explains(steps[1::2], layer[1::2]) for fit, layer in zip(fits, ratios.T, strict=True)
    ]


texts = list(nissl.read("reader")["text"].iloc[::40].str[:2000])[:TEXTS]
models = {name: detect(name, texts) for name in ("smollm2", "gemma3-270m")}
done, windows = trained_here()
steps, ratios = np.asarray(done.checkpoints), followed(done, windows)
fits = [growth(steps, layer) for layer in ratios.T]
others = held_out(steps, ratios)
rng = np.random.default_rng(SEED)
shuffled = held_out(steps, rng.permuted(ratios, axis=0))
curve = Growth(*PAPER, r2=1.0).at(steps / STEPS)
curves = np.outer(curve, ratios[0]) * (1 + NOISE * rng.standard_normal(ratios.shape))
planted = held_out(steps, curves)

figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
colours = {"smollm2": "#2f5d8a", "gemma3-270m": "#c8553d"}
for name, model in models.items():
    depth = np.arange(1, len(model["layers"]) + 1)
    axes[0].plot(depth, model["layers"]["ratio"], "o-", ms=3, color=colours[name], label=name)
axes[0].axhline(1000, color="black", lw=0.8, ls=":")
axes[0].set(
    yscale="log", xlabel="block", ylabel="largest activation / median", title="Where they are"
)
axes[0].legend(frameon=False)
bars = list(models["smollm2"]["change"])
for i, (name, model) in enumerate(models.items()):
    axes[1].barh(
        np.arange(3) + 0.2 - 0.4 * i,
        [model["change"][b] for b in bars],
        0.38,
        color=colours[name],
        label=name,
    )
axes[1].set_yticks(range(3), bars)
axes[1].axvline(0, color="black", lw=0.8)
axes[1].set(xlabel="change of the loss (nats a token)", title="What they do")
axes[1].set_xscale("symlog", linthresh=0.01)
shades = plt.colormaps["viridis"](np.linspace(0, 0.85, len(fits)))
fine = np.linspace(0, STEPS, 400)
for layer, (fit, colour) in enumerate(zip(fits, shades, strict=True)):
    axes[2].plot(steps, ratios[:, layer], "o", ms=3, color=colour)
    axes[2].plot(fine, fit.at(fine), color=colour, label=f"block {layer + 1}")
axes[2].set(
    xlabel="training step",
    ylabel="largest activation / median",
    title="How they grow, and the fitted curve",
)
axes[2].legend(frameon=False, fontsize=8)
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/massive.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

measured = {
    "r2": float(np.mean(others)),
    "least_r2": float(np.min(others)),
    "r2_of_fit": float(np.mean([fit.r2 for fit in fits])),
    "growth": float(np.mean(ratios.max(axis=0) / ratios[0])),
    "largest_ratio": float(ratios.max()),
    "last_loss": float(done.losses[-50:].mean()),
}
for name, model in models.items():
    key = name.split("-")[0].replace("gemma3", "gemma")
    measured |= {
        f"{key}_dimensions": len({u.split("[")[1] for u in model["held"]["unit"]}),
        f"{key}_first_block": int(model["held"]["layer"].min()) + 1,
        f"{key}_at_first_token": float(model["held"]["first"].mean()),
        f"{key}_ratio": float(model["layers"]["ratio"].max()),
        f"{key}_loss_without": model["change"]["set to zero"],
        f"{key}_loss_at_mean": model["change"]["set to their mean"],
        f"{key}_loss_without_others": model["change"]["as many others to zero"],
    }
nissl.claim(
    "massive",
    system=38,
    says="The growth of massive activations in training follows an exponentially modulated "
    "logarithm of five parameters (mean R2 0.984, 0.93 for the smallest model).",
    measured=measured,
    null={"r2": float(np.mean(shuffled))},
    rule="r2 >= 0.93 and null.r2 < 0.5",
    power={"r2": float(np.mean(planted)), "growth": float(np.mean(curves.max(0) / curves[0]))},
    data=f"GPT-NeoX of 6 x 96 trained here for {STEPS} steps on a Bible, {len(steps)} checkpoints; "
    f"smollm2 and gemma3-270m on {TEXTS} texts of {TOKENS} tokens"
    "; R2 is of checkpoints that were not fitted; the null is the same values in another order",
)
