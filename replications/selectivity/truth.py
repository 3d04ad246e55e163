"""Truth neurons (system 205): found on some subjects, needed for truth judgement on others.

SmolLM2 is offered a true and a false answer to facts about countries, words and nature: "Lima or
Tehran? Correct: The capital of Iran is". What each neuron contributes to the true answer less the
false one is found by integrated gradients. The neurons that contribute in two of the subjects are
set to zero, and the third is asked, beside random neurons of the same layers that write as much.
"""

import re

import numpy as np
import pandas as pd
from scipy.stats import combine_pvalues

import nissl
from nissl import behaviour
from nissl.selectivity import truth
from nissl.statistics import Test
from nissl.statistics.figure import bar, save_figure

SEED, STEPS, N_UNITS = 1, 20, 100  # couples of a seed that no choice of the method has seen
FIND, KEPT, ASKED = 4, 5, 8  # couples of each relation
TEST = Test(n_permutations=19, correction=None, seed=SEED)
ROWS = 160  # of a call: questions, times the groups that are silenced together
PROMPTS = {
    "capital": ("countries", "The capital of {} is"),
    "language": ("countries", "The official language of {} is"),
    "continent": ("countries", "{} is a country in"),
    "plural": ("words", "The plural of {} is"),
    "participle": ("words", "The participle of {} is"),
    "opposite": ("words", "The opposite of {} is"),
    "kind": ("nature", "A kind of animal or plant: {} is a"),
    "colour": ("nature", "The colour of {} is"),
    "place": ("nature", "The place of a {} is the"),
}
COUNTRIES = (
    "France Germany Italy Spain Japan China India Russia Egypt Greece Turkey Poland Sweden Norway "
    "Finland Denmark Portugal Austria Hungary Ireland Iran Iraq Cuba Peru Chile Kenya Brazil "
    "Argentina Vietnam Thailand Mexico Canada Australia Belgium Switzerland Ukraine Romania "
    "Morocco Nigeria Israel Pakistan Nepal"
)
NATURE = {
    "kind": "sparrow eagle owl robin parrot duck/bird salmon tuna shark trout cod herring/fish "
    "ant bee butterfly mosquito beetle wasp/insect oak pine maple willow birch cedar/tree "
    "rose tulip daisy lily orchid violet/flower apple banana grape peach cherry mango/fruit",
    "colour": "grass/green snow/white coal/black blood/red sky/blue lemon/yellow milk/white "
    "night/black leaf/green banana/yellow tomato/red chocolate/brown carrot/orange ocean/blue "
    "sun/yellow cloud/white",
    "place": "fish/water bird/nest bee/hive king/palace soldier/army teacher/school "
    "doctor/hospital actor/theatre farmer/farm sailor/ship judge/court monk/monastery chef/kitchen "
    "prisoner/prison pilot/plane",
}


def facts():
    """Return a fact a row, of countries, words and nature."""
    known = nissl.read("relations")[["relation", "subject", "answer"]].to_numpy().tolist()
    for relation, pairs in NATURE.items():
        for names, answer in re.findall(r"([^/]+)/(\w+) ?", pairs):
            known += [(relation, about, f" {answer}") for about in names.split()]
    rows = [
        (prompt.format(about), answer, subject, relation, about)
        for relation, (subject, prompt) in PROMPTS.items()
        for kind, about, answer in known
        if kind == relation and (subject != "countries" or about in COUNTRIES.split())
    ]
    return pd.DataFrame(rows, columns=["text", "answer", "subject", "relation", "about"])


class Judged:
    """Measure of each choice: preference for the true answer (nats), and whether it is judged."""

    item, items = "choice", "choices"

    def bind(self, net, on, labels):
        """Return what measures choices without groups of units, and what each number is."""

        def scores(groups):
            margin = behaviour.preferred(net, on, without=groups, batch_size=ROWS, progress=False)
            return np.concatenate([margin, margin > 0], axis=1)

        return scores, ["fall"] * len(on) + ["wrong"] * len(on)


net = nissl.load("smollm2", dtype="bfloat16", progress=False)
asked = behaviour.known_choices(net, facts(), labels="relation", n_couples=ASKED, seed=SEED)
rank = asked.groupby("relation")["couple"].transform(lambda couples: pd.factorize(couples)[0])
to_find, to_test = asked[rank < FIND].reset_index(drop=True), asked[rank < KEPT]
rec = behaviour.choice_attributions(net, to_find, steps=STEPS)
activity = nissl.record(net, list(to_test["text"][::2]), sites="mlp.neurons", progress=False)
units = behaviour.output_magnitude(net, activity)
lost = {}
for subject, asked in to_test.groupby("subject", sort=False):
    others = rec[rec["subject"].values != subject]
    found = truth(others, least=0, test=Test(seed=SEED), progress=False).significant(q=0.05).table
    found = found[found["kind"] == "truthful"].nlargest(N_UNITS, "contribution")
    options = {"labels": "subject", "units": units, "measure": Judged(), "test": TEST}
    hurt = behaviour.ablation_effect(net, {"wrong": list(found["unit"])}, on=asked, **options)
    lost[subject] = hurt.table.set_index("label")

turned, fall = (pd.concat(lost).xs(row, level=1) for row in ("wrong", "fall"))
axes = bar(turned["damage"], null=turned["null_mean"], null_sd=turned["null_sd"])
axes.set(xlabel="subject, not used to find them", ylabel="share of judgements that turn false")
save_figure(axes.figure, "out/selectivity/truth.png")

nissl.claim(
    "truth",
    system=205,
    says="Suppressing truth neurons found on some subjects degrades truth judgement on others.",
    measured={"wrong": turned["damage"].mean(), "p": combine_pvalues(turned["p"]).pvalue}
    | {"fall": fall["damage"].mean(), "found": turned["n_units"].mean()}
    | {f"{subject}_wrong": value for subject, value in turned["damage"].items()},
    null={"wrong": turned["null_mean"].mean(), "fall": fall["null_mean"].mean()},
    rule="wrong > null.wrong + 0.05 and p < 0.01",
    data=f"smollm2; {len(to_find)} choices to find neurons on two of three subjects, "
    f"{len(to_test)} to test them on the third"
    "; on couples drawn anew after the selection had been changed twice on others; wrong, and p: "
    "judgements that turn false; fall: nats of preference for the true answer",
)
