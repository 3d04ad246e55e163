"""Chain of thought (system 110): two-hop facts in two stages, the bridge said first, or in one.

Small Llamas learn random facts, (a, r: b), and two-hop facts, (a, r, q: c), where q makes c of b.
Saying b first, do they answer two-hop facts whose parts they saw only singly (Yao et al. 2025)? At
which positions is the bridge b: where do states of the same bridge leave the answer, of others not?
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.statistics.figure import heatmap, save_figure
from nissl.training import Batches, small_language_model, train

SEEDS, ENTITIES, RELATIONS, SHOWN, UNSEEN, HELD, PLANTED = range(3), 50, 8, 64, 0.2, 0.1, 0.9
SIZES = {"d_model": 64, "n_layers": 4, "n_heads": 4, "d_mlp": 256, "context": 8}
HOW = {"learning_rate": 3e-3, "weight_decay": 0.1, "schedule": "cosine", "warmup": 100}
PARTS = {"first": (True, "arq", "b"), "second": (True, "arqb", "c"), "without": (False, "arq", "c")}


def world(seed):
    """Return chains a, r, q, b, c of facts drawn at random, and which are to be seen."""
    rng = np.random.default_rng(seed)
    makes = rng.integers(0, ENTITIES, (ENTITIES, RELATIONS))
    unseen = rng.random(makes.shape) < UNSEEN  # in chains
    a, r, q = (x.ravel() for x in np.indices((ENTITIES, RELATIONS, RELATIONS)))
    table = pd.DataFrame({"a": a, "r": r, "q": q, "b": (b := makes[a, r]), "c": makes[b, q]})
    kinds = [unseen[a, r] & unseen[b, q], unseen[a, r] | unseen[b, q], rng.random(len(a)) < HELD]
    return table.assign(part=np.select(kinds, ["ood", "mixed", "held"], "seen"))


def rows(table, columns):
    """Return tokens: entities, then relations behind them."""
    behind = [ENTITIES * (column in "rq") for column in columns]
    return torch.from_numpy(table[list(columns)].to_numpy() + behind)


def loss_of_said(model, batch):
    """Return the cross entropy of what is to be said."""
    ids, said = batch
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.mT, said[:, 1:], ignore_index=-100)


def trained(seed, stages):
    """Train on all single facts and the chains that are seen, or open what was trained."""
    table = world(seed)
    chains = rows(table[table["part"] == "seen"], "arqbc" if stages else "arqc")
    single = torch.nn.functional.pad(rows(table[table["q"] == 0], "arb"), (0, 1 + stages))
    said = [single.clone(), chains.clone()]
    said[0][:, :2] = said[0][:, 3:] = said[1][:, :3] = -100
    batches = Batches(torch.cat([single, chains]), torch.cat(said), batch_size=256, seed=seed)
    model = small_language_model(vocabulary=ENTITIES + RELATIONS, seed=seed, **SIZES)
    return train(model, batches, loss=loss_of_said, steps=1500, progress=False, **HOW).model


def right(seed, stages):
    """Return for each part how often answers are right, by luck, and with an effect planted."""
    table, model = world(seed), trained(seed, stages)
    ids = rows(table, "arq")
    for _ in range(1 + stages):
        ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    said, lucky = ids[:, -1].numpy(), world(seed + 100)["c"]  # facts drawn again
    found = pd.DataFrame({"right": said == table["c"], "luck": said == lucky})
    found["planted"] = found["right"] | (np.random.default_rng(seed).random(len(said)) < PLANTED)
    return found.groupby(table["part"]).mean().assign(stages=stages)


def bridges(net, prompts, same, other, right, wrong):
    """Return by position and block what another bridge takes and the same leaves; and the whole."""
    pairs = nissl.behaviour.Behaviour(net, prompts, other, right=right, wrong=wrong)
    found = pd.DataFrame(0.0, index=range(len(prompts[0])), columns=range(net.n_layers))
    for to, sign in ((same, 1), (other, -1)):
        for block, (site, x) in enumerate(net.run(to, sites="blocks.*.resid_pre").items()):
            for position in found.index:
                with net.edit(nissl.patch({site: x}, positions=position)):
                    found.loc[position, block] += sign * float(pairs.clean().mean())
    return found, float((pairs.clean_value - pairs.corrupted_value).mean())


def shares(seed, stages, prompt, answer):
    """Return shares of the answer by `bridges` of chains that were seen in training."""
    seen, rng, found = world(seed).query("part == 'seen'"), np.random.default_rng(seed), []
    for x in seen.sample(SHOWN, random_state=rng).itertuples():
        new = seen[(seen["q"] == x.q) & (seen["a"] != x.a) & (seen["r"] != x.r)]
        same, other = new[new["b"] == x.b], new[(new["b"] != x.b) & (new["c"] != x.c)]
        if len(same):
            found.append((x.Index, rng.choice(same.index), rng.choice(other.index)))
    three = [seen.loc[list(index)] for index in zip(*found, strict=True)]
    answers = [three[i][answer].tolist() for i in (0, 2)]
    net, ids = nissl.load(trained(seed, stages)), [rows(x, prompt).tolist() for x in three]
    return np.divide(*bridges(net, *ids, *answers)).set_axis(list(prompt))


if __name__ == "__main__":
    shown = {name: [shares(seed, *how) for seed in SEEDS] for name, how in PARTS.items()}
    every = pd.concat([right(seed, stages) for seed in SEEDS for stages in (True, False)])
    ood = every.loc["ood"].groupby("stages")
    axes = heatmap(pd.concat({name: tables[0] for name, tables in shown.items()}), numbers=True)
    save_figure(axes.figure, "out/circuits/chain_of_thought.png")
    measured = {"ood": float(ood["right"].min()[True])}
    for part, table in every.groupby("part"):
        measured[f"{part}_means"] = table.groupby("stages")["right"].mean().tolist()
    for name, places in {"first": "rq", "second": "rqb", "without": "rq"}.items():
        for x in places:
            every_seed = [table.loc[x] for table in shown[name]]
            measured[f"{name}_at_{x}"] = np.mean(every_seed, axis=0).tolist()
    nissl.claim(
        "chain_of_thought",
        system=110,
        says="Taught to say the bridge first, a transformer combines facts it only saw singly.",
        measured=measured,
        null={"ood": float(ood["right"].max()[False]), "luck": float(ood["luck"].max().max())},
        rule="ood > null.ood + 0.3 and ood > null.luck + 0.3",
        power={"ood": float(ood["planted"].min()[True])},
        data=f"Llamas of four blocks, {ENTITIES} entities, {RELATIONS} relations; ood: chains of "
        f"facts in no other, the least of {len(SEEDS)} seeds, its null the most without; lists: "
        "without stages, with; at: by block, share of the answer that depends on the bridge there",
    )
