"""Induction heads of a language model (system 236): without them it does not go on as before.

The paper (Olsson et al. 2022) finds that ablating the heads which match prefixes takes most of
in-context learning away. Here the ten of SmolLM2 that match prefixes most on random tokens said
twice are silenced, and the loss is measured on other sequences, where tokens are said again. Beside
them stand draws of as many heads of the same blocks that do not match prefixes. For power, the same
is done to the induction head of a circuit that is written by hand.
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.behaviour import repeated_tokens
from nissl.circuits import head_scores
from nissl.statistics import Test
from nissl.statistics.figure import bar, save_figure

N, TOP, DRAWS = 16, 10, 19


def loss(net, ids, heads=()):
    """Return the loss of tokens said for the first time, and of those said again."""
    half, parts = ids.shape[1] // 2, []
    with net.edit(*[nissl.ablate(head) for head in heads]):
        for rows in ids.split(4):
            logits = net.run(rows, sites="logits")["logits"][:, :-1]
            each = torch.nn.functional.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
            parts.append(torch.stack([each[:, : half - 1].mean(1), each[:, half + 1 :].mean(1)], 1))
    return torch.cat(parts).mean(0).numpy()


def rises(net, top, length):
    """Return by how much both losses rise without the best heads, and without as many others."""
    found = head_scores(net, n=N, length=length, test=Test(seed=0), progress=False)
    table, chosen = found.table, found.significant().top(top)
    others = table[(table["q"] > 0.05) & table["layer"].isin(chosen.table["layer"])]
    blocks = chosen.table["layer"].value_counts()
    ids = repeated_tokens(net, n=N, length=length, seed=1)
    whole = loss(net, ids)
    draws = []
    for draw in range(DRAWS):
        drawn = [
            others.loc[others["layer"] == layer, "unit"].sample(n, random_state=draw)
            for layer, n in blocks.items()
        ]
        draws.append(loss(net, ids, [unit for units in drawn for unit in units]) - whole)
    return loss(net, ids, chosen.units) - whole, np.stack(draws), whole, chosen


net = nissl.load("smollm2")
rise, draws, whole, chosen = rises(net, TOP, length=25)
planted, planted_draws, *_ = rises(nissl.load("planted-induction"), 1, length=12)


table = pd.DataFrame(
    {"induction heads": rise, "as many others": draws.mean(0)}, index=["said first", "said again"]
)
axes = bar(table)
axes.set(ylabel="rise of the loss (nats)", title="Without them")
save_figure(axes.figure, "out/circuits/induction_heads.png")

nissl.claim(
    "induction_heads",
    system=236,
    says="Ablating heads that match prefixes takes in-context copying away.",
    measured={
        "rise": float(rise[1]),
        "rise_said_first": float(rise[0]),
        "loss_said_again": float(whole[1]),
        "loss_said_first": float(whole[0]),
        "least_prefix_matching": float(chosen.table["mean"].min()),
    },
    null={"rise": float(draws[:, 1].max()), "rise_said_first": float(draws[:, 0].max())},
    rule="rise > 2 * null.rise and rise > rise_said_first",
    power={
        "rise": float(planted[1]),
        "rise_said_first": float(planted[0]),
        "null.rise": float(planted_draws[:, 1].max()),
    },
    data=f"smollm2 on random tokens said twice: {TOP} heads by prefix matching in {N} sequences, "
    f"the loss in {N} others; null: the most of {DRAWS} draws of as many heads of the same blocks "
    "that do not match prefixes; power: the head of planted-induction",
)
