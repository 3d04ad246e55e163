"""Scores of networks that were never trained, for every method that scores units, heads or layers.

``SCORES`` holds a case for each method: ``case.score(net)`` is given a small network with fresh
weights and returns the method's score of every unit. Scored against others of its kind, such a
network holds nothing: `tests/selectivity/test_calibration.py` asks whether that is what is found,
and `docs/make_selectivity.py` writes it down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import nissl
from nissl.behaviour import (
    answer_contributions,
    choice_attributions,
    divergence_from_uniform,
    head_damage,
    pair_conductance,
)
from nissl.network import Network
from nissl.network.gradients import gradient_times_activation
from nissl.recording import aggregate, as_recording
from nissl.selectivity import (
    activation_states,
    comparative,
    coverage,
    erasing,
    families,
    gated_function,
    hallucination_neurons,
    language_neurons,
    lazy,
    massive,
    plnd,
    position_information,
    programming_neurons,
    relation,
    relevance,
    truth,
    universal,
    voids,
    weight_signature,
)
from nissl.statistics import Finding, PermutedLabels, ReinitialisedNetwork, Test, against_null, rate
from nissl.statistics.calibration import Rate
from tiny import Words, inputs, pair_tokenizer, tiny

Array = np.ndarray[Any, Any]
N_TEXTS, LENGTH = 32, 12
KINDS = np.repeat(np.arange(4), N_TEXTS // 4)
TEXTS = np.random.default_rng(0).integers(3, 40, (N_TEXTS, LENGTH))
# What a text is of can be read off it, so that random networks respond to it.
TEXTS[np.arange(N_TEXTS), -1] = 3 + KINDS


@dataclass(frozen=True)
class Untrained:
    """A method's score of every unit, and the kind of network that is scored."""

    score: Callable[[Network], Array]
    every: int = 1
    """Which units count, every so many: where units of one network are not independent, few do."""
    kind: str = "llama"
    tokenizer: Callable[[], Any] = Words


def untrained_p(case: Untrained, *, target: int, n: int = 19) -> Array:
    """Score a fresh network and `n` others, and return the p of each of its units among them."""
    drawn = ReinitialisedNetwork().draw(_maker(case.kind), n + 1, seed=target)
    nets = (nissl.load(model, tokenizer=case.tokenizer()) for model in drawn)
    mine, *others = [case.score(net)[:: case.every] for net in nets]
    found = against_null(
        mine,
        np.stack(others),
        units=[str(i) for i in range(len(mine))],
        score="score",
        method="untrained",
        null="ReinitialisedNetwork",
        alternative="greater",
        test=Test(correction=None),
    )
    return found.table["p"].to_numpy(float)


def untrained_rate(case: Untrained, *, n_targets: int) -> Rate:
    """Score each of some fresh networks against others, and count the units that exceed them."""
    p = [untrained_p(case, target=target) for target in range(n_targets)]
    return rate(np.concatenate(p), level=0.999)


def _maker(kind: str) -> Any:
    if kind != "cross-encoder":
        return tiny(kind)
    import transformers

    config = tiny("bert").config
    config.num_labels = 1  # a larger output is a more relevant passage
    return lambda: transformers.BertForSequenceClassification(config).double().eval()


def _neurons(net: Network, sites: str | list[str] = "mlp.neurons") -> Any:
    rec = nissl.record(net, list(TEXTS), sites=sites, bos="never", progress=False)
    document = rec["document"].values
    return rec.assign_coords(kind=("sample", KINDS[document]))


def _documents(net: Network) -> Any:
    """The share of each text's tokens at which each unit is high; texts are pairs of every kind."""
    rec = _neurons(net)
    high = rec.copy(data=(rec.values > np.quantile(rec.values, 0.8)).astype(float))
    means = aggregate(high, by="document", how="mean")
    half = np.tile(np.arange(N_TEXTS // 4), 4)
    return as_recording(means.values, samples={"kind": KINDS, "half": half})


def _of_label(table: Any, column: str) -> Array:
    table = table[table["label"].astype(str) == "0"]
    order = table["unit"].str.extract(r"(\d+)\D*$")[0].astype(int)
    layer = table["unit"].str.extract(r"blocks\.(\d+)")[0].fillna(0).astype(int)
    return table[column].to_numpy(float)[np.lexsort((order, layer))]


def _relation(net: Network) -> Array:
    found = relation(
        _neurons(net),
        labels="kind",
        exchange="document",
        test=Test(n_permutations=19, correction=None),
        progress=False,
    )
    return _of_label(found.table, "average_precision")


def _massive(net: Network) -> Array:
    found = massive(_neurons(net, "resid_post"), test=Test(n_permutations=2, correction=None))
    return found.table["ratio"].to_numpy(float)


def _universal(net: Network) -> Array:
    other = Network(next(ReinitialisedNetwork().draw(tiny("llama"), 1, seed=10_000)), name="other")
    found = universal(
        _neurons(net),
        {"other": _neurons(other)},
        test=Test(n_permutations=2, correction=None),
        progress=False,
    )
    return found.table["correlation"].to_numpy(float)


def _gated(net: Network) -> Array:
    found = gated_function(net, test=Test(n_permutations=19, correction="bh"), progress=False)
    return found.table["effect"].abs().to_numpy(float)


def _position(net: Network) -> Array:
    values = _neurons(net).values.reshape(N_TEXTS, LENGTH, -1)
    return position_information((values > np.quantile(values, 0.8)).mean(axis=0))


def _language(net: Network) -> Array:
    found = language_neurons(
        _documents(net), labels="kind", test=Test(n_permutations=19, correction=None)
    )
    return found.table["specificity"].to_numpy(float)


def _plnd(net: Network) -> Array:
    found = plnd(
        _documents(net),
        labels="kind",
        test=Test(n_permutations=19, null=PermutedLabels(within="half"), correction=None),
        progress=False,
    )
    return _of_label(found.table, "rank_excess")


def _programming(net: Network) -> Array:
    found = programming_neurons(
        _documents(net), labels="kind", test=Test(n_permutations=19, correction=None)
    )
    return found.table["specificity"].to_numpy(float)


def _facts(n: int = 24) -> pd.DataFrame:
    """Prompts of random words with a random answer, and another that is false."""
    rng = np.random.default_rng(1)
    words = [rng.permutation(np.arange(3, 40))[:7].astype(str) for _ in range(n)]
    return pd.DataFrame(
        {
            "text": [" ".join(w[:5]) for w in words],
            "answer": [w[5] for w in words],
            "false": [w[6] for w in words],
            "subject": np.arange(n) % 3,
            "couple": np.arange(n),
        }
    )


def _relevance(net: Network) -> Array:
    rng = np.random.default_rng(1)
    words = [" ".join(f"w{i}" for i in rng.permutation(12)[:3]) for _ in range(30)]
    pairs = pd.DataFrame(
        {"query": np.repeat(words[:10], 2), "passage": words[10:], "relevant": [True, False] * 10}
    )
    made = pair_conductance(net, pairs, steps=2, batch_size=20, progress=False)
    found = relevance(
        made["conductance"], test=Test(n_permutations=19, correction=None), progress=False
    )
    return found.table["relevance"].to_numpy(float)


def _head_damage(net: Network) -> Array:
    found = head_damage(
        net, _facts(), test=Test(n_permutations=19, correction=None), progress=False
    )
    return found.table["damage"].to_numpy(float)


def _comparative(net: Network) -> Array:
    head = nissl.ablate(sites="blocks.0.attn.z", heads=0)
    found = comparative(
        net,
        _facts(),
        edit=head,
        test=Test(n_permutations=19, correction=None),
        batch_size=24,
        progress=False,
    )
    return found.table["change"].to_numpy(float)


def _hallucination(net: Network) -> Array:
    facts = _facts(48).rename(columns={"answer": "said"}).drop(columns=["false", "subject"])
    facts = facts.assign(wrong=np.arange(48) % 2 == 0)
    rec = answer_contributions(net, facts, progress=False)
    first = rec["couple"].values < 24
    found = hallucination_neurons(
        rec[first],
        tested=rec[~first],
        subject="couple",
        share=0.1,
        test=Test(n_permutations=19, correction=None),
    )
    return found.table["auroc"].to_numpy(float)


def _coverage(net: Network) -> Array:
    images = inputs("conv", batch=120)
    rec = gradient_times_activation(
        net,
        images,
        sites=["norm", "conv2"],
        metric=divergence_from_uniform,
        batch_size=120,
        progress=False,
    )
    states = activation_states(rec, alpha=100.0)
    found = coverage(
        states[:40],
        states[40:80],
        states[80:],
        bins=10,
        test=Test(n_permutations=19, correction=None),
        progress=False,
    )
    return found.table["auroc"].to_numpy(float)


def _truth(net: Network) -> Array:
    rec = choice_attributions(net, _facts(), progress=False)
    found = truth(rec, test=Test(n_permutations=19, correction=None), progress=False)
    return found.table["contribution"].to_numpy(float)


def _voids(net: Network) -> Array:
    rec = _neurons(net, ["blocks.0.resid_pre", "resid_post"])
    found = voids(rec, alpha=0.5, test=Test(n_permutations=19, correction=None))
    # Of one network one number: what a layer is held to is what those before it did.
    return found.table["share"].to_numpy(float)[-1:]


def _lazy(net: Network) -> Array:
    found = lazy(_neurons(net), untrained=None)
    return found.table["nonzero"].to_numpy(float)


def _erasing(net: Network) -> Array:
    units = [f"blocks.{layer}.mlp.neurons[{i}]" for layer in range(3) for i in range(24)]
    trigger = np.random.default_rng(1).integers(3, 40, len(units))
    detectors = pd.DataFrame(
        {
            "unit": units,
            "layer": np.repeat(range(3), 24),
            "kind": "token",
            "trigger": trigger,
            "triggers": "",
            "sign": 1,
        }
    )
    found = erasing(
        net, Finding(detectors, "ngram", "none"), test=Test(n_permutations=19, correction="bh")
    )
    return -found.table["trigger_logit"].to_numpy(float)


def _families(net: Network) -> Array:
    return families(_neurons(net), labels=["kind"])["kind"].to_numpy(float)


def _weight_signature(net: Network) -> Array:
    return weight_signature(net)["vocabulary_kurtosis"].to_numpy(float)


SCORES: dict[str, Untrained] = {
    "relation": Untrained(_relation),
    "massive": Untrained(_massive, every=6),
    "lazy": Untrained(_lazy, kind="opt"),
    "voids": Untrained(_voids),
    "families": Untrained(_families),
    "universal": Untrained(_universal),
    "weight_signature": Untrained(_weight_signature),
    "gated_function": Untrained(_gated),
    "relevance": Untrained(_relevance, kind="cross-encoder", tokenizer=pair_tokenizer),
    "comparative": Untrained(_comparative, every=6),
    "head_damage": Untrained(_head_damage),
    "erasing": Untrained(_erasing),
    "position_information": Untrained(_position),
    "language_neurons": Untrained(_language, every=6),
    "hallucination_neurons": Untrained(_hallucination, every=24),
    "coverage": Untrained(_coverage, kind="conv"),
    "plnd": Untrained(_plnd),
    "programming_neurons": Untrained(_programming, every=6),
    "truth": Untrained(_truth, every=6),
}
