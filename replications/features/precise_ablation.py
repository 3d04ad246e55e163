"""Sparse autoencoders (system 159): ablating features edits a behaviour more precisely.

SmolLM2 makes verbs agree with subjects. On half of the prompts the features of its middle block
that do most for it are found (attribution); on the other half as few of them are ablated as take
half of the behaviour away. How far are then predictions of other text from what they were (KL
divergence)? The same is done with the components of PCA and with single units.
"""

import numpy as np
import torch

import nissl
from nissl.behaviour import agreement, quality
from nissl.cache import cache_dir
from nissl.circuits import effects
from nissl.features import Schedule, factorise, sae
from nissl.network import LinearDictionary
from nissl.statistics.figure import panels, save_figure

SITE, SEED, PAIRS, TEXTS, SIZES = "blocks.15.resid_post", 0, 48, 12, (1, 2, 4, 8, 16, 32, 64, 128)
HOW = {"schedule": Schedule(samples=1_000_000, batch_size=1024), "progress": False}


def ranked(behaviour, over):
    """Return the features of a site, those first that by attribution do most for a behaviour."""
    how = {"method": "attribution", "patching": "zero", "positions": "all", "test": None}
    scores = effects(behaviour, over=over, progress=False, **how).table
    return scores.sort_values("indirect_effect", ascending=False)["unit"].tolist()


def harm(seen, order, pairs, plain):
    """Return what ablating more and more features takes of a behaviour, and KL on other text."""
    edits, left = {str(n): nissl.ablate(order[:n]) for n in SIZES}, []
    for edit in edits.values():
        with seen.edit(edit):
            left.append(float(pairs.clean().mean() / pairs.clean_value.mean()))
    kl = quality(seen, plain, edits=edits, progress=False)["kl"].to_numpy()[1:]
    return np.maximum.accumulate(1 - np.array(left)), kl


def at_half(gone, kl):
    """Return the KL where half of the behaviour is gone, infinite where it never is."""
    return float(np.interp(0.5, gone, kl)) if gone[-1] >= 0.5 else np.inf


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    texts = nissl.read("reader")["text"].str[:4000]
    learn, held_out = list(texts[::2]), list(texts[1::2].str[:600])
    store = cache_dir("activity") / f"smollm2-{SITE}"
    acts = nissl.record(net, learn, sites=SITE, window=256, store=store, progress=False)
    some = acts[np.random.default_rng(SEED).permutation(len(acts))[:20_000]]
    some = some[some["position"].values >= 4]
    mean, eye = torch.from_numpy(some.values.mean(0)), torch.eye(some.shape[1])
    spaces = {
        "features": sae(acts, n_features=2304, k=32, seed=SEED, **HOW),
        "PCA": factorise(some, method="pca", n_features=some.shape[1] - 1, seed=SEED),
        "units": LinearDictionary(SITE, eye, 0 * mean, eye, mean, activation=lambda x: x),
    }
    plain = [ids[:100] for ids in net.tokenizer(held_out[:: 200 // TEXTS][:TEXTS])["input_ids"]]
    figure, (axes,) = panels(1)
    found = {}
    for name, dictionary in spaces.items():
        seen = net.with_dictionary(dictionary, name=name)
        first, second = agreement(seen, n=PAIRS, seed=SEED, progress=False).halves
        order = ranked(first, f"{SITE}.{name}")
        gone, kl = harm(seen, order, second.behaviour(), plain)
        found[name] = at_half(gone, kl)
        axes.plot(gone, kl, marker="o", label=name)
    axes.set(xlabel="behaviour taken away", ylabel="KL on other text", xlim=(0, 1.2), yscale="log")
    axes.legend()
    save_figure(figure, "out/features/precise_ablation.png")

    nissl.claim(
        "precise_ablation",
        system=159,
        says="Ablating features of a sparse autoencoder takes a behaviour away with less harm to "
        "other predictions than components of PCA or units.",
        measured={"kl": min(found["features"], 99.0)},
        null={"PCA": min(found["PCA"], 99.0), "units": min(found["units"], 99.0)},
        rule="kl < 99 and kl < 0.8 * null.PCA and kl < 0.8 * null.units",
        data=f"smollm2, {SITE}: KL (nats a token, on {len(plain)} texts) where ablation leaves "
        f"half of the logit difference of {PAIRS // 2} held-out pairs of agreement; 99 where it "
        "never does",
    )
