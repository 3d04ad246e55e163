# %% [markdown]
# # What makes a neuron fire?
#
# The first thing to do with a neuron is to read what it fires at. This is neuron 882 of block 18 of
# SmolLM2, over stories, plays, manuals, reports and source code. It was found by leafing through
# the neurons of that block whose largest activity stands out most; many of the others mean less.

# %%
import matplotlib.pyplot as plt
import numpy as np

import nissl

net = nissl.load("smollm2")
texts = nissl.read("reader")["text"].iloc[::12]
rec = nissl.record(net, list(texts), sites="blocks.18.mlp.neurons")
activity = rec.sel(unit="blocks.18.mlp.neurons[882]").values
words = np.array(net.tokens(rec["token"].values))
print(f"{len(activity):,} tokens; largest {activity.max():.1f}, deviation {activity.std():.2f}")

# %% [markdown]
# Twelve places with the largest activity, the word it fires at in the seventh column. A row is a
# text, and a cell's colour is the activity at that word.

# %%
before, after = 6, 3


def context(places, title):
    """The words around places of the corpus, coloured by the neuron's activity."""
    window = np.asarray(places)[:, None] + np.arange(-before, after + 1)
    figure, axes = plt.subplots(figsize=(11, 0.34 * len(places) + 0.6), layout="constrained")
    image = axes.imshow(activity[window], cmap="PuOr_r", vmin=-10, vmax=10, aspect="auto")
    for (row, column), place in np.ndenumerate(window):
        word = words[place].replace("\n", "\\n")
        colour = "white" if activity[place] > 7 else "black"
        axes.text(column, row, word, ha="center", va="center", fontsize=8, color=colour)
    axes.set(
        xticks=[], yticks=range(len(places)), yticklabels=activity[places].round(1), title=title
    )
    figure.colorbar(image, label="activity")
    plt.show()


order = np.argsort(-activity)
context(order[:12], "where it fires most")

# %% [markdown]
# Between, both, either: **two of something**. But the top of a list flatters (Bolukbasi et al. 2021
# found concepts at the top of neurons that meant something else further down). So look below, where
# the activity is a tenth to a third of the largest, at places drawn at random:

# %%
moderate = np.flatnonzero((activity > 0.1 * activity.max()) & (activity < 0.33 * activity.max()))
context(np.random.default_rng(0).choice(moderate, 12, replace=False), "where it fires a little")

# %% [markdown]
# Visit *either* you like, they're *both* mad: the idea holds further down (whether, each, hate
# *nor* hope), and begins to mix with words that merely stand beside it. What does the neuron say
# when it fires? Its output weights, read through the unembedding, give a score to each token:

# %%
writes = net.unembedding @ net.output_weights("blocks.18.mlp.neurons")[882]
for row in writes.topk(24).indices.view(3, 8):
    print(", ".join(net.tokenizer.decode(int(token)).strip() for token in row))

# %% [markdown]
# Among many beginnings of words stand the *sexes*, the *hemispheres* and *yin*: halves of
# something. It is a guess with two witnesses, what it reads and what it writes. The third would be
# to silence it and see whether the network still knows that *between* wants an *and*.
