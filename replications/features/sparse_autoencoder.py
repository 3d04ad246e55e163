"""Sparse autoencoders (system 159): features easier to understand than units and components.

Of SmolLM2's middle block: features, single units, and the components of PCA and ICA. How alike are
the texts that each answers to most, by the embeddings of another network? Beside the rule, and from
fewer texts: the same of an early and of a late block.
"""

import numpy as np
import torch
from scipy.stats import mannwhitneyu

import nissl
from nissl.cache import cache_dir
from nissl.features import Schedule, factorise, sae

SITE, SEED, UNITS, TOP, WORDS, PARTS = "blocks.15.resid_post", 0, 60, 6, 12, 256
SAMPLES, FEW = 1_000_000, 200_000  # to learn from, in the middle and elsewhere
HOW = {"n_features": 2304, "k": 32, "seed": SEED, "progress": False}
ELSEWHERE = {"early": "blocks.3.resid_post", "late": "blocks.26.resid_post"}


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


def kept(net, texts, site, end):
    """Return the activity of texts, which is kept."""
    store = cache_dir("activity") / f"smollm2-{site}{end}"
    return nissl.record(net, texts, sites=site, window=256, store=store, progress=False)


def likeness_at(net, reader, acts, test, samples):
    """Return the likeness of the texts of features, units, components, and of any, for each."""
    x, later = torch.from_numpy(test.values), test["position"].values >= 4
    x, ids, documents = x[later], test["token"].values[later], test["document"].values[later]
    some = acts[np.random.default_rng(SEED).permutation(len(acts))[:20_000]]
    some, how = some[some["position"].values >= 4], {"n_features": PARTS, "seed": SEED}
    schedule = Schedule(samples=samples, batch_size=1024)
    dictionaries = {
        "features": sae(acts, schedule=schedule, **HOW),
        "PCA": factorise(some, method="pca", **how),
        "ICA": factorise(some, method="ica", **how),
    }
    values = {name: one.encode(x).detach().numpy() for name, one in dictionaries.items()}
    values["units"] = (x - x.mean(0)).numpy()
    drawn = np.random.default_rng(SEED).standard_normal((x.shape[1], PARTS))
    values["random"] = values["units"] @ drawn

    rng = np.random.default_rng(SEED)
    places = {name: peaks(v, documents, rng) for name, v in values.items()}
    places["chance"] = rng.integers(WORDS, len(ids), (UNITS, TOP))
    alike = {}
    for name, rows in places.items():
        pieces = net.tokenizer.batch_decode([ids[max(0, r - WORDS) : r + 1] for r in rows.ravel()])
        seen = nissl.record(reader, pieces, sites="blocks.5.resid_post", progress=False)
        alike[name] = likeness(nissl.recording.aggregate(seen, by="document", how="mean").values)
    return alike


if __name__ == "__main__":
    net, reader = (nissl.load(name, progress=False) for name in ("smollm2", "minilm"))
    texts = nissl.read("reader")["text"].str[:4000]
    learn, held_out = list(texts[::2]), list(texts[1::2].str[:600])
    both = kept(net, learn, SITE, ""), kept(net, held_out, SITE, "-held-out")
    alike, beside = likeness_at(net, reader, *both, SAMPLES), {}
    for name, site in ELSEWHERE.items():
        fewer = kept(net, learn[::10], site, "-tenth"), kept(net, held_out[::2], site, "-half")
        found = likeness_at(net, reader, *fewer, FEW)
        beside |= {f"{what}_{name}": values.mean() for what, values in found.items()}

    means = {name: v.mean() for name, v in alike.items()}
    best = max((n for n in alike if n not in ("features", "chance")), key=means.get)
    nissl.claim(
        "sparse_autoencoder",
        system=159,
        says="Features of a sparse autoencoder are more interpretable than neurons, PCA and ICA.",
        measured={
            "alikeness": means["features"],
            "p": mannwhitneyu(alike["features"], alike[best], alternative="greater").pvalue,
            **beside,
        },
        null={"best_other": means[best], **{n: means[n] for n in means if n != "features"}},
        rule="alikeness > null.best_other and p < 0.01 and alikeness > null.chance",
        data=f"smollm2, {SITE}: {UNITS} active features, units, components and random directions, "
        f"the {TOP} texts of {WORDS} tokens that each answers to most on held-out text: mean "
        "cosine of their MiniLM embeddings; p against the best of the others; early, late: "
        f"{', '.join(ELSEWHERE.values())}, of {len(fewer[0]):,} tokens",
    )
