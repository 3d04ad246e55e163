"""PPL-p% sparsity (system 50): how few neurons a language model needs, and how training changes it.

SmolLM2 and Gemma read the beginnings of texts, and lose what contributes least until perplexity has
risen by 1%; thresholds are found on one half of the texts and tried on the other. Then two small
models that differ in their nonlinearity alone learn here from the same translation of the Bible.
The activation ratio of their checkpoints is fitted by the paper's laws.
"""

import numpy as np
import pandas as pd

import nissl
from nissl import training
from nissl.behaviour import beginnings, losses
from nissl.selectivity import SparsingLaw, ppl_sparsity, sparsing_law, thresholded
from nissl.statistics.figure import curve, panels, save_figure

SEED, TEXTS, LETTERS, TOKENS = 0, 16, 480, 48  # of a text the first tokens are read
VOCABULARY, LENGTH, BATCH, STEPS, WARMUP = 1024, 64, 16, 900, 50
WINDOWS = 64  # held out, on which small models are measured
LAW = {"relu": "logspace", "silu": "power"}
AT = np.arange(100, STEPS + 1, 100)  # the paper's laws are of what comes after the warm-up
SEEN = AT * float(BATCH * LENGTH)
ORDERS, PLANTED = 20, 0.2  # shuffles of checkpoints; by what share the planted ratio changes
SHAPES = {"relu": (0.0, 1.0, 0.5, 2.0), "silu": (1.0, -1.0, 0.5, 0.0)}  # planted


def real_model(name, texts):
    """Return ratios of layers, and the rise of perplexity on texts that are not theirs."""
    net = nissl.load(name, dtype="bfloat16")
    texts = beginnings(net, texts, TOKENS)
    found = ppl_sparsity(net, texts[::2], p=1, n_tokens=128, progress=False)
    dense = losses(net, texts[1::2], progress=False).mean()
    with net.edit(thresholded(net, found)):
        rise = 100 * np.expm1(losses(net, texts[1::2], progress=False).mean() - dense)
    return found, float(rise)


def trained_here():
    """Train small models on the same data, a minute or two each the first time."""
    texts = list(nissl.read("bible")["text"])
    tokenizer = training.small_tokenizer(texts, vocabulary=VOCABULARY)
    parts = [t for i, t in enumerate(texts) if i % 20], texts[::20]
    seen, apart = (training.token_windows(part, tokenizer, length=LENGTH) for part in parts)
    chosen = np.random.default_rng(SEED).choice(len(apart), 3 * WINDOWS // 2, replace=False)
    size = {"vocabulary": VOCABULARY, "d_model": 96, "n_layers": 4, "n_heads": 4, "context": LENGTH}
    options = {"learning_rate": 2e-3, "weight_decay": 0.1, "schedule": "constant", "warmup": WARMUP}
    options |= {"steps": STEPS, "checkpoints": [0, *range(50, STEPS + 1, 50)]}
    models, loss = {}, training.next_token_loss
    for activation in LAW:
        model = training.small_language_model("llama", activation=activation, **size)
        batches = training.Batches(seen, batch_size=BATCH)
        models[activation] = training.train(model, batches, loss=loss, **options)
    return models, [row.numpy() for row in apart[chosen[:WINDOWS]]]


def ratio_at(model, windows):
    """Return the activation ratio (PPL-1%) of a small model."""
    net, size = nissl.load(model, progress=False), WINDOWS // 2
    return ppl_sparsity(net, windows, progress=False, batch_size=size).provenance["ratio"]


def planted(ratios, laws, rng):
    """Return ratios that follow the paper's laws, as noisy as those that were measured."""
    made = {}
    for name, own in ratios.items():
        line = SparsingLaw(LAW[name], *SHAPES[name], SEEN[-1], 1.0).at(SEEN)
        noise = np.std(own - laws[name].at(SEEN)) * rng.standard_normal(len(own))
        made[name] = own[-1] * (1 + PLANTED * ((line - line[-1]) / np.ptp(line))) + noise
    return made


def changes(ratios):
    """Return by how much the fitted laws change from the first checkpoint to the last."""
    ends = {n: sparsing_law(SEEN, r, kind=LAW[n]).at(SEEN[[0, -1]]) for n, r in ratios.items()}
    return {f"{name}_change": float(last - first) for name, (first, last) in ends.items()}


def spread(ratios, rng):
    """Return the same where there is no trend: the deviation over orders of the checkpoints."""
    orders = [{n: rng.permutation(r) for n, r in ratios.items()} for _ in range(ORDERS)]
    return pd.DataFrame([changes(order) for order in orders]).std(ddof=0).to_dict()


prose = nissl.read("reader").query("language == 'english' and kind == 'prose'")["text"]
texts = [text[:LETTERS] for text in prose.iloc[:: len(prose) // TEXTS]][:TEXTS]
real = {name: real_model(name, texts) for name in ("smollm2", "gemma3-270m")}
models, windows = trained_here()
ratios = {n: np.array([ratio_at(models[n].at(int(s)), windows) for s in AT]) for n in LAW}
laws = {name: sparsing_law(SEEN, ratios[name], kind=kind) for name, kind in LAW.items()}
rng = np.random.default_rng(SEED)
null = spread(ratios, rng)
made = planted(ratios, laws, rng)
power = changes(made) | {f"null.{name}": value for name, value in spread(made, rng).items()}

figure, axes = panels(2)
curve({name: found.table["ratio"] for name, (found, _) in real.items()}, axes=axes[0])
axes[0].set(xlabel="layer", ylabel="active neurons at PPL-1%", title="Real models")
over = pd.DataFrame(ratios, index=pd.Index(SEEN, name="tokens seen"))
curve(over.assign(**{f"{n}, law": law.at(SEEN) for n, law in laws.items()}), axes=axes[1])
axes[1].set(ylabel="active neurons at PPL-1%", title="Over training, and the fitted laws")
save_figure(figure, "out/selectivity/ppl_sparsity.png")

measured = changes(ratios) | {f"{name}_ratio": float(ratios[name][-1]) for name in LAW}
for name, (found, rise) in real.items():
    key = name.removesuffix("3-270m")
    measured |= {f"{key}_ratio": found.provenance["ratio"], f"{key}_rise_elsewhere": rise}
nissl.claim(
    "ppl_sparsity",
    system=50,
    says="The activation ratio (PPL-1%) of ReLU models falls with training data by a logspace "
    "power law.",
    measured=measured,
    null=null,
    rule="relu_change < -2 * null.relu_change",
    power=power,
    data=f"gated transformers of 4 x 96 trained for {STEPS} steps ({int(SEEN[-1]):,} tokens) on "
    f"a Bible, {len(AT)} checkpoints; smollm2 and gemma3-270m on {TEXTS} texts of {TOKENS} tokens"
    "; changes are those of the fitted laws; their null is the deviation over shuffled checkpoints",
)
