"""Make the page of alignment: `python docs/make_alignment.py`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nissl
from nissl import Test
from nissl.alignment import Limits, compare, identify
from nissl.alignment.measures.measure import MEASURES, measure_of
from nissl.cache import cache_dir
from nissl.cli.printing import markdown
from nissl.recording import aggregate, open_store, save

HEAD = """# Alignment

Two representations of the same stimuli, of two networks, two brains, or one of each: how alike are
they, which units match, and which of several networks is the other?

<!-- not run: an outline; the room's tests run each call -->
```python
nissl.alignment.compare(rec_a, rec_b, on="stimulus", measure="rsa").plot()  # null, interval
nissl.alignment.compare(net_sites, rec, measure="cka", repeats="trial")  # a matrix, a ceiling
nissl.alignment.identify({"resnet": a, "vgg": b}, limits=Limits(noise=(0.0, 1.0))).confusion("cka")
nissl.alignment.match(rec_a, rec_b)  # the unit most alike, and whether each is the other's
ordered = nissl.alignment.rebasin(a, b, images)  # b with its units in a's order
nissl.behaviour.barrier(a, ordered.model, loss).plot()
```

Stimuli are aligned by name, or refused: missing ones, another order, one that occurs twice. What is
compared is a sample a stimulus (`nissl.recording.aggregate`); of repeats, `repeats=` gives the
ceiling. A measure says whether it is a similarity or a distance, and what it is blind to. The null
moves stimuli against each other, in blocks where they hang together in time; the interval is the
jackknife's over groups of stimuli.

| to | use |
|---|---|
| compare geometry | `measure="rsa"`; `TopologicalRSA` for neighbours alone |
| compare up to a rotation | `"cka"` (unbiased), `"procrustes"` (a metric), `"cca"` (held out) |
| say what predicts what | `"linear_predictivity"`: held-out ridge, one-directional |
| compare units as they are | `"soft_matching"`, `match` |
| compare noise, too | `StochasticShape`, of repeats |
| compare graphs of neighbours | `RicciCurvature`, `RicciCommunities` |
| look at the geometry | `nissl.statistics.dissimilarity_matrix(d, labels=...)` |
| say which measure to trust | `identify` |
| put networks into one order | `nissl.network.symmetries`, `rebasin`, `nissl.behaviour.barrier` |
| say how labels lie in a representation | `kernel_analysis` |

**Bias.** Linear CKA as first published is 0.91 for independent noise of 50 stimuli and 500 units,
and 0.99 for 5,000 units; the unbiased form, which is the default, is 0.00. `CCA(n_folds=1)` is
biased too: look at `null_mean`.

A new measure is a file of `nissl.alignment.measures` of under thirty lines. Which of the papers'
claims hold here is in [Claims](claims.md).

This page is made by `python docs/make_alignment.py`.
"""
LEVEL = """
## False positives and power

Two arrays of 30 stimuli and 30 units. Without anything shared: the share of 200 pairs with
p <= 0.05 (19 permutations; 0.03 to 0.08 is what 0.05 gives). With three shared dimensions, whose
share of each unit's variance is 5% and 10%: the power, of 100 pairs. Seconds are of one comparison.

"""
IDENTIFY = """

## Which measure names the right network

Six stages of EfficientNet-Lite0 see 100 photographs of CIFAR-10; channels are averaged over places.
Half of a stage's channels stand for a recording, and each measure says which stage the other halves
are most like (`nissl.alignment.identify`): how often is it the same, of all stages and ten draws?
Chance is 0.17. Noise is in shares of a unit's variance. Left out for their cost are linear
predictivity and soft matching, a linear programme where sides are of other widths; among whole
networks soft matching named most ([Claims](claims.md), system 231).

"""
STAGES = 6


def pair(n: int, share: float, seed: int) -> list[Any]:
    """Return two arrays that share three dimensions, or nothing."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 3))
    made = []
    for width in (30, 30):
        signal = shared @ rng.standard_normal((3, width)) / np.sqrt(3)
        own = rng.standard_normal((n, width))
        made.append(np.sqrt(share) * signal + np.sqrt(1 - share) * own)
    return made


def level() -> list[dict[str, str]]:
    """Return false positives and power of each measure."""
    rows = []
    for name in MEASURES:
        if measure_of(name).repeats:
            continue
        found, begin, n = {"measure": f"`{name}`"}, time.process_time(), 0
        for share, sets in ((0.0, 200), (0.05, 100), (0.1, 100)):
            p = []
            for seed in range(sets):
                quick = Test(n_permutations=19, seed=seed)
                one = compare(*pair(30, share, seed), measure=name, test=quick, progress=False)
                p.append(one.table["p"][0])
            n += sets
            said = "false positives" if share == 0 else f"power at {share:.0%}"
            found[said] = f"{np.mean(np.array(p) <= 0.05):.2f}"
        found["seconds"] = f"{(time.process_time() - begin) / n:.3f}"
        rows.append(found)
        print(found, flush=True)
    return rows


def stages() -> dict[str, Any]:
    """Return channels of stages of a network on photographs, kept in the cache."""
    folder, made = cache_dir("activity"), {}
    net = None
    for stage in range(STAGES):
        store = folder / f"efficientnet-lite0-cifar10-{stage}"
        if not store.exists():
            net = net or nissl.load("efficientnet-lite0", progress=False)
            images = nissl.read("cifar10").values[:100]
            rec = nissl.record(net, images, sites=f"blocks.{3 * stage}", progress=False)
            save(aggregate(rec, by="stimulus"), store)
        made[f"stage {stage}"] = open_store(store).load()
    return made


def identified() -> list[dict[str, str]]:
    """Return how often each measure names the right stage."""
    known = stages()
    settings = {
        "clean": Limits(),
        "noise 1": Limits(noise=(1.0,)),
        "30 stimuli": Limits(n_stimuli=(30,)),
        "8 units, noise 1": Limits(n_units=(8,), noise=(1.0,)),
    }
    # Of sides of other widths a linear programme over all pairs of units; a nested ridge.
    slow = ("soft_matching", "linear_predictivity")
    names = [name for name in MEASURES if not measure_of(name).repeats and name not in slow]
    rows = {name: {"measure": f"`{name}`"} for name in names}
    for said, limits in settings.items():
        table = identify(known, measures=names, limits=limits, progress=False).accuracy
        for name, share in zip(table["measure"], table["accuracy"], strict=True):
            rows[name][said] = f"{share:.2f}"
    return list(rows.values())


def page() -> str:
    """Return the whole page; a few minutes on one core."""
    torch.set_num_threads(1)
    parts = (
        HEAD,
        LEVEL,
        markdown(level()),
        IDENTIFY,
        markdown(identified()),
    )
    return "".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("alignment.md").write_text(page())
