"""Attention-output SAE (system 83): features of head outputs, and how many roles a head has.

A dictionary is learned of what all heads of SmolLM2's middle block give out, side by side. Each
feature's norm is divided among the heads. As in the paper, the ten features of the largest share
are looked at for each head: is it polysemantic, that is, are most of the ten its own (a share above
a half) and most pairs of them unrelated? The paper's authors judged that by eye; here two features
are related where the tokens at which they are active are alike (the cosine of their mean
embeddings, on half of the documents, is above that of 95% of all pairs). For the null the units of
each direction are shuffled. For power, each direction is its largest head's alone. That a head of
one role would be seen is asked of sets of ten features that are alike on the other half.
"""

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix, vstack

import nissl
from nissl.cache import cache_dir
from nissl.features import Schedule, head_shares, sae
from nissl.network import LinearDictionary
from nissl.statistics.figure import bar, curve, panels, save_figure

SITE, TOP, OWN, RARE, SEED = "blocks.15.attn.z", 10, 0.5, 20, 0


def shares_of(rows, net):
    """Return the share of each head in each direction, shape (n_features, n_heads)."""
    n, width = rows.shape
    enc, none = torch.zeros_like(rows), torch.zeros(n)
    found = head_shares(LinearDictionary(SITE, enc.T, none, rows, torch.zeros(width)), net)
    return found.pivot(index="feature", columns="head", values="share").to_numpy()


def profiles(features, tokens, embedding):
    """Return the mean embedding of the tokens at which each feature is active, and how many."""
    mean = features.T @ embedding[tokens] / np.maximum(features.sum(0), 1e-9).reshape(-1, 1)
    mean = np.asarray(mean - mean.mean(0))
    norm = np.linalg.norm(mean, axis=1, keepdims=True)
    return mean / np.maximum(norm, 1e-9), np.asarray((features > 0).sum(0)).ravel()


def related_pairs(groups, profile, limit):
    """Return which share of the pairs of each group of features are related."""
    one, other = np.triu_indices(TOP, 1)
    cosine = [profile[g] @ profile[g].T for g in groups]
    return np.array([(x[one, other] > limit).mean() for x in cosine])


def polysemantic(shares, profile, limit):
    """Return for each head whether most of its top features are its own and unrelated."""
    groups = np.argsort(-shares, axis=0, kind="stable")[:TOP].T
    own = np.array([(shares[g, h] > OWN).mean() for h, g in enumerate(groups)])
    related = related_pairs(groups, profile, limit)
    return (own >= 0.5) & (related < 0.5), related


def limit_of(profile):
    """Return above which cosine 5% of all pairs are."""
    return np.quantile((profile @ profile.T)[np.triu_indices(len(profile), 1)], 0.95)


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    learn = list(nissl.read("reader")["text"].str[:4000][::2])
    store = cache_dir("activity") / f"smollm2-{SITE}"
    acts = nissl.record(net, learn, sites=SITE, window=256, store=store, progress=False)
    how = Schedule(samples=1_000_000, batch_size=1024)
    found = sae(acts, n_features=2304, k=32, schedule=how, seed=SEED, progress=False)
    embedding = net.model.get_input_embeddings().weight.detach().float().numpy()
    tokens, half = acts["token"].values, acts["document"].values % 2
    with torch.no_grad():
        parts = np.array_split(acts.values, 50)
        features = vstack([csr_matrix(found.encode(torch.from_numpy(x)).numpy()) for x in parts])
    (other, n_other), (profile, n) = (
        profiles(features[half == i], tokens[half == i], embedding) for i in (0, 1)
    )
    kept = (n >= RARE) & (n_other >= RARE)
    other, profile, rows = other[kept], profile[kept], found.directions[torch.from_numpy(kept)]
    limit, rng = limit_of(profile), np.random.default_rng(SEED)
    shuffled = torch.from_numpy(rng.permuted(rows.numpy(), axis=1))
    shares, null = shares_of(rows, net), shares_of(shuffled, net)
    alone = (shares == shares.max(1, keepdims=True)).astype(float)
    poly, related = polysemantic(shares, profile, limit)
    first = rng.choice(len(profile), 100, replace=False)
    alike = np.argsort(-(other[first] @ other.T), axis=1)[:, :TOP]  # each is nearest to itself

    figure, axes = panels(2)
    ranked = {"features": np.sort(shares.max(1)), "shuffled": np.sort(null.max(1))}
    curve(pd.DataFrame(ranked)[::-1].reset_index(drop=True), axes=axes[0]).set(
        xlabel="feature", ylabel="largest share"
    )
    bar({str(head): x for head, x in enumerate(related)}, null=np.full(9, 0.05), axes=axes[1])
    axes[1].set(xlabel="head", ylabel="related pairs of its ten features")
    save_figure(figure, "out/features/attention_output_sae.png")
    nissl.claim(
        "attention_output_sae",
        system=83,
        says="Features are heads' own, and at least 90% of heads have unrelated ones.",
        measured={
            "polysemantic": poly.mean(),
            "largest_share": shares.max(1).mean(),
            "own_features": (shares > OWN).sum(0).tolist(),
            "related_pairs": related.mean(),
            "heads_unrelated": (related < 0.5).mean(),
            "one_role_seen": (related_pairs(alike, profile, limit) >= 0.5).mean(),
        },
        null={
            "polysemantic": polysemantic(null, profile, limit)[0].mean(),
            "largest_share": null.max(1).mean(),
            "related_pairs": 0.05,
        },
        rule="polysemantic > 0.8 and polysemantic > null.polysemantic + 0.5",
        power={"polysemantic": polysemantic(alone, profile, limit)[0].mean()},
        data=f"smollm2, {SITE}: {len(rows)} of 2,304 features, active in {RARE} tokens or more of "
        f"either half of {len(acts):,}; polysemantic: of nine heads, those of whose {TOP} features "
        f"of the largest share half are its own (above {OWN}) and under half of the pairs related; "
        "the null: units of each direction shuffled; one_role_seen: of 100 sets of ten features "
        "that are alike on other documents, those called one role",
    )
