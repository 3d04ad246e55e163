"""Sparse autoencoders (system 159): features easier to understand than units and components.

Of SmolLM2's middle block: features, single units, and the components of PCA and ICA. How alike are
the texts that each answers to most, by the embeddings of another network?
"""

import numpy as np
import torch
from scipy.stats import mannwhitneyu

import nissl
from nissl.cache import cache_dir
from nissl.features import Schedule, factorise, sae

SITE, SEED, UNITS, TOP, WORDS = "blocks.15.resid_post", 0, 60, 6, 12
HOW = {"schedule": Schedule(samples=1_000_000, batch_size=1024), "progress": False}


def peaks(values, document, rng):
    """Return for some units where each is largest, in texts of their own."""
    active = np.flatnonzero((values > 0).sum(0) >= TOP * 4)
    found = []
    for unit in rng.permutation(active):
        order, places, seen = np.argsort(-values[:, unit])[:200], [], set()
        for row in order:
            if values[row, unit] > 0 and document[row] not in seen:
                places.append(row)
                seen.add(document[row])
            if len(places) == TOP:
                found.append(places)
                break
        if len(found) == UNITS:
            break
    return np.array(found)


def likeness(embedded):
    """Return the mean cosine between the texts of each unit, given all their embeddings."""
    unit = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
    unit = unit.reshape(-1, TOP, embedded.shape[1])
    gram = np.einsum("uad,ubd->uab", unit, unit)
    return (gram.sum((1, 2)) - TOP) / (TOP * (TOP - 1))


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    texts = nissl.read("reader")["text"].str[:4000]
    learn, held_out = list(texts[::2]), list(texts[1::2].str[:600])
    store = cache_dir("activity") / f"smollm2-{SITE}"
    acts = nissl.record(net, learn, sites=SITE, window=256, store=store, progress=False)
    store = cache_dir("activity") / f"smollm2-{SITE}-held-out"
    test = nissl.record(net, held_out, sites=SITE, window=256, store=store, progress=False)
    x, later = torch.from_numpy(test.values), test["position"].values >= 4
    x, ids, documents = x[later], test["token"].values[later], test["document"].values[later]

    some = acts[np.random.default_rng(SEED).permutation(len(acts))[:20_000]]
    some = some[some["position"].values >= 4]
    dictionaries = {
        "features": sae(acts, n_features=2304, k=32, seed=SEED, **HOW),
        "PCA": factorise(some, method="pca", n_features=256, seed=SEED),
        "ICA": factorise(some, method="ica", n_features=256, seed=SEED),
    }
    values = {name: one.encode(x).detach().numpy() for name, one in dictionaries.items()}
    values["units"] = (x - x.mean(0)).numpy()
    values["random"] = values["units"] @ np.random.default_rng(SEED).standard_normal((576, 256))

    rng, reader = np.random.default_rng(SEED), nissl.load("minilm", progress=False)
    places = {name: peaks(v, documents, rng) for name, v in values.items()}
    places["chance"] = rng.integers(WORDS, len(ids), (UNITS, TOP))
    said = {
        name: net.tokenizer.batch_decode([ids[max(0, r - WORDS) : r + 1] for r in rows.ravel()])
        for name, rows in places.items()
    }
    alike = {}
    for name, pieces in said.items():
        seen = nissl.record(reader, pieces, sites="blocks.5.resid_post", progress=False)
        alike[name] = likeness(nissl.recording.aggregate(seen, by="document", how="mean").values)

    means = {name: v.mean() for name, v in alike.items()}
    best = max((n for n in alike if n not in ("features", "chance")), key=means.get)
    nissl.claim(
        "sparse_autoencoder",
        system=159,
        says="Features of a sparse autoencoder are more interpretable than neurons, PCA and ICA.",
        measured={
            "alikeness": means["features"],
            "p": mannwhitneyu(alike["features"], alike[best], alternative="greater").pvalue,
        },
        null={"best_other": means[best], **{n: means[n] for n in means if n != "features"}},
        rule="alikeness > null.best_other and p < 0.01 and alikeness > null.chance",
        data=f"smollm2, {SITE}: {UNITS} active features, units, components and random directions, "
        f"the {TOP} texts of {WORDS} tokens that each answers to most on held-out text: mean "
        "cosine of their MiniLM embeddings; p against the best of the others",
    )
