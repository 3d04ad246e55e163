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
import torch

import nissl
from nissl.network import Network
from nissl.recording import recording
from nissl.selectivity import (
    coverage,
    damage,
    gated_function,
    hallucination_neurons,
    language_neurons,
    lazy,
    massive,
    plnd,
    position_test,
    programming_neurons,
    relation,
    relevance,
    truth,
    universal,
    voids,
)
from nissl.statistics import PermutedLabels, paired_test
from tiny import tiny

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
    repeats: int = 5
    """Data sets that give some hundreds of p-values of nothing."""


def _split(table: pd.DataFrame, n_planted: int, size: float) -> tuple[Array, Array]:
    """Part rows that hold nothing from the first, which hold an effect of a size above zero."""
    p = table["p"].to_numpy(float)
    first = n_planted if size else 0
    return p[first:], p[:first]


def _relation(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    kinds = np.repeat(["a", "b", "c", "d", "e", "f", "g", "h"], 15)
    values = rng.standard_normal((len(kinds), 120))
    values[kinds == "a", :40] += size
    rec = recording(values, samples={"relation": kinds, "fact": np.arange(len(kinds))})
    table = relation(
        rec, labels="relation", block="fact", n_permutations=199, correction=None, progress=False,
        seed=int(rng.integers(1 << 31)),
    ).table  # fmt: skip
    # One row a unit: rows of one unit hang together.
    table = table[table["label"] == "a"].reset_index(drop=True)
    return _split(table, 40, size)


def _documents(rng: np.random.Generator, n_units: int, articles: int = 12) -> Any:
    language = np.tile(["french", "german", "russian", "thai"], articles)
    article = np.repeat(np.arange(articles), 4)
    topic = rng.uniform(0, 0.15, (articles, n_units))[article]
    return language, article, rng.uniform(0.1, 0.3, (len(language), n_units)) + topic


def _language(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    language, article, shares = _documents(rng, 200)
    shares[language == "thai", :40] += size
    rec = recording(shares, samples={"language": language, "article": article})
    table = language_neurons(
        rec, null=PermutedLabels(within="article"), correction=None, seed=int(rng.integers(1 << 31))
    ).table
    return _split(table, 40, size)


def _plnd(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    language, article, impact = _documents(rng, 200)
    impact[language == "thai", :20] += size
    rec = recording(impact, samples={"language": language, "article": article})
    table = plnd(
        rec, null=PermutedLabels(within="article"), correction=None, progress=False,
        seed=int(rng.integers(1 << 31)),
    ).table  # fmt: skip
    table = table[table["label"] == "thai"].set_index("unit")
    table = table.loc[rec["unit"].values.astype(str)]
    return _split(table, 20, size)


def _programming(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    language = np.repeat(["c", "java", "python", "ruby"], 24)
    file = np.repeat(np.arange(32), 3)
    topic = rng.uniform(0, 0.15, (32, 200))[file]
    shares = rng.uniform(0.1, 0.3, (96, 200)) + topic
    shares[language == "c", :40] += size
    rec = recording(shares, samples={"language": language, "file": file})
    table = programming_neurons(
        rec, null=PermutedLabels(block="file"), correction=None, seed=int(rng.integers(1 << 31))
    ).table
    return _split(table, 40, size)


def _massive(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    values = rng.standard_normal((5 * 30, 200))
    values[::30, :5] += np.sign(values[::30, :5]) * size * 0.6745  # the median of a normal's size
    rec = recording(values, samples={"document": np.repeat(np.arange(5), 30)})
    table = massive(rec, correction=None, seed=int(rng.integers(1 << 31))).table
    return _split(table, 5, size)


def _universal(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    a, b = rng.standard_normal((2, 400, 150))
    b[:, :30] = size * a[:, :30] + np.sqrt(1 - size**2) * b[:, :30]
    table = universal(
        recording(a), {"other": recording(b)}, correction=None, progress=False,
        seed=int(rng.integers(1 << 31)),
    ).table  # fmt: skip
    return _split(table, 30, size)


def _gated(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    options = {"hidden_size": 64, "intermediate_size": 200, "num_hidden_layers": 1}
    model = tiny("llama", **options)
    mlp = model.model.layers[0].mlp
    with torch.no_grad():
        norm = model.model.layers[0].post_attention_layernorm.weight
        norm.fill_(1.0)
        gate, up, down = (torch.from_numpy(rng.standard_normal((200, 64))) for _ in range(3))
        up, down = (x / x.norm(dim=1, keepdim=True) for x in (up, down))
        down[:30] = size * up[:30] + np.sqrt(1 - size**2) * down[:30]
        for layer, weight in ((mlp.gate_proj, gate), (mlp.up_proj, up), (mlp.down_proj, down.T)):
            layer.weight.copy_(weight)
    found = gated_function(
        Network(model, name="gated"), seed=int(rng.integers(1 << 31)), progress=False
    )
    return _split(found.table, 30, size)


def _position(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    n_sets, n_stretches, n_units, n_samples = 24, 8, 200, 40
    share = np.full((n_stretches, n_units), 0.3)
    share[: n_stretches // 2, :40] += size / 2
    share[n_stretches // 2 :, :40] -= size / 2
    active = rng.binomial(n_samples, share, (n_sets, n_stretches, n_units)).astype(float)
    samples = np.full((n_sets, n_stretches, 1), float(n_samples))
    _, p = position_test(active, samples, n_permutations=199, seed=int(rng.integers(1 << 31)))
    return _split(pd.DataFrame({"p": p}), 40, size)


def _lazy(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Layers whose share of nonzero activations is smaller; nineteen networks without training."""
    n_layers, width = 20, 30
    units = {"site": np.repeat([f"blocks.{i}.mlp.neurons" for i in range(n_layers)], width),
             "index": np.tile(np.arange(width), n_layers)}  # fmt: skip

    def network(shift: float) -> Any:
        # What the samples share makes shares vary from network to network, and layer to layer.
        bias = np.repeat(0.1 * rng.standard_normal(n_layers), width)
        bias[: 8 * width] -= shift
        return recording(np.maximum(rng.standard_normal((60, len(bias))) + bias, 0), units=units)

    table = lazy(network(size), untrained=[network(0.0) for _ in range(19)], correction=None).table
    return _split(table, 8, size)


def _voids(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Of twelve layers one changes the norm less."""
    n_texts, length, n_layers = 16, 8, 12
    changes = 2 + rng.standard_normal((n_texts, 1, n_layers))
    changes = changes + rng.standard_normal((n_texts, length, n_layers))
    changes[..., 6] -= size
    norms = 50 + np.cumsum(np.pad(changes.reshape(-1, n_layers), ((0, 0), (1, 0))), axis=1)
    site = ["blocks.0.resid_pre", *(f"blocks.{i}.resid_post" for i in range(n_layers))]
    rec = recording(
        norms, samples={"document": np.repeat(np.arange(n_texts), length)},
        units={"site": site, "index": np.zeros(len(site), int)},
    )  # fmt: skip
    p = voids(rec, alpha=0.5, correction=None, seed=int(rng.integers(1 << 31))).table["p"]
    p = p.to_numpy(float)
    # The first layers are held to little or nothing, and never voids.
    return (np.zeros(0), p[6:7]) if size else (p[4:], np.zeros(0))


def _coverage(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    def states(n: int, shift: float) -> Any:
        values = rng.beta(4, 4, (n, 100))
        values[:, :40] = np.clip(values[:, :40] + shift, 0, 1)
        return recording(values)

    table = coverage(
        states(400, 0.0), states(50, 0.0), states(50, size), bins=20, full_density=2.5,
        n_permutations=199, correction=None, progress=False, seed=int(rng.integers(1 << 31)),
    ).table  # fmt: skip
    return _split(table, 40, size)


def _relevance(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    query, relevant = np.repeat(np.arange(30), 4), np.tile([True, False, False, False], 30)
    values = rng.standard_normal((120, 200)) + rng.standard_normal((30, 200))[query]
    values[relevant, :40] += size
    rec = recording(values, samples={"relevant": relevant, "query": query})
    table = relevance(
        rec, n_permutations=199, correction=None, progress=False, seed=int(rng.integers(1 << 31))
    ).table
    return _split(table, 40, size)


def _hallucination(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Half of the subjects are asked to find neurons, the other half to test them."""

    def answers(first: int) -> Any:
        wrong = rng.random(60) < 0.5
        values = rng.random((120, 40))
        values[:60, :4] += size * wrong[:, None]
        samples = {"wrong": np.tile(wrong, 2), "part": np.repeat(["answer", "other"], 60),
                   "subject": np.tile(np.arange(60) + first, 2)}  # fmt: skip
        return recording(values, samples=samples)

    table = hallucination_neurons(
        answers(0), tested=answers(60), share=0.1, n_permutations=199, correction=None,
        seed=int(rng.integers(1 << 31)),
    ).table  # fmt: skip
    if size:
        return np.zeros(0), table["p"].to_numpy(float)[:4]
    return table.loc[table["h_neuron"], "p"].to_numpy(float), np.zeros(0)


def _comparative(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """The test that comparative analysis and heads share: runs with and without a head."""
    level, change = rng.standard_normal((2, 40, 200))
    change[:, :40] += size
    table = paired_test(
        level, level - change, units=pd.DataFrame({"unit": [f"n[{i}]" for i in range(200)]}),
        n_permutations=199, correction=None, progress=False, seed=int(rng.integers(1 << 31)),
    ).table  # fmt: skip
    return _split(table, 40, size)


def _truth(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    couple = np.repeat(np.arange(36), 2)
    values = rng.standard_normal((72, 200)) + rng.standard_normal((36, 200))[couple]
    values[:, :40] += size
    rec = recording(
        values, samples={"subject": np.repeat(["a", "b", "c"], 24), "couple": couple},
        quantity="attribution",
    )  # fmt: skip
    table = truth(
        rec, n_permutations=199, correction=None, progress=False, seed=int(rng.integers(1 << 31))
    ).table
    return _split(table, 40, size)


class _Words:
    pad_token_id, bos_token_id = 0, None

    def encode(self, text: str, add_special_tokens: bool = True, **options: Any) -> list[int]:
        return [int(word) for word in text.split() if word.isdigit()]


def _damage(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    """Random groups of neurons, and groups whose output raises the answer."""
    # As none of a group is drawn in its place, a group is to be a small share of its layer: of 24
    # neurons, the one that matters most lies in every sixth group of four, which then stands out.
    net = nissl.load(tiny("llama", intermediate_size=400), tokenizer=_Words())
    mlp = net.model.model.layers[1].mlp
    answer = 9
    prompts = [" ".join(map(str, rng.integers(10, 39, 5))) for _ in range(8)]
    facts = pd.DataFrame({"text": prompts, "answer": str(answer), "kind": ["k", "other"] * 4})
    with torch.no_grad():
        # What they write has the length it had, so that others match them.
        length = mlp.down_proj.weight.norm(dim=0)
        wanted = net.model.lm_head.weight[answer] / net.model.lm_head.weight[answer].norm()
        for unit in range(12):
            mixed = size * length[unit] * wanted + mlp.down_proj.weight[:, unit]
            sign = np.sign(float(_activity(net, prompts[::2], unit)))
            mlp.down_proj.weight[:, unit] = sign * mixed * length[unit] / mixed.norm()
    units = pd.DataFrame({
        "unit": [f"blocks.1.mlp.neurons[{i}]" for i in range(400)], "layer": 1, "weight": 1.0
    })  # fmt: skip

    def p(members: list[str], among: pd.DataFrame) -> float:
        found = damage(
            net, {"k": members}, facts, labels="kind", units=among, n_draws=19, correction=None,
            seed=int(rng.integers(1 << 31)), progress=False,
        ).table  # fmt: skip
        return float(found.loc[found["label"] == "k", "p"].iloc[0])

    rest = units.iloc[12:]
    if not size:
        return np.asarray([p(list(rng.choice(rest["unit"], 12, replace=False)), rest)]), np.zeros(0)
    return np.zeros(0), np.asarray([p(list(units["unit"][:12]), units)])


def _activity(net: Network, prompts: list[str], unit: int) -> torch.Tensor:
    ids = [[int(word) for word in prompt.split()] for prompt in prompts]
    neurons = net.run(ids, sites="blocks.1.mlp.neurons")["blocks.1.mlp.neurons"]
    return neurons[:, -1, unit].mean()


CASES = [
    Case(24, "relation", "120 facts of eight relations", "higher by so many standard deviations in "
         "one relation", (0.5, 1.0, 1.5), _relation),
    Case(38, "massive", "five texts of 30 tokens, 200 dimensions", "larger at the first token by "
         "so many medians", (3.0, 6.0, 12.0), _massive),
    Case(69, "lazy", "20 layers of 30 neurons, 60 samples, 19 networks without training",
         "activity before the ReLU lower by so many standard deviations", (0.1, 0.3, 0.5), _lazy,
         repeats=10),
    Case(103, "voids", "16 texts of eight tokens, twelve layers", "by how much less one layer "
         "changes the norm than others, in standard deviations over tokens", (0.5, 1.0, 1.5),
         _voids, repeats=20),
    Case(131, "universal", "400 tokens, two networks of 150 neurons", "correlation of a neuron "
         "with its partner", (0.2, 0.35, 0.5), _universal),
    Case(132, "gated_function", "weights of 200 neurons over 64 dimensions", "cosine of what is "
         "read and what is written", (0.2, 0.4, 0.6), _gated),
    Case(146, "relevance", "30 queries, four passages each", "more contributed to relevant "
         "passages, in standard deviations", (0.3, 0.6, 0.9), _relevance),
    Case(158, "comparative", "40 facts, with and without a head", "fall of the contribution, in "
         "standard deviations", (0.2, 0.4, 0.6), _comparative),
    Case(160, "position_test", "24 sets of windows, 40 samples a stretch", "difference in how "
         "often a neuron is active in either half", (0.02, 0.04, 0.08), _position, bound=True),
    Case(164, "language_neurons", "twelve articles in four languages", "more of the tokens of one "
         "language at which it is open", (0.05, 0.1, 0.2), _language),
    Case(167, "hallucination_neurons", "60 answers to find neurons, 60 to test them", "more "
         "contributed to wrong answers, which contribute from 0 to 1", (0.2, 0.4, 0.6),
         _hallucination, repeats=40),
    Case(172, "coverage", "400 inputs of training, 50 inside and 50 outside", "shift of the states "
         "outside, which range from 0 to 1", (0.05, 0.1, 0.2), _coverage),
    Case(184, "plnd", "twelve articles in four languages", "higher impact in one language", (0.05,
         0.1, 0.2), _plnd),
    Case(192, "programming_neurons", "eight files of three parts in four languages", "more of the "
         "tokens of one language at which it is open", (0.05, 0.1, 0.2), _programming),
    Case(205, "truth", "36 couples of questions of three subjects", "contribution, in standard "
         "deviations within a couple", (0.3, 0.6, 0.9), _truth),
    Case(24, "damage", "eight prompts, groups of twelve of 400 neurons", "how much of what they "
         "write is the answer, as a multiple of what they wrote", (0.5, 1.0, 2.0), _damage,
         repeats=20),
]  # fmt: skip
