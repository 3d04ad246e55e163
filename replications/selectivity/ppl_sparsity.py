"""PPL-p% sparsity (system 50): how few neurons a language model needs, and how training changes it.

SmolLM2 and Gemma read the beginnings of texts, and lose what contributes least until perplexity has
risen by p percent; thresholds are found on one half of the texts and tried on the other. Then four
small models that differ in their nonlinearity alone learn here from the same translation of the
Bible. The activation ratio of the checkpoints of two of them, ReLU and SiLU, is fitted by the
paper's laws on every second checkpoint, and judged on the others.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import nissl
from nissl.behaviour import beginnings, losses
from nissl.network import Network
from nissl.selectivity import SparsingLaw, ppl_sparsity, sparsing_law, thresholded
from nissl.training import (
    Batches,
    next_token_loss,
    small_language_model,
    small_tokenizer,
    token_windows,
    train,
)

SEED, TEXTS, LETTERS, TOKENS = 0, 16, 480, 48  # of a text the first tokens are read
VOCABULARY, LENGTH, BATCH, STEPS, WARMUP = 1024, 64, 16, 900, 50
CHECKPOINTS = [0, *range(50, STEPS + 1, 50)]
FIRST = 100  # the paper's laws are of what comes after the warm-up
EVERY = 100
WINDOWS = 64  # held out, on which small models are measured; and half as many to try them on
LAW = {"relu": "logspace", "silu": "power"}
TAIL = 0.2  # a tail error at which the layers are looked at whatever the model needs them for
ORDERS = 20  # of the checkpoints, shuffled
PLANTED = 0.2  # of the ratio, by which it rises or falls in what is planted


def real_model(name, texts):
    """Ratios of a model for several p, and how its thresholds do on texts that are not theirs."""
    net = nissl.load(name, dtype="bfloat16")
    texts = beginnings(net, texts, TOKENS)
    found = {p: ppl_sparsity(net, texts[::2], p=p, n_tokens=128, progress=False) for p in (1, 5)}
    dense = losses(net, texts[1::2], progress=False).mean()
    with net.edit(thresholded(net, found[1])):
        rise = 100 * np.expm1(losses(net, texts[1::2], progress=False).mean() - dense)
    for p, f in found.items():
        print(name, p, f.provenance, f"elsewhere {rise:.2f}%", file=sys.stderr)
    return found, float(rise)


def trained_here():
    """Four small models on the same data, a minute or two each the first time; held-out windows."""
    texts = list(nissl.read("bible")["text"])
    tokenizer = small_tokenizer(texts, vocabulary=VOCABULARY)
    seen = token_windows([t for i, t in enumerate(texts) if i % 20], tokenizer, length=LENGTH)
    apart = token_windows(texts[::20], tokenizer, length=LENGTH)
    chosen = np.random.default_rng(SEED).choice(len(apart), 3 * WINDOWS // 2, replace=False)
    models = {}
    for activation in ("relu", "silu", "gelu", "relu2"):
        model = small_language_model(
            "llama",
            vocabulary=VOCABULARY,
            d_model=96,
            n_layers=4,
            n_heads=4,
            context=LENGTH,
            activation=activation,
        )
        models[activation] = train(
            model,
            Batches(seen, batch_size=BATCH),
            loss=next_token_loss,
            steps=STEPS,
            learning_rate=2e-3,
            weight_decay=0.1,
            schedule="constant",
            warmup=WARMUP,
            checkpoints=CHECKPOINTS if activation in LAW else (0,),
        )
    return models, [row.numpy() for row in apart[chosen]]


def measured_at(model, windows, **options):
    net = Network(model)
    return ppl_sparsity(net, windows, progress=False, batch_size=WINDOWS // 2, **options).provenance


def small_model(model, here, elsewhere):
    """What a trained model has found of it, and how its thresholds do on other windows."""
    net = Network(model)
    found = ppl_sparsity(net, here, progress=False, batch_size=WINDOWS // 2)
    dense = losses(net, elsewhere, progress=False).mean()
    with net.edit(thresholded(net, found)):
        rise = 100 * np.expm1(losses(net, elsewhere, progress=False).mean() - dense)
    return {**found.provenance, "rise_elsewhere": float(rise)}


def planted(amounts, ratios, laws, rng):
    """Ratios that follow the paper's laws, as noisy as those that were measured."""
    shapes = {
        "relu": SparsingLaw("logspace", 0.0, 1.0, 0.5, 2.0, amounts.max(), 1.0),
        "silu": SparsingLaw("power", 1.0, -1.0, 0.5, 0.0, amounts.max(), 1.0),
    }
    made = {}
    for name, shape in shapes.items():
        curve, own = shape.at(amounts), ratios[name]
        curve = (curve - curve[-1]) / np.ptp(curve)
        noise = np.std(own - laws[name].at(amounts))
        made[name] = own[-1] * (1 + PLANTED * curve) + noise * rng.standard_normal(len(own))
    return made


def held_out(amounts, ratios, kind):
    """Fit every second checkpoint, and say how much of the others is explained."""
    return sparsing_law(amounts[::2], ratios[::2], kind=kind).explains(amounts[1::2], ratios[1::2])


def changes(amounts, ratios):
    """By how much the law that is fitted changes from the first checkpoint to the last."""
    found = {}
    for name, kind in LAW.items():
        first, last = sparsing_law(amounts, ratios[name], kind=kind).at(amounts[[0, -1]])
        found[f"{name}_change"] = float(last - first)
    return found


def spread(amounts, ratios, rng):
    """The same where there is no trend: the deviation over orders of the checkpoints."""
    orders = [{n: rng.permutation(r) for n, r in ratios.items()} for _ in range(ORDERS)]
    moved = [changes(amounts, order) for order in orders]
    r2 = [held_out(amounts, order[n], kind) for order in orders for n, kind in LAW.items()]
    deviations = {key: float(np.std([m[key] for m in moved])) for key in moved[0]}
    return deviations | {"relu_r2": float(np.mean(r2[::2])), "silu_r2": float(np.mean(r2[1::2]))}


reader = nissl.read("reader")
prose = reader.loc[(reader["language"] == "english") & (reader["kind"] == "prose"), "text"]
texts = [text[:LETTERS] for text in prose.iloc[:: len(prose) // TEXTS]][:TEXTS]
real = {name: real_model(name, texts) for name in ("smollm2", "gemma3-270m")}
models, windows = trained_here()
here, elsewhere = windows[:WINDOWS], windows[WINDOWS:]
ends = {name: small_model(done.model, here, elsewhere) for name, done in models.items()}
before = {name: measured_at(models[name].at(0), here) for name in LAW}
steps = np.asarray([WARMUP, *range(FIRST, STEPS + 1, EVERY)])
amounts = steps * float(BATCH * LENGTH)
over = {n: [measured_at(models[n].at(int(s)), here) for s in steps] for n in LAW}
at_tail = {
    n: [measured_at(models[n].at(int(s)), here[:8], tail_error=TAIL)["ratio"] for s in steps]
    for n in LAW
}
late = steps >= FIRST
ratios = {n: np.asarray([said["ratio"] for said in over[n]])[late] for n in LAW}
amounts = amounts[late]
laws = {n: sparsing_law(amounts, ratios[n], kind=kind) for n, kind in LAW.items()}
rng = np.random.default_rng(SEED)
null = spread(amounts, ratios, rng)
made = planted(amounts, ratios, laws, rng)
power = changes(amounts, made) | {f"null.{k}": v for k, v in spread(amounts, made, rng).items()}

COLOURS = {"relu": "#2f5d8a", "silu": "#c8553d", "gelu": "#57a773", "relu2": "#8a6db1"}
NAMES = {"relu": "ReLU", "silu": "SiLU", "gelu": "GELU", "relu2": "squared ReLU"}
figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
for (name, (found, _)), colour in zip(real.items(), ("#2f5d8a", "#c8553d"), strict=True):
    depth = np.arange(1, len(found[1]) + 1) / len(found[1])
    for p, style in ((1, "-"), (5, "--")):
        axes[0, 0].plot(
            depth, 100 * found[p].table["ratio"], style, color=colour, label=f"{name}, {p}%"
        )
    axes[0, 0].plot(
        depth,
        100 * found[1].table["null_mean"],
        ":",
        color=colour,
        label="chosen at random, same tail error",
    )
axes[0, 0].set(
    ylim=(0, 100),
    xlabel="depth",
    ylabel="active neurons (%)",
    title="Real models: perplexity may rise by p%",
)
axes[0, 0].legend(frameon=False, fontsize=8, loc="lower center")
for i, (name, said) in enumerate(ends.items()):
    axes[0, 1].bar(i, 100 * said["ratio"], color=COLOURS[name])
    axes[0, 1].text(
        i,
        100 * said["ratio"] + 0.6,
        f"perplexity\n{said['perplexity']:.1f}",
        ha="center",
        fontsize=9,
    )
axes[0, 1].set_xticks(range(len(ends)), [NAMES[name] for name in ends])
axes[0, 1].set(ylabel="active neurons at 1% (%)", title="Trained here on the same data")
axes[0, 1].set_ylim(0, 125 * max(said["ratio"] for said in ends.values()))
for name, law in laws.items():
    every = 100 * np.asarray([said["ratio"] for said in over[name]])
    axes[1, 0].plot(steps * BATCH * LENGTH / 1e3, every, "o", ms=4, color=COLOURS[name])
    fine = np.linspace(amounts[0], amounts[-1], 200)
    axes[1, 0].plot(fine / 1e3, 100 * law.at(fine), color=COLOURS[name], label=NAMES[name])
    axes[1, 1].plot(
        steps * BATCH * LENGTH / 1e3,
        100 * np.asarray(at_tail[name]),
        "o-",
        ms=4,
        color=COLOURS[name],
        label=NAMES[name],
    )
axes[1, 0].set(
    xlabel="tokens seen (thousands)",
    ylabel="active neurons at 1% (%)",
    ylim=(0, None),
    title="Over training, and the fitted laws",
)
axes[1, 1].set(
    xlabel="tokens seen (thousands)",
    ylabel="active neurons (%)",
    ylim=(0, None),
    title=f"Over training, at a tail error of {TAIL}",
)
for axis in axes[1]:
    axis.legend(frameon=False)
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/ppl_sparsity.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

measured = {
    **changes(amounts, ratios),
    "relu_ratio": ends["relu"]["ratio"],
    "silu_ratio": ends["silu"]["ratio"],
    "gelu_ratio": ends["gelu"]["ratio"],
    "relu2_ratio": ends["relu2"]["ratio"],
    "relu_r2": held_out(amounts, ratios["relu"], LAW["relu"]),
    "silu_r2": held_out(amounts, ratios["silu"], LAW["silu"]),
    "relu_change_at_tail": at_tail["relu"][-1] - at_tail["relu"][0],
    "silu_change_at_tail": at_tail["silu"][-1] - at_tail["silu"][0],
    "relu_perplexity": ends["relu"]["perplexity"],
    "silu_perplexity": ends["silu"]["perplexity"],
    "relu_perplexity_random": ends["relu"]["perplexity_random"],
    "largest_rise_elsewhere": max(said["rise_elsewhere"] for said in ends.values()),
    "ratio_untrained": max(said["ratio"] for said in before.values()),
}
for name, (found, rise) in real.items():
    key = name.split("-")[0].replace("gemma3", "gemma")
    measured |= {
        f"{key}_ratio": found[1].provenance["ratio"],
        f"{key}_ratio_5": found[5].provenance["ratio"],
        f"{key}_ratio_random": float(found[1].table["null_mean"].mean()),
        f"{key}_rise_elsewhere": rise,
    }
nissl.claim(
    "ppl_sparsity",
    system=50,
    says="The activation ratio (PPL-1%) of ReLU models falls with training data by a logspace "
    "power law.",
    measured=measured,
    null=null,
    rule="relu_change < -2 * null.relu_change",
    power=power,
    data=f"gated transformers of 4 x 96 trained here for {STEPS} steps "
    f"({STEPS * BATCH * LENGTH:,} tokens) on a Bible, {len(amounts)} checkpoints; smollm2 and "
    f"gemma3-270m on {TEXTS} texts of {TOKENS} tokens"
    "; changes are those of the fitted laws; their null is the deviation over shuffled "
    "checkpoints, that of r2 (of checkpoints that were not fitted) its mean over them",
)
