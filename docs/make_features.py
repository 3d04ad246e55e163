"""Make docs/features.md: what a dictionary is, and its kinds put to the test: see the page."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA, FastICA

import nissl
from nissl.cache import cache_dir
from nissl.cli.printing import markdown
from nissl.features import Schedule, sae, worth
from nissl.features.kinds.kind import KINDS, kind_of
from nissl.specimens.planted import PlantedFeatures, planted_features
from nissl.specimens.planted.features import FEATURES
from nissl.statistics import ReinitialisedNetwork
from nissl.testbeds import recovery

HEAD = """# Features

A unit of a network often answers to several things, and one thing is often spread over many units.
A **dictionary** writes the activity of a site as a sum of a few of many directions, its features,
and is learned from activity alone. It is itself a site: features are recorded, ablated, steered,
traced and drawn as neurons are, and what it does not explain stays in the activity.

<!-- not run: minutes; the gallery's page on a dictionary runs these calls -->
```python
nissl.record(net, texts, sites="blocks.15.resid_post", store="acts.zarr")
sae = nissl.features.sae("acts.zarr", n_features=4608, k=32)  # or any Recording: voxels, cells
seen = net.with_dictionary(sae)  # with blocks.15.resid_post.sae[0], ... as units
sae.save("sae.safetensors")
sae = nissl.features.load("sae.safetensors")  # or of SAELens, dictionary_learning, sparsify
nissl.features.worth({"topk": sae}, net, held_out)  # beside random weights, PCA, neurons
```

`nissl.record(seen, texts, sites="blocks.15.resid_post.sae")` records features, and
`seen.edit(nissl.ablate("blocks.15.resid_post.sae[77]"))` ablates one. A `transcoder` reads one site
and writes another. A new kind is a file of `nissl.features.kinds` with one class.

**Which kind?** `batch_topk`, with a `k` near the number of features that a sample has: it detects
best, or as well as the best, in all that is planted below. `topk` costs half and finds directions
as near, but for those of parents and children; and it takes k features of every sample, however
many there are. A `k` twice too large costs every kind some F1, `topk` least. `matryoshka` is no
better here, also for parents and children; `jump_relu`, `gated` and `relu` are worse, in trainings
as short as these. Groups that are mostly active together are mixed by every kind: of their
directions no more than a tenth is recovered. These are 64 units and features of like sizes.

In SmolLM2 take `topk`, and train it long. At equal length it recovers more of the loss than
`jump_relu`, `gated` and `relu`; from `batch_topk` and `matryoshka` it differs by no more than its
own seeds do (0.04), in a third of their time. In 300,000 samples it recovers no more than the 32
units that are farthest from their means in each token do; in a million, which take a minute, it
does: 0.93 against 0.85, and 0.81 of 32 principal components. The other kinds were not trained so
long there.

## What else there is

| to | use |
|---|---|
| learn several sizes, k and kinds in one pass | `sweep` |
| learn what an MLP computes | `transcoder` |
| choose features by the gradient of the loss | `gradient_sae` |
| factor activity | `factorise`: PCA, ICA, NMF, SNMF, k-means, differences of means |
| read features from weights | `bilinear_tensor`, `eigenfeatures` of bilinear MLPs |
| align layers with the Jacobian between them | `local_interaction_basis` |
| see where a logit or a feature came from | `contributions`, `trace`; of weights, `reads` |
| judge | `worth`, `sparse_probing`, `absorption`, `recovery` of planted truth |
| change one attribute and no other | `disentanglement`, `mdas` |
| say which heads features are of | `head_shares` |
| find features along what a neuron writes, or neurons along a feature | `nearest_directions` |
| say which heads a behaviour needs | `head_codes` |
| count features | `effective_features` |

**Contributions.** With attention patterns and what norms divide by held, the stream is a sum, and
what each feature adds to a logit is its activation times a weight: all add up to the logit. What
the dictionaries do not explain is a row like another; look at it first.

**Heads.** In SmolLM2's block 15 features of `attn.z` are spread over heads: the largest share is
0.21 on average (0.13 where units are shuffled). `head_codes` finds an induction head written by
hand, and three of the ten heads that relevance patching finds for indirect objects: use it to
look, not to conclude.

**Bilinear layers.** An MLP of two readings that are multiplied is exactly one tensor. On MNIST ten
of 784 eigenvectors of each digit answer as all do; in a small language model most are needed.

**Local interactions.** In networks that learned modular addition the local interaction basis needs
a quarter to two fifths of the edges of PCA, and four fifths before training. Linear parts are
always diagonal in it, whatever was learned: compare with an untrained network.

Which of the papers' claims hold here is in [Claims](claims.md). Two pages of the gallery show a
dictionary from training to ablation, and a prediction traced through transcoders.

This page is made by `python docs/make_features.py`.
"""
F1 = """
## Kinds on features that are known

Activity of 64 units is made from 128 directions, of which about three are active in a sample
(`nissl.specimens.load("planted-zipf")` and so on): rates by Zipf's law; children that are active
only with their parent; groups of four that are active together; 256 directions of one rate; and
noise of the covariance of the first, which holds none. Dictionaries of 256 features are trained on
half of 50,000 samples, 500 updates of 512, and scored on the other (`nissl.testbeds.recovery`).

The F1 of detection: is the feature that is matched to a true one active when that is? Mean over the
true features; mean and standard deviation over three seeds of data and training. The first setting
of each kind is to make about as many features active as are planted, the second twice as many; how
many it was is in the second table. Seconds are of training, on one core. Directions, below the
kinds, are active above a threshold that is chosen for each by the truth in the first half, which no
dictionary is told: chance is the row of random directions, of which there are 256, and what is
found in noise is chance too. ICA, PCA and units are 64, so that half of the features or more have
no match. The penalties were chosen by how many features they make active in "zipf" and
"superposition", the learning rate of 0.01 by F1 in "zipf" of a seed that is not used here, where it
was better than 0.003 for all kinds but `relu`, which was not tried.

"""
RECOVERED = """

The share of true features whose match has a cosine of at least 0.9 to them, and how many features
are active in a sample, from the variant where they are fewest to that where they are most.

"""
RATES = """

The F1 in "zipf", for the third of the features that are least frequent, the middle third and the
most frequent third.

"""
REAL = """

## Kinds on SmolLM2

The residual stream after the middle block (`blocks.15.resid_post`), 2,304 features, trained on
300,000 samples of 101,409 tokens of `nissl.read("reader")`, judged on 3,092 tokens of other texts
by `nissl.features.worth`. `explained` is the share of the variance but for first tokens of windows,
whose activity is so large that it hides the rest; `recovered` the share of the loss, and `spread`
how far seeds lie apart in it, of which there were three of the first row and two of the second:
smaller differences are none. `probed` is how well one feature tells first letters, capitals and
digits in token types that it was not chosen on, `control` the same of permuted labels, `absorbed`
the share of words whose first letter another feature carries. Beside: first weights of `topk`; 32
principal components of these very texts; and the 32 units of each token that are farthest from
their means. Seconds are of one training, on one core beside other work.

Settings were chosen by how many features they make active in the texts that are learned from, not
by a score. Of l1 from 0.01 to 1 these came nearest to 32. `jump_relu` with its own bandwidth of 0.1
and k=32 makes 3 active, with a weight of 0.3 as of 3; of bandwidths from 0.4 to 2 and k from 32 to
64 this came nearest, with 25.

"""
SITES = """

Single features tell such labels no better than single principal components do: one that is active
in few tokens leaves all others in no order. Absorption is not seen at this size.

`topk` with one seed and 300,000 samples at an early and a late site, and on a network that was
re-initialised and never trained (`ReinitialisedNetwork`), judged on the activity of that network,
whose loss says nothing. Early and late it recovers more than units and components do, by more than
the spread in the middle. In the re-initialised network, too, it explains more than they do, by more
even than in the trained one, and its features tell nothing: that a dictionary explains more than
components does not show that training made what it found.

"""
SEEDS, N_FEATURES = (0, 1, 2), 256
HOW = Schedule(samples=500 * 512, batch_size=512, learning_rate=1e-2, cache=False)
# About as many features active as are planted, three, and about twice as many.
SETTINGS: tuple[dict[str, Any], ...] = ({"k": 3, "l1": 1.0}, {"k": 6, "l1": 0.7})
BINS = ("rare", "middle", "frequent")
MIDDLE = "blocks.15.resid_post"
# Kinds, how many seeds and samples; `topk` is the first, which sets what is beside.
SHORT, LONG = 300_000, 1_000_000
REAL_KINDS: dict[str, tuple[Any, int, int]] = {
    "`topk`, k=32": (kind_of("topk", k=32), 3, SHORT),
    "`topk`, k=32, a million samples": (kind_of("topk", k=32), 2, LONG),
    "`batch_topk`, k=32": (kind_of("batch_topk", k=32), 1, SHORT),
    "`matryoshka`, k=32": (kind_of("matryoshka", k=32), 1, SHORT),
    "`jump_relu`, k=48, bandwidth=1": (kind_of("jump_relu", k=48, bandwidth=1.0), 1, SHORT),
    "`gated`, l1=0.024": (kind_of("gated", l1=0.024), 1, SHORT),
    "`relu`, l1=0.015": (kind_of("relu", l1=0.015), 1, SHORT),
}
LEARNED = [kind for kind in KINDS if kind != "gradient_topk"]  # which needs a network's loss


def page() -> str:
    """Return the whole page; about a quarter of an hour on one core."""
    torch.set_num_threads(1)
    table = pd.DataFrame([row for name in FEATURES for s in SEEDS for row in scores(name, s)])
    print(table.groupby(["dictionary", "variant"]).mean().to_string(), flush=True)
    f1, recovered = (by_variant(table, score) for score in ("f1", "recovered"))
    zipf = table[table["variant"] == "zipf"].groupby("dictionary", sort=False)
    rates = [
        {"dictionary": name, **{bin: spread(rows[bin]) for bin in BINS}} for name, rows in zipf
    ]
    parts = (HEAD, F1, markdown(f1), RECOVERED, markdown(recovered), RATES, markdown(rates))
    return "".join((*parts, smollm2())) + "\n"


def smollm2() -> str:
    """Return two tables: kinds at one site, and one kind at others; ten minutes on one core."""
    net, others = nissl.load("smollm2", progress=False), []
    kinds = judged(net, "smollm2", MIDDLE, REAL_KINDS)
    topk = {"`topk`, k=32": (kind_of("topk", k=32), 1, SHORT)}
    for site in ("blocks.3.resid_post", "blocks.26.resid_post"):
        others += [{"site": f"`{site}`", **row} for row in judged(net, "smollm2", site, topk)]
    model = next(ReinitialisedNetwork().draw(net.model, 1, seed=0))
    fresh = nissl.load(model, tokenizer=net.tokenizer, progress=False)
    for row in judged(fresh, "smollm2-reinitialised", MIDDLE, topk):
        others.append({"site": f"`{MIDDLE}`, re-initialised", **row, "recovered": ""})
    left = ("spread", "seconds", "absorbed")
    others = [{k: x for k, x in row.items() if k not in left} for row in others]
    return "".join((REAL, markdown(kinds), SITES, markdown(others)))


def judged(
    net: Any, name: str, site: str, kinds: dict[str, tuple[Any, int, int]]
) -> list[dict[str, str]]:
    """Return a row for each kind, trained with some seeds on a site's activity, and what is beside.

    What is recorded is kept: the first call reads 100,000 tokens, in minutes.
    """
    texts = nissl.read("reader")["text"].str[:4000]
    store = cache_dir("activity") / f"{name}-{site}"
    how: Any = {"sites": site, "window": 256, "store": store, "progress": False}
    acts, made, seconds = nissl.record(net, list(texts[::2]), **how), {}, {}
    for said, (kind, seeds, samples) in kinds.items():
        begin, schedule = time.process_time(), Schedule(samples, batch_size=1024, cache=False)
        how = {"n_features": 2304, "kind": kind, "schedule": schedule, "progress": False}
        made[said] = [sae(acts, seed=seed, **how) for seed in range(seeds)]
        seconds[said] = f"{(time.process_time() - begin) / seeds:.0f}"
    held_out = net.tokenizer(list(texts[1::2].str[:600])[::8])["input_ids"]
    table = worth(made, net, [ids[:120] for ids in held_out], probes=True, progress=False)
    print(name, site, table.to_string(), f"{time.process_time():.0f} s", sep="\n", flush=True)
    return [
        {
            "dictionary": row.dictionary,
            "explained": f"{row.explained_later:.2f}",
            "active": f"{row.active:.0f}",
            "dead": f"{row.dead:.2f}",
            "recovered": f"{row.recovered:.2f}",
            "spread": "" if np.isnan(row.recovered_spread) else f"{row.recovered_spread:.3f}",
            "probed": f"{row.probed:.2f}",
            "control": f"{row.control:.2f}",
            "absorbed": "" if np.isnan(row.absorbed) else f"{row.absorbed:.2f}",
            "seconds": seconds.get(row.dictionary, ""),
        }
        for row in table.itertuples()
    ]


def scores(name: Any, seed: int) -> list[dict[str, Any]]:
    """Return a row for each dictionary of one variant, trained on half, scored on the other."""
    planted = planted_features(name, seed=seed)
    half = planted.activity[: len(planted.activity) // 2]
    rows = []
    for kind in LEARNED:
        for setting in SETTINGS if name != "noise" else SETTINGS[:1]:
            wanted = "l1" if kind in ("relu", "gated") else "k"
            made = kind_of(kind, **{wanted: setting[wanted]})
            begin = time.process_time()
            found = sae(
                half, n_features=N_FEATURES, kind=made, schedule=HOW, seed=seed, progress=False
            )
            seconds = time.process_time() - begin
            said = f"{wanted}={setting[wanted]}"
            with torch.no_grad():
                on = found.encode(torch.from_numpy(planted.activity.values[-5000:])) > 0
            about = {"seconds": seconds, "active": float(on.sum(1).float().mean())}
            rows.append({"dictionary": f"`{kind}`, {said}", **about, **scored(found, planted)})
    x = half.values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ICA has not converged: there is no such solution
        ica = FastICA(max_iter=200, tol=1e-3, random_state=seed).fit(x)
    sources = ica.transform(planted.activity.values)
    random = np.random.default_rng(seed + 100).standard_normal((N_FEATURES, x.shape[1]))
    for said, directions, features in (
        ("ICA", ica.mixing_.T, sources),
        ("PCA", PCA().fit(x).components_, None),
        ("units", np.eye(x.shape[1]), None),
        ("random directions", random, None),
        ("the true directions", planted.directions, None),
    ):
        rows.append({"dictionary": said, **scored(directions, planted, features)})
    print(name, seed, f"{time.process_time():.0f} s", flush=True)
    return [{"variant": name, **row} for row in rows]


def scored(found: Any, planted: PlantedFeatures, features: Any = None) -> dict[str, float]:
    """Return the scores over all features, and F1 by rate."""
    table = recovery(found, planted, features=features)
    bins = dict(zip(BINS, table["f1"][1:], strict=True))
    return {"f1": table["f1"][0], "recovered": table["recovered"][0], **bins}


def by_variant(table: pd.DataFrame, score: str) -> list[dict[str, str]]:
    """Return a row for each dictionary, of mean and spread in each variant."""
    rows = []
    for name, own in table.groupby("dictionary", sort=False):
        row = {"dictionary": str(name)}
        for variant in FEATURES:
            some = own[own["variant"] == variant]
            row[variant] = spread(some[score]) if len(some) else ""
        if score == "f1":
            seconds = own["seconds"].mean()
            row["seconds"] = "" if np.isnan(seconds) else f"{seconds:.1f}"
        else:
            active = own[own["variant"] != "noise"].groupby("variant")["active"].mean()
            row["active"] = (
                "" if active.isna().all() else f"{active.min():.1f} to {active.max():.1f}"
            )
        rows.append(row)
    return rows


def spread(values: pd.Series[float]) -> str:
    """Return the mean and the standard deviation of a few numbers."""
    return f"{values.mean():.2f} ± {values.std():.2f}"


if __name__ == "__main__":
    Path(__file__).with_name("features.md").write_text(page(), encoding="utf-8")
