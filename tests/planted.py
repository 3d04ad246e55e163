"""Data with effects of a stated size planted, for every method of selectivity that gives p-values.

``CASES`` holds one case a method: ``case.p(rng, size)`` makes data, runs the method without a
correction, and returns the p-values of rows that hold nothing and of rows that hold an effect; of
size 0, none does.
`tests/selectivity/test_calibration.py` asks whether the first are level, and
`docs/make_selectivity.py` writes both down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nissl.recording import as_recording
from nissl.selectivity import (
    coverage,
    hallucination_neurons,
    language_neurons,
    lazy,
    massive,
    plnd,
    programming_neurons,
    relation,
    relevance,
    truth,
    universal,
    voids,
)
from nissl.selectivity.positional import position_test
from nissl.statistics import PermutedLabels, Test
from planted_networks import (
    comparative_case,
    damage_case,
    damage_of_48_case,
    erasing_case,
    gated_case,
    head_damage_case,
    keeping_case,
    loss_damage_case,
    ranking_damage_case,
    split,
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A method, what is planted for it, and in which sizes."""

    system: int
    name: str
    data: str
    effect: str
    sizes: tuple[float, ...]
    p: Callable[[np.random.Generator, float], tuple[Array, Array]]
    bound: bool = False
    """Whether p errs on the large side by construction."""
    share: float = 0.0
    """By how much p may be at most 0.05 too often, by construction."""
    repeats: int = 5
    """Data sets that give some hundreds of p-values of nothing."""


def _relation(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    kinds = np.repeat(["a", "b", "c", "d", "e", "f", "g", "h"], 15)
    values = rng.standard_normal((len(kinds), 120))
    values[kinds == "a", :40] += size
    rec = as_recording(values, samples={"relation": kinds, "fact": np.arange(len(kinds))})
    table = relation(
        rec,
        labels="relation",
        exchange="fact",
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    # One row a unit: rows of one unit are not independent.
    table = table[table["label"] == "a"].reset_index(drop=True)
    return split(table, 40, size)


def _documents(rng: np.random.Generator, n_units: int, articles: int = 12) -> Any:
    language = np.tile(["french", "german", "russian", "thai"], articles)
    article = np.repeat(np.arange(articles), 4)
    topic = rng.uniform(0, 0.15, (articles, n_units))[article]
    return language, article, rng.uniform(0.1, 0.3, (len(language), n_units)) + topic


def _language(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    language, article, shares = _documents(rng, 200)
    shares[language == "thai", :40] += size
    rec = as_recording(shares, samples={"language": language, "article": article})
    table = language_neurons(
        rec,
        test=Test(
            null=PermutedLabels(within="article"), correction=None, seed=int(rng.integers(1 << 31))
        ),
    ).table
    return split(table, 40, size)


def _plnd(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    language, article, impact = _documents(rng, 200)
    impact[language == "thai", :20] += size
    rec = as_recording(impact, samples={"language": language, "article": article})
    table = plnd(
        rec,
        test=Test(
            null=PermutedLabels(within="article"), correction=None, seed=int(rng.integers(1 << 31))
        ),
        progress=False,
    ).table
    table = table[table["label"] == "thai"].set_index("unit")
    table = table.loc[rec["unit"].values.astype(str)]
    return split(table, 20, size)


def _programming(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    language = np.repeat(["c", "java", "python", "ruby"], 24)
    file = np.repeat(np.arange(32), 3)
    topic = rng.uniform(0, 0.15, (32, 200))[file]
    shares = rng.uniform(0.1, 0.3, (96, 200)) + topic
    shares[language == "c", :40] += size
    rec = as_recording(shares, samples={"language": language, "file": file})
    table = programming_neurons(
        rec,
        test=Test(
            null=PermutedLabels(exchange="file"), correction=None, seed=int(rng.integers(1 << 31))
        ),
    ).table
    return split(table, 40, size)


def _massive(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    values = rng.standard_normal((5 * 30, 200))
    values[::30, :5] += np.sign(values[::30, :5]) * size * 0.6745  # the median of a normal's size
    rec = as_recording(values, samples={"document": np.repeat(np.arange(5), 30)})
    table = massive(rec, test=Test(correction=None, seed=int(rng.integers(1 << 31)))).table
    return split(table, 5, size)


def _universal(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    a, b = rng.standard_normal((2, 400, 150))
    b[:, :30] = size * a[:, :30] + np.sqrt(1 - size**2) * b[:, :30]
    table = universal(
        as_recording(a),
        {"other": as_recording(b)},
        test=Test(correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return split(table, 30, size)


def _position(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    n_sets, n_stretches, n_units, n_samples = 24, 8, 200, 40
    share = np.full((n_stretches, n_units), 0.3)
    share[: n_stretches // 2, :40] += size / 2
    share[n_stretches // 2 :, :40] -= size / 2
    active = rng.binomial(n_samples, share, (n_sets, n_stretches, n_units)).astype(float)
    samples = np.full((n_sets, n_stretches, 1), float(n_samples))
    _, p = position_test(
        active, samples, test=Test(n_permutations=199, tail="gpd", seed=int(rng.integers(1 << 31)))
    )
    return split(pd.DataFrame({"p": p}), 40, size)


def _lazy(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Layers whose share of nonzero activations is smaller; nineteen networks without training."""
    n_layers, width = 20, 30
    units = {
        "site": np.repeat([f"blocks.{i}.mlp.neurons" for i in range(n_layers)], width),
        "index": np.tile(np.arange(width), n_layers),
    }

    def network(shift: float) -> Any:
        # What the samples share makes shares vary from network to network, and layer to layer.
        bias = np.repeat(0.1 * rng.standard_normal(n_layers), width)
        bias[: 8 * width] -= shift
        return as_recording(np.maximum(rng.standard_normal((60, len(bias))) + bias, 0), units=units)

    table = lazy(
        network(size), untrained=[network(0.0) for _ in range(19)], test=Test(correction=None)
    ).table
    return split(table, 8, size)


def _voids(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Of twelve layers one changes the norm less."""
    n_texts, length, n_layers = 16, 8, 12
    changes = 2 + rng.standard_normal((n_texts, 1, n_layers))
    changes = changes + rng.standard_normal((n_texts, length, n_layers))
    changes[..., 6] -= size
    norms = 50 + np.cumsum(np.pad(changes.reshape(-1, n_layers), ((0, 0), (1, 0))), axis=1)
    site = ["blocks.0.resid_pre", *(f"blocks.{i}.resid_post" for i in range(n_layers))]
    rec = as_recording(
        norms,
        samples={"document": np.repeat(np.arange(n_texts), length)},
        units={"site": site, "index": np.zeros(len(site), int)},
    )
    p = voids(rec, alpha=0.5, test=Test(correction=None, seed=int(rng.integers(1 << 31)))).table[
        "p"
    ]
    p = p.to_numpy(float)
    # The first layers are held to little or nothing, and never voids.
    return (np.zeros(0), p[6:7]) if size else (p[4:], np.zeros(0))


def _coverage(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    def states(n: int, shift: float) -> Any:
        values = rng.beta(4, 4, (n, 100))
        values[:, :40] = np.clip(values[:, :40] + shift, 0, 1)
        return as_recording(values)

    table = coverage(
        states(400, 0.0),
        states(50, 0.0),
        states(50, size),
        bins=20,
        full_density=2.5,
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return split(table, 40, size)


def _relevance(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    query, relevant = np.repeat(np.arange(30), 4), np.tile([True, False, False, False], 30)
    values = rng.standard_normal((120, 200)) + rng.standard_normal((30, 200))[query]
    values[relevant, :40] += size
    rec = as_recording(values, samples={"relevant": relevant, "query": query})
    table = relevance(
        rec,
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return split(table, 40, size)


def _hallucination(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Half of the subjects are asked to find neurons, the other half to test them."""

    def answers(first: int) -> Any:
        wrong = rng.random(60) < 0.5
        values = rng.random((120, 40))
        values[:60, :4] += size * wrong[:, None]
        samples = {
            "wrong": np.tile(wrong, 2),
            "part": np.repeat(["answer", "other"], 60),
            "subject": np.tile(np.arange(60) + first, 2),
        }
        return as_recording(values, samples=samples)

    table = hallucination_neurons(
        answers(0),
        tested=answers(60),
        share=0.1,
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
    ).table
    if size:
        return np.zeros(0), table["p"].to_numpy(float)[:4]
    return table.loc[table["h_neuron"], "p"].to_numpy(float), np.zeros(0)


def _truth(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    couple = np.repeat(np.arange(36), 2)
    values = rng.standard_normal((72, 200)) + rng.standard_normal((36, 200))[couple]
    values[:, :40] += size
    rec = as_recording(
        values,
        samples={"subject": np.repeat(["a", "b", "c"], 24), "couple": couple},
        quantity="attribution",
    )
    table = truth(
        rec,
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return split(table, 40, size)


WRITES = "how much of what they write is the answer, as a multiple of what they wrote"
CASES = [
    Case(
        24,
        "relation",
        "120 facts of eight relations",
        "higher by so many standard deviations in one relation",
        (0.5, 1.0, 1.5),
        _relation,
    ),
    Case(
        38,
        "massive",
        "five texts of 30 tokens, 200 dimensions",
        "larger at the first token by so many medians",
        (3.0, 6.0, 12.0),
        _massive,
    ),
    Case(
        69,
        "lazy",
        "20 layers of 30 neurons, 60 samples, 19 networks without training",
        "activity before the ReLU lower by so many standard deviations",
        (0.1, 0.3, 0.5),
        _lazy,
        repeats=10,
    ),
    Case(
        103,
        "voids",
        "16 texts of eight tokens, twelve layers",
        "by how much less one layer "
        "changes the norm than others, in standard deviations over tokens",
        (0.5, 1.0, 1.5),
        _voids,
        repeats=20,
    ),
    Case(
        131,
        "universal",
        "400 tokens, two networks of 150 neurons",
        "correlation of a neuron with its partner",
        (0.2, 0.35, 0.5),
        _universal,
    ),
    Case(
        132,
        "gated_function",
        "weights of 200 neurons over 64 dimensions",
        "cosine of what is read and what is written",
        (0.2, 0.4, 0.6),
        gated_case,
    ),
    Case(
        146,
        "relevance",
        "30 queries, four passages each",
        "more contributed to relevant passages, in standard deviations",
        (0.3, 0.6, 0.9),
        _relevance,
    ),
    Case(
        158,
        "comparative",
        "40 facts, with and without a head",
        "by how much more often than not "
        "the head makes a neuron speak for the answer, as a share of the facts",
        (0.3, 0.6, 0.9),
        comparative_case,
    ),
    Case(
        158,
        "head_damage",
        "40 facts, sixteen heads",
        "by how much more often than not a head speaks for the answer, as a share of the facts",
        (0.3, 0.6, 0.9),
        head_damage_case,
        repeats=10,
    ),
    Case(
        160,
        "erasing",
        "200 detectors over 64 dimensions",
        "cosine of what is written and the trigger's unembedding, its sign changed",
        (0.2, 0.4, 0.6),
        erasing_case,
        bound=True,
    ),
    Case(
        160,
        "position_test",
        "24 sets of windows, 40 samples a stretch",
        "difference in how often a neuron is active in either half",
        (0.02, 0.04, 0.08),
        _position,
        bound=True,
    ),
    Case(
        164,
        "language_neurons",
        "twelve articles in four languages",
        "more of the tokens of one language at which it is open",
        (0.05, 0.1, 0.2),
        _language,
    ),
    Case(
        167,
        "hallucination_neurons",
        "60 answers to find neurons, 60 to test them",
        "more contributed to wrong answers, which contribute from 0 to 1",
        (0.2, 0.4, 0.6),
        _hallucination,
        repeats=40,
    ),
    Case(
        172,
        "coverage",
        "400 inputs of training, 50 inside and 50 outside",
        "shift of the states outside, which range from 0 to 1",
        (0.05, 0.1, 0.2),
        _coverage,
    ),
    Case(
        184,
        "plnd",
        "twelve articles in four languages",
        "higher impact in one language",
        (0.05, 0.1, 0.2),
        _plnd,
    ),
    Case(
        192,
        "programming_neurons",
        "eight files of three parts in four languages",
        "more of the tokens of one language at which it is open",
        (0.05, 0.1, 0.2),
        _programming,
    ),
    Case(
        205,
        "truth",
        "36 couples of questions of three subjects",
        "contribution, in standard deviations within a couple",
        (0.3, 0.6, 0.9),
        _truth,
    ),
    Case(
        24,
        "ablation_effect of answers",
        "eight prompts, groups of twelve of 2,000 neurons",
        WRITES,
        (0.5, 1.0, 2.0),
        damage_case,
        repeats=25,
    ),
    Case(
        24,
        "ablation_effect of answers",
        "eight prompts, groups of twelve of 48 neurons",
        WRITES,
        (0.5, 1.0, 2.0),
        damage_of_48_case,
        share=0.25,
        repeats=10,
    ),
    Case(
        164,
        "ablation_effect of losses",
        "eight texts, groups of twelve of 2,000 neurons",
        WRITES,
        (0.5, 1.0, 2.0),
        loss_damage_case,
        repeats=25,
    ),
    Case(
        146,
        "ablation_effect of rankings",
        "sixteen queries, six passages each, twelve of 300 neurons",
        "what they add to the score of a passage with a word of the query",
        (0.25, 0.5, 1.0),
        ranking_damage_case,
        bound=True,
        repeats=10,
    ),
    Case(
        158,
        "pruning_effect",
        "eight prompts, twelve of 400 neurons",
        WRITES,
        (0.5, 1.0, 2.0),
        keeping_case,
        repeats=25,
    ),
]
