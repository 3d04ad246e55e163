# %% [markdown] caption="Neurons for French: found, looked at, taken away; a direction; the page"
# # A language model, from its neurons to a claim
#
# SmolLM2 was taught English, and reads some French all the same. **Are there neurons in it for
# French?** This page asks all 46,080, looks at one, takes them away to see what is missed, and ends
# in a page of your own to leaf through. Put your texts and your labels where these stand.
#
# What is needed is a network, texts with a label, and a reason why labels may be exchanged. Here
# the texts are articles of the Universal Declaration of Human Rights in four languages. All say the
# same, so what differs is the language; and **half of the articles are put aside**, to test on them
# what is found on the others.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import nissl
from nissl.behaviour import (
    LossMeasure,
    ablation_effect,
    contrast_direction,
    effect_matrix,
    halves,
    output_magnitude,
    parallel,
)
from nissl.network import document_activity
from nissl.statistics import PermutedLabels, Test, permutation_test
from nissl.statistics.figure import curve, heatmap

net = nissl.load("smollm2")  # or a hub id, a folder, a GGUF file, your torch.nn.Module
languages = ["English", "French", "Italian", "Spanish"]
articles = parallel(nissl.read("udhr").query("article > 0 and language in @languages"))
articles = articles.assign(text=articles["text"].str[:160])  # characters: enough, and quick
found_on, tested_on = halves(articles, labels="language", by="article", seed=0)
print(net)
print(len(found_on), "texts to find neurons on,", len(tested_on), "others to test them on")
print(found_on.groupby("language")["text"].first().str[:60].to_string())

# %% [markdown]
# ## Record
#
# `nissl.record` gives one number for every token and neuron, as an `xarray.DataArray`. Columns of
# the table become labels.

# %%
rec = nissl.record(net, found_on.head(4), sites="blocks.12.mlp.neurons", progress=False)
print(rec.dims, rec.shape, list(rec.coords))
print(rec.sel(unit="blocks.12.mlp.neurons[7]")[:4].values.round(2))

# %% [markdown]
# ## Find
#
# The question is about texts, not tokens, so `document_activity` reads the texts once and keeps for
# each the mean size of every neuron's activity. How far does a neuron tell one language from the
# others? **Against what?** With 46,080 neurons some tell any two groups of texts apart. So
# languages are exchanged inside each article, two hundred times, and a neuron counts if it differs
# by more than the best of all did in 95% of those.

# %% alt="Neurons of each language by block: English in the middle, the other three near the end"
size = document_activity(net, found_on, progress=False)["size"]
null = PermutedLabels(within="article")
found = permutation_test(size, "language", test=Test(199, null=null, seed=0), progress=False)
print(found)
higher = found.significant().table.query("effect > 0").groupby(["layer", "label"]).size()
axes = curve(higher.unstack("label", fill_value=0).reindex(range(net.n_layers), fill_value=0))
axes.set(xlabel="block", ylabel="neurons higher in it, q <= 0.05")
plt.show()

# %% [markdown]
# What can go wrong: tokens of one text hang together, and a test that permutes tokens finds
# thousands of neurons where there are none. Nissl refuses it and asks for the block
# ([Nulls](../nulls.md)).
#
# ## Look at one
#
# The neuron that tells French best, at the places where it is largest in texts that it was not
# found on, and the tokens that its output raises most.

# %% alt="Eight passages with the largest activity of the neuron, all of them French"
tells = found.table.query("effect > 0").sort_values("effect", ascending=False)
best = {name: list(rows["unit"].head(40)) for name, rows in tells.groupby("label")}
neuron = best["French"][0]
others = list(tested_on.groupby("language").head(6)["text"])
net.unit_examples(neuron, others, n=8, progress=False).plot()
plt.show()
site, index = neuron[:-1].split("[")
writes = net.unembedding @ net.output_weights(site)[int(index)]
print("it writes:", ", ".join(net.tokens(writes.topk(12).indices)))

# %% [markdown]
# ## Take it away
#
# That a neuron answers to French does not mean that French needs it. Silence the forty best of a
# language, and measure how much worse other articles are predicted; by their side, forty random
# neurons at a time **of the same blocks that write as much**. Nineteen draws can say p = 0.05, and
# no less.

# %% alt="How much worse each language is predicted without the neurons of English and of French"
short = tested_on.groupby("language").head(3)
short = short.assign(text=short["text"].str[:70])
hurt = ablation_effect(
    net,
    {name: best[name] for name in ("English", "French")},
    on=short,
    labels="language",
    units=output_magnitude(net, size),
    measure=LossMeasure(batch_size=20),
    test=Test(19, seed=0, correction=None),
    progress=False,
)
print(hurt.table[["unit", "label", "damage", "null_mean", "p"]].round(3).to_string(index=False))
axes = heatmap(effect_matrix(hurt), numbers=True, label="nats a token, beyond matched neurons")
axes.set(xlabel="text", ylabel="neurons silenced")
plt.show()

# %% [markdown]
# ## A direction
#
# Neurons are one set of axes; a language may be a direction of the residual stream. Take the mean
# stream on French articles less that on English ones, from the half for finding. Added while the
# network writes, does it write French? Beside it, five random directions of the same length.

# %% alt="French words grow likelier with the direction, beyond random ones"
middle = "blocks.14.resid_post"
texts = found_on.groupby("language")["text"].apply(list)
french = contrast_direction(net, texts["French"], texts["English"], sites=middle, progress=False)
words = [net.tokenizer.encode(w) for w in (" les la une des pour", " the a an of for")]


def odds(vector, strength):
    """Log odds of French against English words after three beginnings."""
    with net.edit(nissl.add(sites=middle, by=strength * vector)):
        said = [net.run(t, sites="logits")["logits"][0, -1] for t in ("The house", "We", "In")]
    last = torch.stack(said)
    return (last[:, words[0]].logsumexp(1) - last[:, words[1]].logsumexp(1)).mean().item()


strengths = [0, 0.5, 1, 1.5, 2]
torch.manual_seed(0)
random = torch.nn.functional.normalize(torch.randn(5, len(french))) * french.norm()
drawn = np.array([[odds(vector, s) for s in strengths] for vector in random])
line = pd.Series([odds(french, s) for s in strengths], index=strengths)
axes = curve(line, null=drawn.mean(0), null_sd=drawn.std(0))
axes.set(xlabel="strength", ylabel="log odds of French words")
plt.show()
for strength in (0, 1, 2):
    with net.edit(nissl.add(sites=middle, by=strength * french)):
        print(strength, "The house" + net.generate("The house", max_new_tokens=12), sep="  ")

# %% [markdown]
# ## What may be said
#
# Forty neurons, chosen on some articles, are needed for French in others and for no other of the
# four languages, more than random neurons like them. Of English, which the network knows best,
# forty neurons are no such set. The direction makes French words likelier than random ones do; yet
# English words stay far ahead, and what is written is no French. **Not** shown is that these
# neurons are all, that they do nothing else, or that other texts would give the same: twelve
# beginnings of texts were predicted, and a claim wants more.
#
# ## The page
#
# Last, the atlas of the block of that neuron over these texts: in the explorer sort by language,
# open the neuron, silence it while the network writes: `nissl view out/french`.

# %%
nissl.make_atlas(net, found_on, sites=site, out="out/french", progress=False)
