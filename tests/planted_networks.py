"""Networks with effects of a stated size planted: the cases of `planted` that run a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.behaviour import ablation_effect, head_damage, pruning_effect
from nissl.network import Network
from nissl.selectivity import comparative, erasing, gated_function
from nissl.statistics import Finding, Test
from tiny import SPECIAL, WORDS, Words, pair_tokenizer, tiny

Array = np.ndarray[Any, Any]


def split(table: pd.DataFrame, n_planted: int, size: float) -> tuple[Array, Array]:
    """Part rows that hold nothing from the first, which hold an effect of a size above zero."""
    p = table["p"].to_numpy(float)
    first = n_planted if size else 0
    return p[first:], p[:first]


def gated_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
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
        Network(model, name="gated"),
        test=Test(correction="bh", seed=int(rng.integers(1 << 31))),
        progress=False,
    )
    return split(found.table, 30, size)


def _signed(rng: np.random.Generator) -> tuple[Network, Array, Array]:
    """A network, prompts and answers, of which the next token says the opposite.

    Where an answer or its opposite is asked for at random, what a head or a neuron does to it is as
    often good as bad. The unembedding is small, so that logits are log probabilities but for what
    all tokens share.
    """
    model = tiny(
        "llama",
        hidden_size=64,
        intermediate_size=100,
        num_hidden_layers=1,
        num_attention_heads=16,
        num_key_value_heads=16,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.from_numpy(0.3 * rng.standard_normal(parameter.shape)))
        head = model.lm_head.weight
        head[1::2] = -head[::2]
        head *= 0.01
    prompts = rng.integers(3, 40, (40, 5))
    return nissl.load(model, tokenizer=Words()), prompts, 2 * rng.integers(5, 20, 40)


HEAD = nissl.ablate(sites="blocks.0.attn.z", heads=0)


def _facts_for(
    good: Array, prompts: Array, answers: Array, rng: np.random.Generator, size: float
) -> pd.DataFrame:
    """Ask for what is `good` for the answer, or the opposite, more often by `size` than not."""
    wanted = np.where(rng.random(len(good)) < (1 + size) / 2, good > 0, good <= 0)
    return pd.DataFrame(
        {
            "text": [" ".join(map(str, prompt)) for prompt in prompts],
            "answer": np.where(wanted, answers, answers + 1).astype(str),
        }
    )


def head_damage_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    net, prompts, answers = _signed(rng)

    def logit() -> Array:
        logits = net.run(list(prompts), sites="logits")["logits"][:, -1].numpy()
        return np.asarray(logits[np.arange(len(answers)), answers])

    whole = logit()
    with net.edit(HEAD):
        good = whole - logit()
    facts = _facts_for(good, prompts, answers, rng, size)
    table = head_damage(
        net,
        facts,
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return split(table, 1, size)


def comparative_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    net, prompts, answers = _signed(rng)
    site = "blocks.0.mlp.neurons"

    def active() -> Array:
        return np.asarray(net.run(list(prompts), sites=site)[site][:, -1, 0].numpy())

    whole = active()
    with net.edit(HEAD):
        fall = whole - active()
    model = net.model
    says = (model.lm_head.weight * model.model.norm.weight) @ model.model.layers[
        0
    ].mlp.down_proj.weight[:, 0]
    good = fall * says.detach().numpy()[answers]
    facts = _facts_for(good, prompts, answers, rng, size)
    table = comparative(
        net,
        facts,
        edit=HEAD,
        test=Test(n_permutations=199, correction=None, seed=int(rng.integers(1 << 31))),
        batch_size=40,
        progress=False,
    ).table
    return split(table, 1, size)


def erasing_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    model = tiny(
        "llama", hidden_size=64, intermediate_size=200, num_hidden_layers=1, vocab_size=1000
    )
    trigger = rng.choice(np.arange(3, 1000), 200, replace=False)
    with torch.no_grad():
        model.model.norm.weight.fill_(1.0)
        says = torch.from_numpy(rng.standard_normal((1000, 64)))
        write = torch.from_numpy(rng.standard_normal((200, 64)))
        model.lm_head.weight.copy_(says)
        says, write = (x / x.norm(dim=1, keepdim=True) for x in (says, write))
        write[:30] = np.sqrt(1 - size**2) * write[:30] - size * says[trigger[:30]]
        model.model.layers[0].mlp.down_proj.weight.copy_(write.T)
    detectors = pd.DataFrame(
        {
            "unit": [f"blocks.0.mlp.neurons[{i}]" for i in range(200)],
            "layer": 0,
            "kind": "token",
            "trigger": trigger,
            "triggers": "",
            "sign": rng.choice([-1, 1], 200) if not size else 1,
        }
    )
    found = erasing(
        Network(model, name="erasing"),
        Finding(detectors, "ngram", "none"),
        test=Test(n_permutations=199, correction="bh", seed=int(rng.integers(1 << 31))),
    )
    return split(found.table, 30, size)


ANSWER = 9


def _group(
    rng: np.random.Generator, size: float, *, width: int, texts: list[str]
) -> tuple[Network, list[str], pd.DataFrame]:
    """A network, a group of twelve neurons of its middle layer, and all that may be drawn.

    Of size 0 the group is any twelve. Otherwise it is the first, which write the answer at the end
    of the texts.
    """
    net = nissl.load(tiny("llama", intermediate_size=width), tokenizer=Words())
    mlp = net.model.model.layers[1].mlp
    site = "blocks.1.mlp.neurons"
    with torch.no_grad():
        for weight in (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight):
            weight.copy_(torch.from_numpy(0.3 * rng.standard_normal(weight.shape)))
        # What they write has the length it had, so that others match them.
        ids = [[int(word) for word in text.split()] for text in texts]
        activity = net.run(ids, sites=site)[site][:, -1]
        length = mlp.down_proj.weight.norm(dim=0)
        weight = activity.abs().mean(dim=0) * length
        if size:
            wanted = net.model.lm_head.weight[ANSWER]
            wanted = wanted / wanted.norm()
            for unit in range(12):
                mixed = size * length[unit] * wanted + mlp.down_proj.weight[:, unit]
                sign = activity[:, unit].mean().sign()
                mlp.down_proj.weight[:, unit] = sign * mixed * length[unit] / mixed.norm()
    units = pd.DataFrame(
        {"unit": [f"{site}[{i}]" for i in range(width)], "layer": 1, "weight": weight.numpy()}
    )
    members = range(12) if size else rng.choice(width, 12, replace=False)
    return net, list(units["unit"].iloc[list(members)]), units


def _one(p: pd.Series, size: float) -> tuple[Array, Array]:
    """Part the one p of a group: of nothing, or of an effect."""
    one = p.to_numpy(float)
    return (one[:0], one) if size else (one, one[:0])


def _prompts(rng: np.random.Generator) -> list[str]:
    return [" ".join(map(str, rng.integers(10, 39, 5))) for _ in range(8)]


def damage_case(rng: np.random.Generator, size: float, *, width: int = 2000) -> tuple[Array, Array]:
    prompts = _prompts(rng)
    net, members, units = _group(rng, size, width=width, texts=prompts[::2])
    facts = pd.DataFrame({"text": prompts, "answer": str(ANSWER), "kind": ["k", "other"] * 4})
    table = ablation_effect(
        net,
        {"k": members},
        on=facts,
        labels="kind",
        units=units,
        test=Test(n_permutations=19, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return _one(table.loc[table["label"] == "k", "p"], size)


def damage_of_48_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    return damage_case(rng, size, width=48)


def loss_damage_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    ends = f" {ANSWER}" * 5
    texts = [
        f"{prompt[:2]}{ends}" if i % 2 == 0 else prompt for i, prompt in enumerate(_prompts(rng))
    ]
    net, members, units = _group(rng, size, width=2000, texts=texts[::2])
    table = ablation_effect(
        net,
        {"k": members},
        on=pd.DataFrame({"text": texts, "kind": ["k", "other"] * 4}),
        labels="kind",
        units=units,
        test=Test(n_permutations=19, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
        measure="loss",
    ).table
    return _one(table.loc[table["label"] == "k", "p"], size)


def keeping_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    prompts = _prompts(rng)
    net, members, units = _group(rng, size, width=400, texts=prompts)
    facts = pd.DataFrame({"text": prompts, "answer": str(ANSWER)})
    table = pruning_effect(
        net,
        members,
        facts,
        units=units,
        test=Test(n_permutations=19, seed=int(rng.integers(1 << 31))),
        progress=False,
    ).table
    return _one(table.loc[table["label"] == "log_probability", "p"], size)


class _Ranker(torch.nn.Module):
    """Scores a pair of texts by 300 neurons; of a size, twelve write that words are shared."""

    def __init__(self, rng: np.random.Generator, size: float) -> None:
        super().__init__()
        n = len(WORDS)
        self.embed = torch.nn.Embedding(len(SPECIAL) + n, n)
        self.embed.weight.data = torch.cat([torch.zeros(len(SPECIAL), n), torch.eye(n)])
        read, write = 0.5 * rng.standard_normal((300, 2 * n)), 0.1 * rng.standard_normal(300)
        bias = np.zeros(300)
        if size:
            read[:n], write[:n], bias[:n] = np.tile(np.eye(n), 2), size, -1
        self.read, self.open = torch.nn.Linear(2 * n, 300), torch.nn.ReLU()
        self.write = torch.nn.Linear(300, 1)
        self.read.weight.data, self.read.bias.data = _float(read), _float(bias)
        self.write.weight.data = _float(write)[None]

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> torch.Tensor:
        x = self.embed(input_ids) * attention_mask[..., None]
        parts = [(x * (token_type_ids == part)[..., None]).sum(1) for part in (0, 1)]
        score: torch.Tensor = self.write(self.open(self.read(torch.cat(parts, -1))))
        return score


def _float(values: Array) -> torch.Tensor:
    return torch.from_numpy(values).float()


def ranking_damage_case(rng: np.random.Generator, size: float) -> tuple[Array, Array]:
    rows = []
    for query in range(16):
        words = rng.permutation(WORDS)
        for place in range(6):  # the first shares a word with the query
            passage = [words[0 if place == 0 else 2], *rng.permutation(words[3:])[:2]]
            rows.append((" ".join(words[:2]), " ".join(passage), place == 0, query))
    pairs = pd.DataFrame(rows, columns=["query", "passage", "relevant", "number"])
    pairs = pairs.groupby("query").filter(lambda rows: len(rows) == 6)  # another has the words
    net = nissl.load(_Ranker(rng, size), tokenizer=pair_tokenizer())
    kind = np.where(pairs["number"] % 2, "k", "other")
    weight = net.model.write.weight[0].detach().abs().double().numpy()
    units = pd.DataFrame({"unit": [f"open[{i}]" for i in range(300)], "layer": 0, "weight": weight})
    if size:  # they are open at few pairs
        units.loc[:11, "weight"] = rng.choice(weight[12:], 12)
    members = range(12) if size else rng.choice(300, 12, replace=False)
    table = ablation_effect(
        net,
        {"k": [f"open[{i}]" for i in members]},
        on=pairs.assign(kind=kind),
        labels="kind",
        units=units,
        test=Test(n_permutations=19, correction=None, seed=int(rng.integers(1 << 31))),
        progress=False,
        measure="ranking",
    ).table
    return _one(table.loc[table["label"] == "k", "p"], size)
