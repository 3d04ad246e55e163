"""Double dissociation: two heads planted in one network, one head that serves both, and chance."""

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour
from nissl.circuits import dissociation
from nissl.specimens.planted import planted_circuit
from nissl.specimens.planted.builder import SIZE, Builder, tokenizer
from nissl.statistics import Test

HEADS = {
    "previous": ["blocks.1.attn.z[head 2]", "blocks.1.attn.z[head 3]"],
    "induction": ["blocks.1.attn.z[head 4]", "blocks.1.attn.z[head 5]"],
}
UNITS = pd.DataFrame(
    [(f"blocks.{i}.attn.z[head {h}]", i) for i in range(2) for h in range(8)],
    columns=["unit", "layer"],
)
QUIET = {"units": UNITS, "progress": False}


def pairs_of(net, items):
    answers = {"right": list(items["answer"]), "wrong": list(items["wrong"])}
    return Behaviour(net, list(items["text"]), list(items["corrupted"]), **answers)


@pytest.fixture(scope="module")
def both():
    """Two heads that say the word before, and two that go on as after the same word."""
    builder, words = Builder(2, seed=0), tokenizer()
    word, middle, answer = (builder.space[name] for name in ("word", "middle", "answer"))
    builder.head(0, 1, value=word, write=middle)
    match = {"query": word / SIZE, "key": middle / SIZE, "strength": 5.0, "rest": 2.0}
    for head in (0, 1):
        builder.head(1, 2 + head, value=word, write=answer / 2)
        builder.head(1, 4 + head, **match, value=word, write=answer / 2)
    builder.add_distractors()
    circuits = {"previous": "previous_token", "induction": "induction"}
    items = {name: planted_circuit(circuit).pairs for name, circuit in circuits.items()}
    texts = [text for table in items.values() for text in table["text"]]
    builder.set_norms(words(texts, return_tensors="pt")["input_ids"])
    net = nissl.load(builder.model, tokenizer=words)
    return {name: pairs_of(net, table[:16]) for name, table in items.items()}


def test_heads_are_told_apart_and_shares_are_those_of_a_slow_form(both):
    found = dissociation(HEADS, on=both, test=Test(n_permutations=39), **QUIET)
    damage = found.table.pivot(index="unit", columns="label", values="damage")
    assert np.diag(damage.loc[list(HEADS), list(HEADS)]).min() > 0.3
    assert abs(damage.loc["previous", "induction"]) < 0.1
    assert abs(damage.loc["induction", "previous"]) < 0.1
    assert found.provenance["p_dissociation"] <= 0.1  # a draw may be the heads themselves
    assert found.table["p_pairs"].max() == 0.001
    assert found.provenance["shared"] == 0
    pairs = both["previous"]
    module = pairs.net.model.model.layers[1].self_attn.o_proj

    def silenced(module, args):
        x = args[0].clone()
        x[..., 2 * 32 : 4 * 32] = 0
        return (x,)

    handle = module.register_forward_pre_hook(silenced)
    falls = []
    for i, ids in enumerate(pairs.clean_ids):
        with torch.no_grad():
            logits = pairs.net.model(torch.as_tensor(ids)[None]).logits[0, -1]
        falls.append(pairs.clean_value[i] - logits[pairs.right[i, 0]] + logits[pairs.wrong[i, 0]])
    handle.remove()
    size = float(pairs.clean_value.mean() - pairs.corrupted_value.mean())
    assert damage.loc["previous", "previous"] == pytest.approx(float(np.mean(falls)) / size)


def test_one_head_of_both_is_no_dissociation(both):
    net = both["previous"].net
    items = planted_circuit("previous_token").pairs
    least = []
    for seed in range(6):
        drawn = items.sample(24, random_state=seed)
        on = {"one": pairs_of(net, drawn[:12]), "other": pairs_of(net, drawn[12:])}
        # Heads that do nothing tip the balance one way or the other.
        rng = np.random.default_rng(seed)
        idle = rng.choice(UNITS["unit"][:8], 2, replace=False)
        groups = {k: [*HEADS["previous"], unit] for k, unit in zip(on, idle, strict=True)}
        found = dissociation(groups, on=on, test=Test(seed=seed), **QUIET)
        assert found.table.loc[found.table["label"] == "one", "damage"].min() > 0.3
        assert found.provenance["shared"] == 2
        least.append(found.provenance["p_dissociation"])
    assert min(least) > 0.05


def test_a_random_group_is_no_dissociation(both):
    groups = {k: ["blocks.0.attn.z[head 3]"] for k in HEADS}
    found = dissociation(groups, on=both, **QUIET)
    assert found.provenance["p_dissociation"] > 0.05


def test_what_cannot_be_is_said(both):
    with pytest.raises(NisslError, match="two behaviours"):
        dissociation({"previous": ["x"]}, on=both, **QUIET)
    pairs = both["previous"]
    same = Behaviour(
        pairs.net,
        pairs.clean_ids,
        pairs.clean_ids,
        right=pairs.right.tolist(),
        wrong=pairs.wrong.tolist(),
    )
    with pytest.raises(NisslError, match="both measure"):
        dissociation(HEADS, on={**both, "previous": same}, **QUIET)
