# %% [markdown]
# # Activation patching
#
# *When Mary and John went to the store, John gave a drink to* ... Mary: the **indirect object**,
# the one of the two who was named once (Wang et al. 2023). Where in the network, and at which word,
# is it decided? Patching answers by transplanting: run a text with another answer, put one activity
# of the first run into it, and see how much of the first answer comes back.

# %%
import matplotlib.pyplot as plt

import nissl
from nissl.behaviour import Behaviour
from nissl.network import restart

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
print("right less wrong:", object_name.clean_value, "and corrupted:", object_name.corrupted_value)

# %% [markdown]
# The texts of a pair differ in one word, the second mention, so nothing before it can matter.
# `restart` keeps what was computed before that position and runs the rest again, here with the
# residual stream of one block at one word taken from the clean run: 0 is the corrupted answer, 1
# the clean one.

# %%
words = net.tokens(object_name.clean_ids[0])
start = words.index(" John", 4)
clean = net.run(object_name.clean_call, sites=["blocks.*.resid_pre", "blocks.*.attn.z"])
again = restart(net, object_name.corrupted_call, at="blocks.0.resid_pre", from_position=start)


def restored(**where):
    """How much of the behaviour comes back with activity of the clean run."""
    with net.edit(nissl.patch(clean, **where)):
        logits = again.run(sites="logits")["logits"]
    return object_name.normalised(object_name.score(logits))


positions = range(start, len(words))
grid = [
    [restored(sites=f"blocks.{block}.resid_pre", positions=position) for position in positions]
    for block in range(net.n_layers)
]
figure, axes = plt.subplots(figsize=(5, 6), layout="constrained")
image = axes.imshow(grid, cmap="RdBu", vmin=-1, vmax=1, origin="lower", aspect="auto")
axes.set_xticks(range(len(positions)), words[start:], rotation=45)
axes.set(ylabel="residual stream before block", title="Where the answer is")
figure.colorbar(image, label="behaviour restored")
plt.show()

# %% [markdown]
# Up to block 19 everything there is to know sits at the repeated name. Then it moves to the last
# word, where the answer has to be said. What moves things between words is attention: which heads?

# %%
blocks, n_heads = range(16, 28), net.model.config.num_attention_heads
heads = [
    [restored(sites=f"blocks.{block}.attn.z", heads=head, positions=-1) for head in range(n_heads)]
    for block in blocks
]
figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
image = axes.imshow(heads, cmap="RdBu", vmin=-1, vmax=1, origin="lower", aspect="auto")
axes.set_yticks(range(len(blocks)), blocks)
axes.set(xlabel="head", ylabel="block", title="What brings it to the last word")
figure.colorbar(image, label="behaviour restored")
plt.show()

# %% [markdown]
# One head, the third of block 23, brings half of it by itself, and two heads of blocks 19 and 20
# prepare it. Patching shows where a difference between two texts is carried, and no more than that:
# what both texts share (that two people are there, that a name must follow) stays unseen.
