"""RAVEL and MDAS (system 169): features of a country that hold one attribute and no other.

SmolLM2 is asked for the capital, the language and the continent of countries; what it answers
rightly is kept, and countries are split in halves. In the residual stream of the middle block, at
the country's last token, features that are to hold an attribute are exchanged between countries.
Answers about it should become the other country's (cause) and those about the two others stay
(isolation). Four kinds of features are chosen on the one half: a subspace by gradient descent
(MDAS), features of a sparse autoencoder of the most weight in a logistic probe of the answer, the
directions of such a probe of activity, and principal components; of the last three as many as score
best there. They are tested on the other half, beside all of the activity and a random subspace.
"""

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import nissl
from nissl.behaviour import halves, known
from nissl.cache import cache_dir
from nissl.features import Schedule, sae
from nissl.statistics.figure import bar, panels, save_figure
from nissl.testbeds import disentanglement, mdas

SITE, ASKED = "blocks.15.resid_post", ["capital", "language", "continent"]
SIZES, RANK, STEPS = (16, 64, 256), 16, 40
FEW, MANY, SEED = 16, 48, 0  # pairs to choose a size, and to test


def weights(x, answers):
    """Return a logistic probe's weights, of standardised units, and how these are scaled."""
    scaler = StandardScaler().fit(x)
    return LogisticRegression(max_iter=200).fit(scaler.transform(x), answers).coef_, scaler.scale_


def probe_directions(x, answers, n):
    """Return the directions that a probe of the answer reads most, shape (at most n, n_units)."""
    found, scale = weights(x, answers)
    size, rows = np.linalg.svd(found / scale, full_matrices=False)[1:]
    return torch.from_numpy(rows[size > 1e-6 * size[0]][:n]).float()


def important_features(features, answers, n):
    """Return the features of the largest weights in a probe of the answer."""
    return np.argsort(-np.linalg.norm(weights(features, answers)[0], axis=0), kind="stable")[:n]


def components(x, n):
    """Return principal components, shape (n, n_units)."""
    return torch.from_numpy(np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:n])


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    facts = nissl.read("relations")
    facts = known(net, facts[facts["relation"].isin(ASKED)], labels="relation", progress=False)
    learn, test = (
        half.rename(columns={"relation": "attribute", "subject": "entity"})
        for half in halves(facts, labels="relation", by="subject", seed=SEED)
    )
    texts = list(nissl.read("reader")["text"].str[:4000][::2])
    store = cache_dir("activity") / f"smollm2-{SITE}"
    acts = nissl.record(net, texts, sites=SITE, window=256, store=store, progress=False)
    how = Schedule(samples=1_000_000, batch_size=1024)
    dictionary = sae(acts, n_features=2304, k=32, schedule=how, progress=False)

    seen = net.run(list(learn["text"]), sites=SITE, padding="left")[SITE][:, -2].float()
    with torch.no_grad():
        x, features = seen.numpy(), dictionary.encode(seen).numpy()
    own = {name: (learn["attribute"] == name).to_numpy() for name in ASKED}
    answer = {name: learn["answer"][rows] for name, rows in own.items()}
    kinds = {
        "sae": lambda a, n: (dictionary, important_features(features[own[a]], answer[a], n)),
        "probe": lambda a, n: probe_directions(x[own[a]], answer[a], n),
        "pca": lambda a, n: components(x, n),
    }
    random = torch.randn(RANK, x.shape[1], generator=torch.Generator().manual_seed(SEED))
    chosen = {
        "mdas": {a: mdas(net, learn, a, site=SITE, rank=RANK, steps=STEPS) for a in ASKED},
        "everything": dict.fromkeys(ASKED, torch.eye(x.shape[1])),
        "random": dict.fromkeys(ASKED, random),
    }
    sizes = {}
    for kind, features_of in kinds.items():
        tried = [{a: features_of(a, n) for a in ASKED} for n in SIZES]
        scores = [disentanglement(net, learn, f, site=SITE, n_pairs=FEW) for f in tried]
        best = pd.concat([s.set_index("attribute")["score"] for s in scores], axis=1).to_numpy()
        sizes[kind] = best.argmax(1)
        chosen[kind] = {a: tried[i][a] for a, i in zip(ASKED, sizes[kind], strict=True)}
    found = {
        kind: disentanglement(net, test, f, site=SITE, n_pairs=MANY).set_index("attribute")
        for kind, f in chosen.items()
    }

    figure, axes = panels(2)
    for axis, column in zip(axes, ("cause", "isolation"), strict=True):
        drawn = pd.DataFrame({kind: table[column] for kind, table in found.items()})
        bar(drawn, axes=axis).set(ylabel=column)
    save_figure(figure, "out/features/ravel.png")
    score = {kind: table["score"].mean() for kind, table in found.items()}
    nissl.claim(
        "ravel",
        system=169,
        says="A subspace learned by multi-task alignment search disentangles attributes better "
        "than features of a sparse autoencoder, a probe and principal components.",
        measured={
            "mdas": score["mdas"],
            "mdas_by_attribute": found["mdas"]["score"].tolist(),
            **{f"{kind}_cause": table["cause"].mean() for kind, table in found.items()},
            **{f"{kind}_sizes": [SIZES[i] for i in index] for kind, index in sizes.items()},
        },
        null={kind: score[kind] for kind in ("sae", "probe", "pca", "random", "everything")},
        rule="mdas > null.sae + 0.05 and mdas > null.probe + 0.05 and mdas > null.pca + 0.05",
        data=f"smollm2, {SITE}; {', '.join(ASKED)} of countries, {len(learn)} facts to learn from, "
        f"{len(test)} of other countries to test, {MANY} pairs of each attribute; rank {RANK}",
    )
