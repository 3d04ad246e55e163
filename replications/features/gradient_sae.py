"""Gradient SAE (system 111): features chosen by what the loss depends on, against plain TopK.

Both are trained on the middle block of SmolLM2 with equal k, twice each, and spliced in on other
texts. The gradient of the loss sees the next token. So what is compared is the loss when features
are chosen without gradients; the loss when they are chosen with them is reported. Beside the rule,
of fewer texts and once each: the same of an early and of a late block.
"""

import numpy as np
import torch

import nissl
from nissl.behaviour import loss_gradients, losses
from nissl.cache import cache_dir
from nissl.features import Schedule, gradient_sae, sae, worth
from nissl.recording import open_store, save

SITE, SEEDS, DOCUMENTS, HELD_OUT, WINDOW = "blocks.15.resid_post", (0, 1), 60, 24, 256
SAMPLES, BATCH, FEW, FEW_DOCUMENTS, FEW_HELD_OUT = 300_000, 1024, 100_000, 12, 12
ELSEWHERE = {"early": "blocks.3.resid_post", "late": "blocks.26.resid_post"}
HOW = {"n_features": 2304, "k": 32, "progress": False}
READ = {"window": WINDOW, "progress": False}


class Chosen:
    """An edit that splices in features that are chosen by gradients, known before."""

    reads = ()

    def __init__(self, dictionary, gradients):
        self.dictionary, self.gradients = dictionary, gradients
        self.writes = (dictionary.site_out,)

    def begin(self, batch):
        """Begin a text."""

    def apply(self, site, x, positions, phase):
        """Return what is rebuilt."""
        d = self.dictionary
        codes = d.kind.encode(d, d.scaled(x.flatten(0, 1)), self.gradients)
        return d.decode(codes.dense()).reshape(x.shape).to(x)


def with_gradients(net, dictionary, texts):
    """Return the mean loss with features chosen by the gradients of the very texts."""
    found = []
    for text in texts:
        slopes = loss_gradients(net, [text], site=dictionary.site_out, **READ).values
        with net.edit(Chosen(dictionary, torch.from_numpy(slopes))):
            found.append(losses(net, [text], batch_size=1, **READ)[0])
    return float(np.mean(found))


def compared(net, site, learn, held_out, seeds, samples):
    """Return what dictionaries recover on other texts, one of them, and the number of tokens."""
    acts = nissl.record(net, learn, sites=site, **READ)
    store = cache_dir("activity") / f"smollm2-gradients-{site}-{len(learn)}"
    if not store.exists():
        save(loss_gradients(net, learn, site=site, **READ), store)
    slopes, how = open_store(store), {**HOW, "schedule": Schedule(samples, batch_size=BATCH)}
    made = {}
    for seed in seeds:
        made[f"plain {seed}"] = sae(acts, seed=seed, **how)
        made[f"gradient {seed}"] = gradient_sae(acts, slopes, seed=seed, **how)
    table = worth(made, net, held_out, **READ).set_index("dictionary")["recovered"]
    return table, made["gradient 0"], len(acts)


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    texts = nissl.read("reader")["text"].str[:4000]
    learn = list(texts[::2])[:: 200 // DOCUMENTS][:DOCUMENTS]
    held_out = list(texts[1::2].str[:600])[:: 200 // HELD_OUT][:HELD_OUT]
    held_out = [ids[:120] for ids in net.tokenizer(held_out)["input_ids"]]
    table, chosen, n_tokens = compared(net, SITE, learn, held_out, SEEDS, SAMPLES)
    plain, gradient = (
        np.array([table[f"{name} {s}"] for s in SEEDS]) for name in ("plain", "gradient")
    )
    leaky, beside = with_gradients(net, chosen, held_out), {}
    for name, site in ELSEWHERE.items():
        few = learn[:FEW_DOCUMENTS], held_out[:FEW_HELD_OUT]
        found = compared(net, site, *few, (0,), FEW)[0]
        beside[f"recovered_{name}"], beside[f"plain_{name}"] = found["gradient 0"], found["plain 0"]

    nissl.claim(
        "gradient_sae",
        system=111,
        says="Features chosen by activation times gradient leave a lower loss than plain TopK at "
        "equal k when they are spliced in.",
        measured={"recovered": gradient.mean(), "loss_chosen_by_gradients": leaky, **beside},
        null={
            "plain": plain.mean(),
            "seeds": max(np.ptp(plain), np.ptp(gradient)),
            "random": table["random"],
        },
        rule="recovered > null.plain + null.seeds and recovered > null.random",
        data=f"smollm2, {SITE}: {HOW['n_features']} features, k={HOW['k']}, {n_tokens} tokens; "
        f"share of the loss recovered on {len(held_out)} other texts, features chosen without "
        "gradients; two seeds, whose spread is the least difference; early and late: "
        f"{', '.join(ELSEWHERE.values())}, of {FEW_DOCUMENTS} texts, on {FEW_HELD_OUT}, one seed",
    )
