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

from nissl.cli.printing import markdown
from nissl.features import Schedule, recovery, sae
from nissl.features.kinds.kind import KINDS, kind_of
from nissl.specimens.planted import PlantedFeatures, planted_features
from nissl.specimens.planted.features import FEATURES

HEAD = """# Features
"""
F1 = """
## Kinds on features that are known

"""
RECOVERED = """

"""
RATES = """

"""
SEEDS, N_FEATURES = (0, 1, 2), 256
HOW = Schedule(samples=700 * 512, batch_size=512, learning_rate=1e-2, cache=False)
# About as many features active as are planted, three, and about twice as many.
SETTINGS: tuple[dict[str, Any], ...] = ({"k": 3, "l1": 1.0}, {"k": 6, "l1": 0.7})
BINS = ("rare", "middle", "frequent")


def page() -> str:
    """Return the whole page; about ten minutes on one core."""
    torch.set_num_threads(1)
    table = pd.DataFrame([row for name in FEATURES for s in SEEDS for row in scores(name, s)])
    print(table.groupby(["dictionary", "variant"]).mean().to_string(), flush=True)
    f1, recovered = (by_variant(table, score) for score in ("f1", "recovered"))
    zipf = table[table["variant"] == "zipf"].groupby("dictionary", sort=False)
    rates = [
        {"dictionary": name, **{bin: spread(rows[bin]) for bin in BINS}} for name, rows in zipf
    ]
    parts = (HEAD, F1, markdown(f1), RECOVERED, markdown(recovered), RATES, markdown(rates))
    return "".join(parts) + "\n"


def scores(name: Any, seed: int) -> list[dict[str, Any]]:
    """Return a row for each dictionary of one variant, trained on half, scored on the other."""
    planted = planted_features(name, seed=seed)
    half = planted.activity[: len(planted.activity) // 2]
    rows = []
    for kind in KINDS:
        for setting in SETTINGS if name != "noise" else SETTINGS[:1]:
            made = kind_of(kind, **setting)
            begin = time.process_time()
            found = sae(
                half, n_features=N_FEATURES, kind=made, schedule=HOW, seed=seed, progress=False
            )
            seconds = time.process_time() - begin
            said = ", ".join(f"{k}={v}" for k, v in setting.items() if hasattr(made, k))
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
