"""PLND (system 184): neurons that every document of a language activates, found without labels.

The paper (Zhao et al. 2024) takes the neurons whose deactivation changes the layer's output most in
all documents of a language, and finds that silencing those of one language hurts that language and
spares the others. Here Gemma 3 270M reads half of the articles of the Universal Declaration of
Human Rights in five languages; neurons of one language alone are silenced, and random neurons that
match them, while it predicts others.
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
from nissl.selectivity import members, plnd
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
found = plnd(activity["impact"], test=Test(null=PermutedLabels(within="article"), seed=SEED))
groups = members(found, kinds=("specific",))
hurt = ablation_effect(
    net,
    groups,
    on=tested_on,
    labels="language",
    units=output_magnitude(net, activity["size"]),
    measure=LossMeasure(every=2, batch_size=20),
    test=Test(n_permutations=N_DRAWS, correction=None, seed=SEED),
)
axes = heatmap(effect_matrix(hurt), numbers=True, label="rise of the loss beyond matched (nats)")
save_figure(axes.figure, "out/selectivity/plnd.png")

contrast = hurt.table["label"] == "own - others"
mine = hurt.table["label"] == hurt.table["unit"]
own, others = hurt.table[mine], hurt.table[~mine & ~contrast]
nissl.claim(
    "plnd",
    system=184,
    says="Silencing the neurons that all documents of one language alone activate hurts that "
    "language and spares others.",
    measured={
        "own": float(own["damage"].mean()),
        "others": float(others["damage"].mean()),
        "silenced": float(own["n_units"].mean()),
        "languages_hurt": int((hurt.table.loc[contrast, "p"] <= 0.05).sum()),
    },
    null={"own": float(own["null_mean"].mean()), "others": float(others["null_mean"].mean())},
    rule="own > 4 * others and own > null.own",
    data=f"Gemma 3 270M; {len(found_on)} articles in {len(LANGUAGES)} languages to find neurons, "
    f"{TOKENS} tokens of each of {len(tested_on)} others to test them"
    "; a language counts as hurt where its loss rises more than that of the others, beyond that "
    "with matched neurons (p <= 0.05)",
)
