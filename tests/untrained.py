"""Scores of units of networks that were never trained, for every method of selectivity.

``SCORES`` holds a function for each method: it is given a small network with fresh weights and
returns the method's score of every unit. Scored against others of its kind, such a network holds
nothing: `tests/selectivity/test_calibration.py` asks whether that is what is found, and
`docs/make_selectivity.py` writes it down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nissl
from nissl.network import Network
from nissl.recording import aggregate, recording
from nissl.selectivity import (
    gated_function,
    language_neurons,
    massive,
    plnd,
    position_information,
    programming_neurons,
    relation,
    universal,
)
from nissl.statistics import PermutedLabels, ReinitialisedNetwork, against_null, rate
from nissl.statistics.calibration import Rate
from tiny import tiny

Array = np.ndarray[Any, Any]
N_TEXTS, LENGTH = 32, 12
KINDS = np.repeat(np.arange(4), N_TEXTS // 4)
TEXTS = np.random.default_rng(0).integers(3, 40, (N_TEXTS, LENGTH))
# What a text is of can be read off it, so that random networks respond to it.
TEXTS[np.arange(N_TEXTS), -1] = 3 + KINDS


def untrained_rate(score: Callable[[Network], Array], *, n_targets: int = 8, n: int = 19) -> Rate:
    """Score each of some fresh networks against others, and count the units that exceed them."""
    p = []
    for target in range(n_targets):
        drawn = ReinitialisedNetwork().draw(tiny("llama"), n + 1, seed=target)
        mine, *others = [score(Network(model, name="untrained")) for model in drawn]
        found = against_null(
            mine, np.stack(others), units=[str(i) for i in range(len(mine))], score="score",
            method="untrained", null="ReinitialisedNetwork", alternative="greater", correction=None,
        )  # fmt: skip
        p.append(found.table["p"].to_numpy())
    return rate(np.concatenate(p), level=0.999)


def _neurons(net: Network, sites: str = "mlp.neurons") -> Any:
    rec = nissl.record(net, list(TEXTS), sites=sites, bos="never", progress=False)
    document = rec["document"].values
    return rec.assign_coords(kind=("sample", KINDS[document]))


def _documents(net: Network) -> Any:
    """The share of each text's tokens at which each unit is high; texts are pairs of every kind."""
    rec = _neurons(net)
    high = rec.copy(data=(rec.values > np.quantile(rec.values, 0.8)).astype(float))
    means = aggregate(high, by="document", how="mean")
    half = np.tile(np.arange(N_TEXTS // 4), 4)
    return recording(means.values, samples={"kind": KINDS, "half": half})


def _of_label(table: Any, column: str) -> Array:
    table = table[table["label"].astype(str) == "0"]
    order = table["unit"].str.extract(r"(\d+)\D*$")[0].astype(int)
    layer = table["unit"].str.extract(r"blocks\.(\d+)")[0].fillna(0).astype(int)
    return table[column].to_numpy(float)[np.lexsort((order, layer))]


def _relation(net: Network) -> Array:
    found = relation(_neurons(net), labels="kind", block="document", n_permutations=19,
                     correction=None, progress=False)  # fmt: skip
    return _of_label(found.table, "average_precision")


def _massive(net: Network) -> Array:
    found = massive(_neurons(net, "resid_post"), n_rotations=2, correction=None)
    return found.table["ratio"].to_numpy(float)


def _universal(net: Network) -> Array:
    other = Network(next(ReinitialisedNetwork().draw(tiny("llama"), 1, seed=10_000)), name="other")
    found = universal(_neurons(net), {"other": _neurons(other)}, n_rotations=2, correction=None,
                      progress=False)  # fmt: skip
    return found.table["correlation"].to_numpy(float)


def _gated(net: Network) -> Array:
    found = gated_function(net, n_permutations=19, progress=False)
    return found.table["effect"].abs().to_numpy(float)


def _position(net: Network) -> Array:
    values = _neurons(net).values.reshape(N_TEXTS, LENGTH, -1)
    return position_information((values > np.quantile(values, 0.8)).mean(axis=0))


def _language(net: Network) -> Array:
    found = language_neurons(_documents(net), labels="kind", n_permutations=19, correction=None)
    return found.table["specificity"].to_numpy(float)


def _plnd(net: Network) -> Array:
    found = plnd(_documents(net), labels="kind", null=PermutedLabels(within="half"),
                 n_permutations=19, correction=None, progress=False)  # fmt: skip
    return _of_label(found.table, "rank_excess")


def _programming(net: Network) -> Array:
    found = programming_neurons(_documents(net), labels="kind", n_permutations=19, correction=None)
    return found.table["specificity"].to_numpy(float)


SCORES: dict[str, Callable[[Network], Array]] = {
    "relation": _relation,
    "massive": _massive,
    "universal": _universal,
    "gated_function": _gated,
    "position_information": _position,
    "language_neurons": _language,
    "plnd": _plnd,
    "programming_neurons": _programming,
}
