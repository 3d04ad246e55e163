"""Gradient SAE (system 111): features chosen by what the loss depends on, against plain TopK.

Both are trained on the middle block of SmolLM2 with equal k, twice each, and spliced in on other
texts. The gradient of the loss sees the next token. So what is compared is the loss when features
are chosen without gradients; the loss when they are chosen with them is reported.
"""

import numpy as np
import torch

import nissl
from nissl.behaviour import loss_gradients, losses
from nissl.cache import cache_dir
from nissl.features import Schedule, gradient_sae, sae, worth
from nissl.recording import open_store, save

SITE, SEEDS, DOCUMENTS, HELD_OUT, WINDOW = "blocks.15.resid_post", (0, 1), 60, 24, 256
HOW = {
    "n_features": 2304,
    "k": 32,
    "schedule": Schedule(samples=300_000, batch_size=1024),
    "progress": False,
}
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


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    texts = nissl.read("reader")["text"].str[:4000]
    learn = list(texts[::2])[:: 200 // DOCUMENTS][:DOCUMENTS]
    held_out = list(texts[1::2].str[:600])[:: 200 // HELD_OUT][:HELD_OUT]
    held_out = [ids[:120] for ids in net.tokenizer(held_out)["input_ids"]]
    acts = nissl.record(net, learn, sites=SITE, **READ)
    store = cache_dir("activity") / f"smollm2-gradients-{SITE}-{DOCUMENTS}"
    if not store.exists():
        save(loss_gradients(net, learn, site=SITE, **READ), store)
    slopes = open_store(store)

    made = {}
    for seed in SEEDS:
        made[f"plain {seed}"] = sae(acts, seed=seed, **HOW)
        made[f"gradient {seed}"] = gradient_sae(acts, slopes, seed=seed, **HOW)
    table = worth(made, net, held_out, **READ).set_index("dictionary")["recovered"]
    plain, gradient = (
        np.array([table[f"{name} {s}"] for s in SEEDS]) for name in ("plain", "gradient")
    )
    leaky = with_gradients(net, made["gradient 0"], held_out)

    nissl.claim(
        "gradient_sae",
        system=111,
        says="Features chosen by activation times gradient leave a lower loss than plain TopK at "
        "equal k when they are spliced in.",
        measured={"recovered": gradient.mean(), "loss_chosen_by_gradients": leaky},
        null={
            "plain": plain.mean(),
            "seeds": max(np.ptp(plain), np.ptp(gradient)),
            "random": table["random"],
        },
        rule="recovered > null.plain + null.seeds and recovered > null.random",
        data=f"smollm2, {SITE}: {HOW['n_features']} features, k={HOW['k']}, {len(acts)} tokens; "
        f"share of the loss recovered on {len(held_out)} other texts, features chosen without "
        "gradients; two seeds, whose spread is the least difference",
    )
