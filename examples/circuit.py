# %% [markdown] caption="From heads that matter to a few edges that do the work alone"
# # A circuit, from start to picture
#
# Which parts of SmolLM2, and which connections between them, name the **indirect object**: *When
# Mary and John went to the store, John gave a drink to* ... Mary? A **circuit** is an answer that
# can be tested: a few edges that, alone at work, do what the whole network does.

# %%
import matplotlib.pyplot as plt

import nissl
from nissl.statistics.figure import curve, heatmap

net = nissl.load("smollm2")
task = nissl.behaviour.indirect_object(net, n=32, progress=False)
print(task)
print(task.items[["text", "corrupted", "answer"]].iloc[0].to_string())

# %% [markdown]
# The second prompt of a pair repeats the other name. First the nodes: by how much does each head
# support the answer, at each position? RelP finds that for all of them at the price of three
# forward passes. Under the null the two prompts of a pair trade places.

# %%
heads = nissl.circuits.effects(task, over="attn.z", method="relp", progress=False)
print(heads.significant().top(6).table[["unit", "position", "indirect_effect", "q"]].to_string())
last = heads.table[heads.table["position"] == -1].copy()
last["head"] = last["unit"].str.extract(r"head (\d+)").astype(int)
grid = last.pivot(index="layer", columns="head", values="indirect_effect")
axes = heatmap(grid.loc[15:], label="logits")
axes.invert_yaxis()
axes.set(title="Heads that matter at the last word")
plt.show()

# %% [markdown]
# Now the edges, of which there are 70,651: from each head and MLP to each later one, and there to
# queries, keys and values apart. They are scored on one half of the pairs. What two in a hundred of
# them do is tested on the other half, whose names are others, with every other edge carrying what
# it carries in the corrupted run.

# %%
circuit = nissl.circuits.circuit(task, method="eap_ig", size=0.02, progress=False)
print(circuit)
print(circuit.scores(n_random=9, progress=False).round(2).to_string(index=False))

# %% [markdown]
# *Faithfulness* is the share of the behaviour that the circuit has alone; *random* that of circuits
# with as many edges between the same layers. How small may it be?

# %%
sizes = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
table = circuit.scores(sizes=sizes, n_random=3, progress=False)
lines = table.rename(columns={"faithfulness": "circuit", "random": "random circuits"})
lines = lines.set_index(100 * table["size"])[["circuit", "random circuits"]]
axes = curve(lines, levels={"whole network": 1.0})
axes.set(xscale="log", xlabel="edges kept (%)", ylabel="faithfulness")
plt.show()

# %% [markdown]
# And the picture: layers upwards, MLPs at the left, heads at the right, lines as wide as effects.
# Point at a box to see its own edges; `circuit.plot()` is the same for paper.

# %%
circuit

# %% [markdown]
# Heads of blocks 19 and 20 find the name that was said once, head 3 of block 23 says it, and others
# of blocks 24 and 29 say the opposite, which a good network needs too. `circuit.save` keeps it, and
# `net.edit(circuit.only(...))` leaves it alone at work while anything is run.
