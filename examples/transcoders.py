# %% [markdown] caption="Features of every MLP that add up to the logit of a word"
# # A prediction traced through transcoders
#
# An MLP mixes its inputs by hundreds of neurons at once, so a prediction cannot be followed through
# it by hand. A **transcoder** is a sparse, wide MLP that is trained to do the same: few features of
# it are active, and each is one direction that it reads and one that it writes.

# %%
import matplotlib.pyplot as plt
import torch

import nissl
from nissl.features import Schedule, contributions, reads, trace, transcoder
from nissl.statistics.figure import bar

net = nissl.load("stories15m")
texts = net.generate(["Once upon a time"] * 48, max_new_tokens=200, sample=True)

# %% [markdown]
# One for each of the six MLPs, from what the MLP is given to what it writes.

# %%
made = []
for block in range(6):
    sites = f"model.layers.{block}.post_attention_layernorm", f"blocks.{block}.mlp.out"
    into, out = (nissl.record(net, texts, sites=site, progress=False) for site in sites)
    schedule = Schedule(samples=100_000, batch_size=512)
    how = {"n_features": 768, "k": 16, "schedule": schedule, "progress": False}
    made.append(transcoder(into, out, **how))
    x, y = into[:2000].values, out[:2000].values
    left = ((y - made[-1](torch.from_numpy(x)).detach().numpy()) ** 2).sum()
    print(f"block {block}: explains {1 - left / ((y - y.mean(0)) ** 2).sum():.2f}")

# %% [markdown]
# With attention patterns and what norms divide by held, the stream is a sum: what each feature adds
# to the logit of a word is its activation times a weight, and all together add up to the logit.

# %%
text = "Lily went to the park with her mom. She saw a big"
token = int(net.run([text], sites="logits")["logits"][0, -1].argmax())
print(f"{text} ...{net.tokenizer.decode([token])}")
table = contributions(net, text, to=f"logits[{token}]", dictionaries=made)
print(table.head(8).round(2).to_string())
print(f"the sum: {table['contribution'].sum():.2f}, the logit: {table.attrs['target']:.2f}")

kind = table["unit"].str.replace(r"\[.*", "", regex=True).str.replace("blocks.", "")
axes = bar(table.groupby(kind)["contribution"].sum().to_dict())
axes.set(ylabel="logit")
plt.setp(axes.get_xticklabels(), rotation=70, ha="right", fontsize=7)
plt.show()

# %% [markdown]
# Of each of the largest, the same question is asked again: where did it come from? So a circuit
# grows down to the words.

# %%
circuit = trace(net, text, to=f"logits[{token}]", dictionaries=made, n=3, depth=3)
print(circuit.table.head(8).round(2).to_string())
circuit.plot()
plt.show()

# %% [markdown]
# How two features are connected can be said without any text, from their weights: what the one
# writes, times what the other reads. These are the features of earlier blocks that turn on most
# what the largest feature above reads.

# %%
first = table[table["unit"].str.contains("transcoder")].iloc[0]["unit"]
block, feature = int(first.split(".")[1]), int(first.split("[")[1][:-1])
for earlier in range(block):
    weights = made[earlier].directions @ reads(made[block], feature)
    best = int(weights.argmax())
    print(f"blocks.{earlier}.mlp.out.transcoder[{best}]  {weights[best]:.2f}")
