# %% [markdown] caption="A method of five lines, tried where the truth is known"
# # Testing a method on a planted circuit
#
# Does a method that finds circuits find the right one? In a real network nobody knows. So Nissl
# has networks whose circuits were written by hand into a stock Llama, among heads and MLPs that
# move the stream and matter to nothing. Here a new method of five lines is put to that test.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import nissl
from nissl.behaviour import make_task
from nissl.circuits import effects
from nissl.specimens.planted import planted_circuit
from nissl.statistics.figure import heatmap

names = ["previous_token", "induction", "two_hops", "saturated_gate", "cancelling_paths"]


def size_of_change(patching, nodes, *, positions=True):
    """The method: by how much a node's activity differs between the prompts, whatever it does."""
    changes = patching.changes(nodes.names)
    return nodes.summed({site: x.abs() for site, x in changes.items()}, positions=positions)


# %% [markdown]
# A method is given the run that is changed and what would be put into it, and returns a number for
# each pair and node. The truth of a planted circuit is a set of addresses, so that recall is a
# matter of counting: how many of the true nodes are among as many of the largest?

# %%
methods = {"exact": "exact", "attribution": "attribution", "RelP": "relp"}
methods["size of change"] = size_of_change
recall = pd.DataFrame(index=list(methods), columns=names, dtype=float)
for name in names:
    planted = planted_circuit(name)
    net = nissl.load(planted.module, tokenizer=planted.tokenizer)
    task = make_task(net, planted.pairs, name=name, progress=False)
    for said, method in methods.items():
        found = effects(
            task, over=["attn.z", "mlp.out"], method=method, positions="all", progress=False
        )
        best = found.table.reindex(
            found.table["indirect_effect"].abs().sort_values(ascending=False).index
        )
        top = set(best["unit"].head(len(planted.nodes)))
        recall.loc[said, name] = len(top & planted.nodes) / len(planted.nodes)
axes = heatmap(recall, numbers=True, label="recall")
axes.set(title="True nodes found")
plt.show()

# %% [markdown]
# The new method calls whatever moves important. And where nothing is planted? There a method is to
# find nothing, at the level of its test.

# %%
nothing = planted_circuit("induction", "zeroed")
net = nissl.load(nothing.module, tokenizer=nothing.tokenizer)
try:
    make_task(net, nothing.pairs, name="nothing", progress=False)
except nissl.NisslError as error:
    print(error)
