"""Active-dormant heads (system 115): heads that rest at the first token, but for texts of a kind.

The paper (Guo et al. 2024) finds sinks, value drains and residual peaks together in trained models,
and heads that are sinks in texts of one kind and active in those of another, where alone they are
needed: one of Llama 2 is active on program code, and ablating it raises the loss there. Here
SmolLM2 reads programs and English prose. On one half of the texts the five heads are found that are
most dormant in prose and active in programs, and five the other way round; on the other half they
are silenced: how much more does the loss rise in texts of the kind in which they are active than in
the other? Beside them stand as many heads of the same blocks that tell kinds not apart.
"""

import numpy as np
import pandas as pd

import nissl
from nissl.behaviour import losses
from nissl.circuits import extreme_tokens, sink_shares
from nissl.statistics import Test, permutation_test
from nissl.statistics.figure import curve, heatmap, panels, save_figure

TEXTS, TOKENS, TOP, DRAWS = 20, 48, 5, 19  # texts of each kind, half of them to find heads
KINDS = {"program": "prose", "prose": "program"}  # active in the first, dormant in the second

net = nissl.load("smollm2")
texts = nissl.read("reader").drop_duplicates("title")
english = (texts["language"] == "english") | (texts["kind"] == "program")
texts = texts[english & texts["kind"].isin(KINDS) & (texts["text"].str.len() > 600)]
texts = texts.groupby("kind").sample(TEXTS, random_state=0).reset_index(drop=True)
# The first token is one that begins all texts of SmolLM2: what they begin with is no difference.
begin = net.token_id("<|endoftext|>")
ids = [[begin, *net.tokenizer.encode(text)[: TOKENS - 1]] for text in texts["text"]]
first = texts.groupby("kind").cumcount() < TEXTS // 2
found_on = pd.DataFrame({"text": [ids[i] for i in np.flatnonzero(first)]})
kinds = texts.loc[first, "kind"].to_numpy()
tested_on = [ids[i] for i in np.flatnonzero(~first)]
tested_kinds = texts.loc[~first, "kind"].to_numpy()

shares = sink_shares(net, found_on["text"].tolist(), length=TOKENS, progress=False)
found = permutation_test(
    shares, kinds == "prose", score="mean_difference", test=Test(seed=0), progress=False
)
table = found.table
groups = {
    "program": table.nlargest(TOP, "mean_difference"),
    "prose": table.nsmallest(TOP, "mean_difference"),
}
alike = table[table["p"] > 0.2]
extreme = extreme_tokens(net, found_on["text"].tolist(), length=TOKENS, progress=False).table


def rise(heads):
    """Return the mean rise of the loss without heads, by kind of text."""
    with net.edit(*[nissl.ablate(head) for head in heads]):
        after = losses(net, tested_on, batch_size=10, progress=False)
    return pd.Series(after - whole).groupby(tested_kinds).mean()


whole = losses(net, tested_on, batch_size=10, progress=False)
rises = pd.DataFrame({kind: rise(group["unit"]) for kind, group in groups.items()})
own = [rises.loc[kind, kind] - rises.loc[other, kind] for kind, other in KINDS.items()]
draws = []
for draw in range(DRAWS):
    each = []
    for kind, other in KINDS.items():
        blocks = groups[kind]["layer"].value_counts()
        drawn = [
            alike.loc[alike["layer"] == layer, "unit"].sample(n, random_state=draw)
            for layer, n in blocks.items()
        ]
        without = rise([unit for units in drawn for unit in units])
        each.append(without[kind] - without[other])
    draws.append(np.mean(each))

figure, axes = panels(2)
heatmap(rises, label="rise of the loss (nats)", numbers=True, axes=axes[0])
axes[0].set(xlabel="heads active in", ylabel="texts", title="Without them")
lines = extreme.pivot(index="layer", columns="label", values="excess")
curve(lines, axes=axes[1]).set(xlabel="block", title="The first token beside the others")
save_figure(figure, "out/circuits/active_dormant.png")

peaks = extreme[extreme["q"] <= 0.05].groupby("label")["excess"].max()
nissl.claim(
    "active_dormant",
    system=115,
    says="Heads that are sinks in texts of one kind and active in those of another are needed in "
    "the latter alone.",
    measured={
        "difference": float(np.mean(own)),
        "difference_programs": float(own[0]),
        "difference_prose": float(own[1]),
        "found": int((table["q"] <= 0.05).sum()),
        **{name: float(peaks.get(name, 0.0)) for name in ("sink", "value_drain", "residual_peak")},
    },
    null={"difference": float(max(draws))},
    rule="difference > null.difference and difference > 0",
    data=f"smollm2 on {TEXTS} programs and {TEXTS} texts of English prose, {TOKENS} tokens; heads "
    "found on half of the texts, tested on the others; difference: the rise of the loss without "
    f"{TOP} heads where they are active less that where they rest, mean over both kinds; null: the "
    f"most of {DRAWS} draws of as many heads of the same blocks that tell kinds not apart; sink, "
    "value_drain and residual_peak: the most by which the first token stands out in a block",
)
