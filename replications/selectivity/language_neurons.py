"""Language neurons (system 164): specific to one language, or related to several.

The paper (Zhang et al. 2025) classes neurons of multilingual models by how often they are open in
each language, and finds that deactivating those of a language hurts it more than others. Here Gemma
3 270M reads the Universal Declaration of Human Rights, the same articles in five languages. Neurons
are found on half of the articles; they are silenced, and random neurons that match them, while it
predicts others.
"""

import nissl
from nissl.behaviour import (
    LossMeasure,
    ablation_effect,
    beginnings,
    effect_matrix,
    halves,
    output_magnitude,
    parallel,
)
from nissl.network import document_activity
from nissl.selectivity import language_neurons, members
from nissl.statistics import PermutedLabels, Test
from nissl.statistics.figure import heatmap, save_figure

SEED, TESTED, TOKENS, N_DRAWS = 0, 2, 16, 19  # articles tested, and tokens of each
LANGUAGES = (
    "English",
    "French",
    "German, Standard (1996)",
    "Russian",
    "Chinese, Mandarin (Simplified)",
)

net = nissl.load("gemma3-270m", dtype="bfloat16")
texts = parallel(nissl.read("udhr").query("article > 0 and language in @LANGUAGES"))
texts = texts.assign(language=texts["language"].str.split(",").str[0])
found_on, tested_on = halves(texts, labels="language", by="article", seed=SEED)
tested_on = tested_on.groupby("language").head(TESTED)
tested_on = tested_on.assign(text=beginnings(net, tested_on["text"], TOKENS))

activity = document_activity(net, found_on)
test = Test(null=PermutedLabels(within="article"), seed=SEED)
found = language_neurons(activity["open"], test=test)
hurt = ablation_effect(
    net,
    members(found, kinds=("specific", "related")),
    on=tested_on,
    labels="language",
    units=output_magnitude(net, activity["size"]),
    measure=LossMeasure(every=2, batch_size=20),
    test=Test(n_permutations=N_DRAWS, correction=None, seed=SEED),
)
axes = heatmap(effect_matrix(hurt), numbers=True, label="rise of the loss beyond matched (nats)")
save_figure(axes.figure, "out/selectivity/language_neurons.png")

own = hurt.table[hurt.table["label"] == "own - others"]
kinds = found.table["kind"].value_counts()
nissl.claim(
    "language_neurons",
    system=164,
    says="Silencing a language's neurons hurts it more than others.",
    measured={
        "languages_hurt": int((own["p"] <= 0.05).sum()),
        "own_less_others": float(own["damage"].mean()),
    }
    | {kind: int(kinds.get(kind, 0)) for kind in ("specific", "related", "agnostic")},
    null={
        "languages_hurt": 0.05 * len(LANGUAGES),
        "own_less_others": float(own["null_mean"].mean()),
    },
    rule="languages_hurt >= 4",
    data=f"Gemma 3 270M; {len(found_on)} articles in {len(LANGUAGES)} languages to find neurons, "
    f"{TOKENS} tokens of each of {len(tested_on)} others to test them"
    "; null: matched neurons silenced",
)
