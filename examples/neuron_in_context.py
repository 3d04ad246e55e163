# %% [markdown] caption="What it reads at its highest, further down, and what it writes"
# # What makes a neuron fire?
#
# The first thing to do with a neuron is to read what it fires at. This is neuron 882 of block 18 of
# SmolLM2, over stories, plays, manuals, reports and source code. It was found by leafing through
# the neurons of that block whose largest activity stands out most; many of the others mean less.

# %%
import matplotlib.pyplot as plt

import nissl

net = nissl.load("smollm2")
texts = list(nissl.read("reader")["text"].iloc[::12])
neuron = "blocks.18.mlp.neurons[882]"

# %% [markdown]
# Twelve places with the largest activity, each in another text, and the words around them. A cell's
# colour is the activity at that word.

# %%
net.unit_examples(neuron, texts).plot(limit=10)
plt.show()

# %% [markdown]
# Between, both, either: **two of something**. But the top of a list flatters (Bolukbasi et al. 2021
# found concepts at the top of neurons that meant something else further down). So look below, where
# the activity is a tenth to a third of the largest, at places drawn at random:

# %%
net.unit_examples(neuron, texts, between=(0.1, 0.33)).plot(limit=10)
plt.show()

# %% [markdown]
# Visit *either* you like, they're *both* mad: the idea holds further down (whether, each, hate
# *nor* hope), and begins to mix with words that merely stand beside it. What does the neuron say
# when it fires? Its output weights, read through the unembedding, give a score to each token:

# %%
writes = net.unembedding @ net.output_weights("blocks.18.mlp.neurons")[882]
for row in writes.topk(24).indices.view(3, 8):
    print(", ".join(token.strip() for token in net.tokens(row)))

# %% [markdown]
# Among many beginnings of words stand the *sexes*, the *hemispheres* and *yin*: halves of
# something. It is a guess with two witnesses, what it reads and what it writes. The third would be
# to silence it and see whether the network still knows that *between* wants an *and*.
