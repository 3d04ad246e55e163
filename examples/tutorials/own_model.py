# %% [markdown] caption="What the units of your module tell, what training made, what is needed"
# # A model of your own
#
# You wrote a `torch.nn.Module`. **What do its units stand for, did training make them so, and does
# the model need them?** Three questions, with three different nulls. Here the model is a small
# convolutional network that tells clothes apart; any module that you can call will do.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.features import Schedule, sae
from nissl.statistics import ReinitialisedNetwork, permutation_test
from nissl.statistics.figure import bar, curve
from nissl.training import Batches, train


class Clothes(nn.Module):
    def __init__(self):
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2))
        self.hidden = nn.Linear(32 * 4 * 4, 128)
        self.active = nn.ReLU()
        self.says = nn.Linear(128, 10)

    def forward(self, images):
        seen = torch.relu(self.eye(images)).flatten(1)
        return self.says(self.active(self.hidden(seen)))


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


data = nissl.read("fashion-mnist")
pixels, labels = torch.from_numpy(data.values).unsqueeze(1) / 255, torch.from_numpy(data.labels)
names = np.array(data.classes)
torch.manual_seed(0)
model = Clothes()
batches = Batches(pixels[:20000], labels[:20000], batch_size=128)
train(model, batches, loss=loss, steps=400, learning_rate=2e-3, progress=False)

# %% [markdown]
# ## Sites and a recording
#
# Every module is a **site**, by its path: `hidden` is what that layer returns. `net.sites()` lists
# them.

# %%
net = nissl.load(model)
print(net.sites())
find, test = (
    slice(60000, 61000),
    slice(61000, 63000),
)  # not trained on; find in one, test in the other
rec = nissl.record(net, pixels[find], sites="active", progress=False)
rec = rec.assign_coords(garment=("sample", names[labels[find]]))
print(rec.dims, rec.shape)

# %% [markdown]
# What can go wrong: `torch.relu` is a function, not a module, and has no path. What the network has
# after it can be recorded where the next module is given it (`hidden:in`), or where a `nn.ReLU`
# stands, as in `active`. A module that is never called is an error, and so is a site that does not
# exist:

# %%
try:
    nissl.record(net, pixels[:2], sites="hiden")
except nissl.NisslError as error:
    print(error)

# %% [markdown]
# ## What does a unit tell?
#
# For every unit and garment: how well does its activity rank pictures of that garment above others
# (AUROC; 0.5 is none)? The null gives the labels to other pictures. A picture is one sample here;
# had it several (places of a convolution, frames), they would move together, by `exchange=`.

# %%
found = permutation_test(rec, "garment", score="auroc", exchange="stimulus", progress=False)
columns = ["unit", "label", "auroc", "null_mean", "q"]
print(found, found.top(5).table[columns].round(3).to_string(index=False), sep="\n")
best = {name: rows.nlargest(6, "auroc") for name, rows in found.table.groupby("label")}

# %% [markdown]
# ## Did training make it?
#
# More than half of the pairs pass, and that is a warning: a random network answers to its input,
# too. So the second null is **the same network with fresh weights**, nineteen times. Drawn are each
# network's units from the most to the least selective; those at 0.5 are dead, they never fire.


# %% alt="Units of the trained network tell garments better than those with fresh weights"
def selectivity(module):
    own = nissl.record(nissl.load(module), pixels[find], sites="active", progress=False)
    scores = permutation_test(own, rec["garment"].values, score="auroc", test=None, progress=False)
    return np.sort(scores.table.groupby("unit")["auroc"].max().values)[::-1]


trained = selectivity(model)
fresh = np.stack([selectivity(m) for m in ReinitialisedNetwork().draw(model, 19, seed=0)])
axes = curve({"trained": trained}, null=fresh.mean(0), null_sd=fresh.std(0))
axes.set(xlabel="units, most selective first", ylabel="AUROC of its best garment")
plt.show()
p = (1 + (np.median(fresh, axis=1) >= np.median(trained)).sum()) / 20
print(f"median {np.median(trained):.3f}, untrained {np.median(fresh):.3f}, p = {p:.2f}")

# %% [markdown]
# ## Is it needed?
#
# The third question only an edit can ask. Silence the six best units of a garment, look at other
# pictures, and compare with six units of the layer at random, nineteen times.


# %% alt="How well garments are recognised without their six best units, beside six others"
def right(units):
    with net.edit(nissl.ablate(list(units))):
        said = net.run(pixels[test], sites="says")["says"].argmax(1)
    return np.array([(said == k)[labels[test] == k].float().mean() for k in range(10)])


rng = np.random.default_rng(0)
chance = np.stack([right(rng.choice(rec["unit"].values, 6, False)) for _ in range(19)])
left = np.array([right(best[name]["unit"])[k] for k, name in enumerate(names)])
p = (1 + (chance <= left).sum(0)) / 20
axes = bar(pd.Series(left, names), null=chance.mean(0), null_sd=chance.std(0), found=p <= 0.05)
axes.set(ylabel="recognised without its units")
plt.setp(axes.get_xticklabels(), rotation=40, ha="right")
plt.show()

# %% [markdown]
# Dark bars fell below all of the random sixes; of ten garments, half a one does so by chance. Where
# a bar is pale the units tell the garment and are not missed: others carry it too.
#
# ## Beyond single units: a dictionary
#
# One garment may be a direction over many units. A **dictionary** finds directions of which few are
# active at once, and is a site like any other. Does its best feature tell a garment better than the
# best unit, in pictures it was not trained on? Beside it the same dictionary before training.

# %% alt="AUROC of the best unit, feature and untrained feature for each garment; units are best"
acts = nissl.record(net, pixels[:20000], sites="active", progress=False)
schedules = {
    "feature": Schedule(samples=100_000, batch_size=512),
    "untrained feature": Schedule(samples=512, batch_size=512, learning_rate=1e-9),
}
told = {"unit": nissl.record(net, pixels[test], sites="active", progress=False)}
for name, schedule in schedules.items():
    made = sae(acts, n_features=256, k=8, schedule=schedule, progress=False)
    seen = net.with_dictionary(made)
    told[name] = nissl.record(seen, pixels[test], sites="active.sae", progress=False)
scores = {}
for name, activity in told.items():
    auroc = permutation_test(
        activity, names[labels[test]], score="auroc", test=None, progress=False
    )
    scores[name] = auroc.table.groupby("label")["auroc"].max()
axes = bar(pd.DataFrame(scores))
axes.set(ylabel="AUROC of the best", ylim=(0.5, 1))
plt.setp(axes.get_xticklabels(), rotation=40, ha="right")
plt.show()
print(pd.DataFrame(scores).mean().round(3).to_string())

# %% [markdown]
# Training made the features better, and not as good as single units: this layer was taught to tell
# garments, unit by unit, and has no more than a dozen things to say. A dictionary is for where
# there are many more things than units ([which kind when](../features.md)).
#
# ## The page
#
# All of it in the explorer: each unit of every layer, the pictures in which it is largest with the
# place in each, and the garment it prefers with its q: `nissl view out/clothes`.

# %%
shown = {"labels": names[labels[find]], "progress": False}
nissl.make_atlas(net, pixels[find], out="out/clothes", **shown)
