# %% [markdown] caption="Train one, judge it, read its features, take one away"
# # A dictionary of features
#
# One neuron answers to many things, and one thing is spread over many neurons. A **dictionary**
# writes the activity of a site as a sum of few of many directions. Here one is trained, judged and
# looked at, on a small network that tells stories to children.

# %%
import matplotlib.pyplot as plt

import nissl
from nissl.features import Schedule, sae, worth
from nissl.statistics.figure import bar

net = nissl.load("stories15m")
texts = net.generate(["Once upon a time"] * 96, max_new_tokens=200, sample=True)
learn, held_out = texts[:80], texts[80:]
print(learn[0][:200])

# %% [markdown]
# Its own stories are what it knows best. The residual stream after the third of six blocks is
# recorded at every token, and a dictionary of 768 features learned, of which 16 are active at once.

# %%
acts = nissl.record(net, learn, sites="blocks.2.resid_post", progress=False)
schedule = Schedule(samples=200_000, batch_size=512)
found = sae(acts, n_features=768, k=16, schedule=schedule, progress=False)
print(found)

# %% [markdown]
# Is it worth anything? On stories that it has not seen: what share of the variance it explains, and
# how much of the network's loss comes back when what it rebuilds is put in the stream's place; by
# its side, the same dictionary before training, and as many principal components or neurons.

# %%
table = worth({"trained": found}, net, held_out, progress=False).set_index("dictionary")
print(table.round(2).to_string())
axes = bar(table["recovered"].to_dict())
axes.set(ylabel="loss recovered")
plt.show()

# %% [markdown]
# What is not rebuilt stays in the stream when features are used: a dictionary is one more **site**,
# whose units are recorded, ablated and drawn as neurons are. Here are the places in new stories at
# which one of its features is largest.

# %%
seen = net.with_dictionary(found)
features = nissl.record(seen, held_out, sites="blocks.2.resid_post.sae", progress=False)
density = (features > 0).mean("sample").values
later = features[features["position"].values > 3]  # the first tokens are unlike all others
strong = later.max("sample").values * ((density > 0.005) & (density < 0.03))
units = [f"blocks.2.resid_post.sae[{i}]" for i in (-strong).argsort()[:3]]
for unit in units:
    shown = seen.unit_examples(unit, held_out, n=4, progress=False)
    print(unit, *shown.table["text"], "", sep="\n")
shown.plot()
plt.show()

# %% [markdown]
# And what does it do? Without the feature, the words that follow are others.

# %%
where = int(later.values[:, later["unit"].values == units[0]].argmax())
document, position = (int(later[name][where]) for name in ("document", "position"))
ids = net.tokenizer(held_out[document])["input_ids"][: position + 1]
clean = net.run([ids], sites="logits")["logits"][0, -1].softmax(-1)
with seen.edit(nissl.ablate(units[0])):
    without = seen.run([ids], sites="logits")["logits"][0, -1].softmax(-1)
top = clean.topk(6).indices
print(net.tokenizer.decode(ids[-12:]))
for token in top.tolist():
    word = net.tokenizer.decode([token])
    print(f"{word!r:>12}  {clean[token]:.2f} -> {without[token]:.2f}")

# %% [markdown]
# The same three lines, record, train, judge, work on a store of any size and on a recording of a
# brain; `nissl train-dictionary` does it from the command line.
