# %% [markdown] caption="Where an answer is decided, word by word and head by head"
# # Activation patching
#
# *When Mary and John went to the store, John gave a drink to* ... Mary: the **indirect object**,
# the one of the two who was named once (Wang et al. 2023). Where in the network, and at which word,
# is it decided? Patching answers by transplanting: run a text with another answer, put one activity
# of the first run into it, and see how much of the first answer comes back.

# %%
import matplotlib.pyplot as plt

import nissl
from nissl.behaviour import Behaviour, patching_grid
from nissl.statistics.figure import heatmap

net = nissl.load("smollm2")
text = "When {} and {} went to the store, {} gave a drink to"
couples = [("Mary", "John"), ("Tom", "Anna"), ("Sarah", "Paul"), ("James", "Emma")]
object_name = Behaviour(
    net,
    clean=[text.format(a, b, b) for a, b in couples],
    corrupted=[text.format(a, b, a) for a, b in couples],
    right=[f" {a}" for a, _ in couples],
    wrong=[f" {b}" for _, b in couples],
)
print("right less wrong:", object_name.clean_value)
print("    of corrupted:", object_name.corrupted_value)

# %% [markdown]
# The texts of a pair differ in one word, the second mention, so nothing before it can matter. The
# grid puts the residual stream of the clean run, after one block and at one word, into the
# corrupted run: 0 is the corrupted answer, 1 the clean one.

# %%
words = net.tokens(object_name.clean_ids[0])
start = words.index(" John", 4)
grid = patching_grid(object_name, positions=range(start, len(words)))
axes = heatmap(grid, label="behaviour restored", limit=1)
axes.invert_yaxis()
axes.set(title="Where the answer is", ylabel="residual stream after block")
plt.show()

# %% [markdown]
# Up to block 18 everything there is to know sits at the repeated name. Then it moves to the last
# word, where the answer has to be said. What moves things between words is attention: which heads?

# %%
z = [f"blocks.{block}.attn.z" for block in range(16, 28)]
heads = patching_grid(object_name, z, heads=True, positions=-1)
axes = heatmap(heads.iloc[:, 0].unstack("head"), label="behaviour restored", limit=1)
axes.invert_yaxis()
axes.set(title="What brings it to the last word")
plt.show()

# %% [markdown]
# One head, number 3 of block 23, brings half of it by itself, and two heads of blocks 19 and 20
# prepare it. Patching shows where a difference between two texts is carried, and no more than that:
# what both texts share (that two people are there, that a name must follow) stays unseen.
