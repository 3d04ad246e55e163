"""Causal head gating (system 269): heads that gates tell apart, silenced on other prompts.

The paper (Nam et al. 2025) fits a gate to each attention head, pushed up and pushed down, and calls
heads facilitating, interfering or irrelevant. Gates are fitted here to half of the indirect objects
that SmolLM2 names; the 5% of heads that are most of each kind are silenced on the other half. The
difference between facilitating and interfering heads is held against heads that trade places within
layers. The same in stories15m on plain texts; and contrasted: segments said twice but not texts.
"""

import numpy as np
import torch

import nissl
from nissl.behaviour import prediction_loss, repeated_tokens
from nissl.circuits import head_gates
from nissl.statistics.figure import bar, panels, save_figure

DRAWS, STEPS, KINDS = 19, 30, ["facilitation", "interference", "irrelevance"]


def rise(net, units, loss):
    """Return by how much a loss rises without some heads."""
    with torch.no_grad():
        whole = float(loss())
        with net.edit(nissl.ablate(list(units))):
            return float(loss()) - whole


def rises(net, found, loss, top, seed=0):
    """Return the rise without heads of each kind, and in draws without those of the first two.

    In a draw, heads of one layer trade places.
    """
    rng, table = np.random.default_rng(seed), found.table
    own = {kind: rise(net, found.top(top, by=kind).units, loss) for kind in KINDS}
    draws = []
    for _ in range(DRAWS):
        dealt = table.assign(unit=table.groupby("layer")["unit"].transform(rng.permutation))
        drawn = [dealt.nlargest(top, kind)["unit"] for kind in KINDS[:2]]
        draws.append([rise(net, units, loss) for units in drawn])
    return own, np.transpose(draws)


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    fitted, tested = nissl.behaviour.indirect_object(net, n=20, progress=False).halves
    found = head_gates(net, fitted, steps=STEPS, progress=False)
    own, draws = rises(net, found, prediction_loss(net, tested), len(found.table) // 20)

    small = nissl.load("stories15m", progress=False)
    stories = small.generate([[1]] * 64, max_new_tokens=32, sample=True)
    first, second = stories[:12], stories[12:]
    texts = head_gates(small, first, steps=STEPS, progress=False)
    top = len(texts.table) // 10
    of_texts, drawn_of_texts = rises(small, texts, prediction_loss(small, second), top)
    twice = [repeated_tokens(small, n=12, length=16, seed=seed) for seed in (0, 1)]
    both = head_gates(small, twice[0], contrast=first, steps=STEPS, progress=False)
    heads = both.top(top, by="facilitation").units
    apart = [
        rise(small, units, prediction_loss(small, twice[1]))
        - rise(small, units, prediction_loss(small, second))
        for units in (heads, texts.top(top, by="facilitation").units)
    ]

    figure, axes = panels(2)
    for ax, given, name in zip(axes, (own, of_texts), ("indirect objects", "stories"), strict=True):
        bar(given, axes=ax).set(ylabel="rise of the loss without them (nats)", title=name)
    save_figure(figure, "out/circuits/causal_head_gating.png")

    nissl.claim(
        "causal_head_gating",
        system=269,
        says="Heads that gates call facilitating do more than those that they call interfering.",
        measured={
            "difference": own["facilitation"] - own["interference"],
            **{f"rise_{kind}": value for kind, value in own.items()},
            "stories_difference": of_texts["facilitation"] - of_texts["interference"],
            **{f"stories_rise_{kind}": value for kind, value in of_texts.items()},
            "repeated_less_stories": apart[0],
        },
        null={
            "difference": (draws[0] - draws[1]).max(),
            "rise_facilitation": draws[0].mean(),
            "rise_interference": draws[1].mean(),
            "stories_difference": (drawn_of_texts[0] - drawn_of_texts[1]).max(),
            "stories_rise_facilitation": drawn_of_texts[0].mean(),
            "stories_rise_interference": drawn_of_texts[1].mean(),
            "repeated_less_stories": apart[1],
        },
        rule="difference > 0.1 and difference > 1.5 * null.difference",
        data=f"smollm2; gates on {len(fitted)} indirect objects, tested on {len(tested)} others; "
        "difference: of the loss without facilitating and without interfering heads, a 20th of "
        f"all each; null: the largest of {DRAWS} draws in which heads trade places within layers; "
        "stories15m on stories of its own; heads of random tokens said twice contrasted with these",
    )
