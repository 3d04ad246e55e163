"""Attention-output SAE (system 83): features of head outputs, and how many roles a head has.

A dictionary is learned of what all heads of SmolLM2's middle block give out, side by side. Each
feature's norm is divided among the heads. As in the paper, the ten features of the largest share
are looked at for each head: is it polysemantic, that is, are most of the ten its own (a share above
a half) and most pairs of them unrelated? The paper's authors judged that by eye; here two features
are related where the tokens at which they are active are alike (the cosine of their mean
embeddings, on half of the documents, is above that of 95% of all pairs). For the null the units of
each direction are shuffled. For power, each direction is its largest head's alone. That a head of
one role would be seen is asked of sets of ten features that are alike on the other half. An early
and a late block, from a fifth of the texts, are beside the rule.
"""

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix, vstack

import nissl
from nissl.cache import cache_dir
from nissl.features import Schedule, head_shares, sae
from nissl.network import LinearDictionary
from nissl.statistics.figure import curve, save_figure

SITE, TOP, OWN, RARE, SEED, SAMPLES, FEW = "blocks.15.attn.z", 10, 0.5, 20, 0, 1_000_000, 300_000
ELSEWHERE, SIZE = {"early": "blocks.3.attn.z", "late": "blocks.26.attn.z"}, 2304


def shares_of(rows, net, site=SITE):
    """Return the share of each head in each direction, shape (n_features, n_heads)."""
    n, width = rows.shape
    enc, none = torch.zeros_like(rows), torch.zeros(n)
    found = head_shares(LinearDictionary(site, enc.T, none, rows, torch.zeros(width)), net)
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


def learned(net, texts, site, end, samples):
    """Return the shares of heads, of shuffled directions too, and profiles on either half."""
    store = cache_dir("activity") / f"smollm2-{site}{end}"
    acts = nissl.record(net, texts, sites=site, window=256, store=store, progress=False)
    how = Schedule(samples=samples, batch_size=1024)
    found = sae(acts, n_features=SIZE, k=32, schedule=how, seed=SEED, progress=False)
    embedding = net.model.get_input_embeddings().weight.detach().float().numpy()
    tokens, half = acts["token"].values, acts["document"].values % 2
    with torch.no_grad():
        parts = (found.encode(torch.from_numpy(x)) for x in np.array_split(acts.values, 50))
        features = vstack([csr_matrix(x.numpy()) for x in parts])
    both = [profiles(features[half == i], tokens[half == i], embedding) for i in (0, 1)]
    kept = (both[0][1] >= RARE) & (both[1][1] >= RARE)
    rng, rows = np.random.default_rng(SEED), found.directions[torch.from_numpy(kept)]
    shuffled = torch.from_numpy(rng.permuted(rows.numpy(), axis=1))
    shares, null = (shares_of(x, net, site) for x in (rows, shuffled))
    return shares, null, both[1][0][kept], both[0][0][kept], rng, len(acts)


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    learn, beside = list(nissl.read("reader")["text"].str[:4000][::2]), {}
    shares, null, profile, other, rng, n_tokens = learned(net, learn, SITE, "", SAMPLES)
    for name, site in ELSEWHERE.items():
        own, mixed, seen, *_, few = learned(net, learn[::5], site, "-fifth", FEW)
        beside[f"polysemantic_{name}"] = polysemantic(own, seen, limit_of(seen))[0].mean()
        beside |= {f"share_{name}": own.max(1).mean(), f"shuffled_{name}": mixed.max(1).mean()}
    limit, alone = limit_of(profile), (shares == shares.max(1, keepdims=True)).astype(float)
    poly, related = polysemantic(shares, profile, limit)
    first = rng.choice(len(profile), 100, replace=False)
    alike = np.argsort(-(other[first] @ other.T), axis=1)[:, :TOP]  # each is nearest to itself
    ranked = {"largest share": np.sort(shares.max(1))[::-1], "shuffled": np.sort(null.max(1))[::-1]}
    save_figure(curve(pd.DataFrame(ranked)).figure, "out/features/attention_output_sae.png")
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
            **beside,
        },
        null={"polysemantic": polysemantic(null, profile, limit)[0].mean()}
        | {"largest_share": null.max(1).mean(), "related_pairs": 0.05},
        rule="polysemantic > 0.8 and polysemantic > null.polysemantic + 0.5",
        power={"polysemantic": polysemantic(alone, profile, limit)[0].mean()},
        data=f"smollm2, {SITE}: {len(profile)} of 2,304 features, active in {RARE} tokens or more "
        f"of either half of {n_tokens:,}; polysemantic: of nine heads, those of whose {TOP} first "
        f"features half are its own (above {OWN}) and under half of the pairs related; null: units "
        "of each direction shuffled; one_role_seen: of 100 sets of ten features alike on other "
        f"documents, those called one role; early, late: of {few:,} tokens",
    )
