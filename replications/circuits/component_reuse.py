"""Component reuse (system 70): indirect objects and colours of objects share heads.

The paper (Merullo et al. 2024) finds that most heads of the circuit for indirect objects serve to
say the colour of an object too, and repairs wrong answers by adjusting four of them. Here relevance
patching finds the tenth of SmolLM2's heads that do most for either task, on one half of the pairs.
Do they share more heads than random ones of about the same depth, and does colour suffer without
those of indirect objects? Then the four of these that help colours most, on one half of questions,
right or wrong, are doubled on the other, beside the best four of random heads.
"""

from itertools import permutations

import numpy as np
import pandas as pd

import nissl
from nissl.behaviour import Behaviour, PromptScorer, first_tokens, indirect_object, make_task
from nissl.circuits import dissociation, effects
from nissl.statistics import MatchedUnits, Test
from nissl.statistics.figure import bar, heatmap, panels, save_figure

SEED, N, HEADS, FEW, DRAWS, ASKED, BAND = 0, 24, 27, 4, 19, 64, 3
COLOURS = {"first": "red blue green black", "second": "white yellow pink brown"}
OBJECTS = {"first": "pen cup book ball", "second": "hat key box ring"}
QUIET, NULL = {"progress": False}, MatchedUnits(("layer",), n_nearest=30)


def questions():
    """Return pairs that ask for the colour of one of two objects; halves share no word."""
    rows = []
    for half in COLOURS:
        for colours in permutations(COLOURS[half].split(), 2):
            for objects in permutations(OBJECTS[half].split(), 2):
                (c, o), (d, p) = zip(colours, objects, strict=True)
                for (asked, answer), (other, wrong) in permutations([(o, c), (p, d)]):
                    ask = [f"I have a {c} {o} and a {d} {p}. The {x} is" for x in (asked, other)]
                    rows.append([*ask, f" {answer}", f" {wrong}", half])
    table = pd.DataFrame(rows, columns=["text", "corrupted", "answer", "wrong", "half"])
    return table.sample(frac=1, random_state=SEED).reset_index(drop=True)


def strength(pairs, patching):
    """Return what each head does for a behaviour, about, by relevance patching."""
    how = {"method": "relp", "positions": "all", "test": None, **QUIET}
    table = effects(pairs, over="attn.z", patching=patching, **how).table
    return table.set_index("unit")["indirect_effect"], table[["unit", "layer"]]


def accuracy(net, rows, groups):
    """Return how often the right colour is likelier than the other, with each group doubled."""
    scorer = PromptScorer(net, list(rows["text"]), list(rows["answer"]))
    edits = [nissl.scale(list(units), by=2.0) if len(units) else None for units in groups]
    return (scorer.preferences(first_tokens(net, rows["wrong"]), edits, **QUIET) > 0).mean(1)


def repair(net, found_on, tested_on, heads, units, n):
    """Return accuracy as it is, with the best n heads doubled, and with those of random heads."""
    answers = {"right": list(found_on["answer"]), "wrong": list(found_on["wrong"])}
    pairs = Behaviour(net, list(found_on["text"]), list(found_on["corrupted"]), **answers)
    gain = strength(pairs, "zero")[0]  # what zero takes is about what doubling adds
    drawn = NULL.draw(units, heads, DRAWS, seed=SEED)
    sets = [heads, *(list(units["unit"].iloc[rows]) for rows in drawn)]
    few = [list(gain[some].nlargest(n).index) for some in sets]
    as_it_is, repaired, *others = accuracy(net, tested_on, [[], *few])
    return as_it_is, repaired, np.array(others), few[0]


if __name__ == "__main__":
    net, asked = nissl.load("smollm2"), questions()
    tasks = {
        "indirect objects": indirect_object(net, n=N, seed=SEED, **QUIET),
        "colours": make_task(net, asked, name="colours of objects", n=N, **QUIET),
    }
    first, second = ({k: t.halves[i].behaviour() for k, t in tasks.items()} for i in (0, 1))
    found = {name: strength(pairs, "noising") for name, pairs in first.items()}
    groups = {name: list(x.abs().nlargest(HEADS).index) for name, (x, _) in found.items()}
    units = found["colours"][1].eval(f"layer = layer // {BAND}")  # a block has only nine heads
    test = Test(DRAWS, null=NULL, seed=SEED)
    both = dissociation(groups, on=second, units=units, test=test, **QUIET)
    table = both.table.set_index(["unit", "label"])
    halves = [asked[asked["half"] == half].head(ASKED) for half in COLOURS]
    before, after, others, few = repair(net, *halves, groups["indirect objects"], units, FEW)
    damage = table["damage"].unstack().drop(columns="own - others")
    figure, axes = panels(2)
    heatmap(damage.rename_axis(index="heads ablated", columns="share lost"), axes=axes[0])
    bar({"before": before, "repaired": after, "random": others.mean()}, axes=axes[1])
    save_figure(figure, "out/circuits/component_reuse.png")
    nissl.claim(
        "component_reuse",
        system=70,
        says="Most heads of the circuit for indirect objects are in that of another task too.",
        measured={
            "overlap": both.provenance["shared"] / HEADS,
            "overlap_p": both.provenance["p_shared"],
            "colours_lost": table["damage"][tuple(tasks)],
            "colours_lost_p": table["p"][tuple(tasks)],
            "accuracy": before,
            "repaired": after,
            "repaired_p": (1 + int((others >= after).sum())) / (DRAWS + 1),
            "heads": few,
        },
        null={
            "overlap": both.provenance["shared_by_chance"] / HEADS,
            "colours_lost": table["null_mean"][tuple(tasks)],
            "repaired": others.mean(),
        },
        rule="overlap >= 0.5 and overlap_p < 0.01",
        data=f"smollm2; {N} pairs a task, one half finds {HEADS} heads of each; overlap: the share "
        "of the heads for indirect objects that serve colours, its null random heads of the same "
        f"{BAND} blocks; colours_lost: of the other half, without the heads for indirect objects; "
        f"accuracy: of {ASKED} other questions; repaired: with {FEW} of those heads doubled, null "
        f"and p: the best {FEW} of {DRAWS} groups of random heads",
    )
