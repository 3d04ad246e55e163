# %% [markdown] caption="Read what was seen, predict voxels, compare geometries"
# # A day with Haxby
#
# A person lay in a scanner and saw faces, houses, cats, shoes and other things, in twelve runs; 530
# voxels of the ventral temporal cortex were measured every 2.5 seconds. What was seen can be read
# from them, each voxel can be predicted from what was seen, and which things look alike to the
# voxels can be compared with which look alike to something else.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nissl
from nissl.alignment import compare
from nissl.brain import decode, encode
from nissl.recording import aggregate, as_recording, clean
from nissl.statistics import Test
from nissl.statistics.figure import heatmap

bold = clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
seen = bold[bold["category"].values != "rest"]

# %% [markdown]
# **Decoding.** Each run is read by a model of the eleven others. Chance is what the same model
# reads when blocks of one category have changed places inside their runs.

# %%
found = decode(seen, "category", folds="run", test=Test(n_permutations=49))
print(found)
found.plot()
plt.show()

# %% [markdown]
# **Encoding.** The other way round: each voxel from the category, two to four volumes late, since
# blood is slow. The map shows where the categories explain most; the outline is a standard brain's,
# and the voxels are where the scanner had them, so their place in it is rough.

# %%
names = np.unique(seen["category"].values)
design = (bold["category"].values[:, None] == names).astype(float)
predicted = encode(design, bold, folds="run", delays=(1, 2, 3), test=Test(n_permutations=199))
print(predicted)
predicted.plot()
plt.show()

# %% [markdown]
# **Geometry.** Which categories are alike? The mean patterns of odd and of even runs say the same,
# and that is the ceiling for any model of them.

# %%
halves = [seen[seen["run"].values % 2 == side] for side in (0, 1)]
odd, even = (aggregate(half, by="category").sortby("category") for half in halves)
alike = compare(odd, even, on="category", measure="rsa")
print(alike.table.round(3).to_string(index=False))
distances = 1 - np.corrcoef(aggregate(seen, by="category").sortby("category").values)
heatmap(pd.DataFrame(distances, index=names, columns=names), label="1 - correlation")
plt.show()

# %% [markdown]
# **Against a network.** The photographs of this experiment are not to be had, so this last part is
# planted: sixty photographs of CIFAR-10, a hundred voxels of which sixty are made of features of
# ResNet-50, noise, and eight repeats. Encoding finds how much of each is there to be explained.

# %%
net, images = nissl.load("resnet50"), nissl.read("cifar10").values[:60]
features = aggregate(nissl.record(net, images, sites="layer3"), by="stimulus")
x = features.values - features.values.mean(0)
rng = np.random.default_rng(0)
truth = x @ rng.standard_normal((x.shape[1], 100)) * (np.arange(100) < 60)
truth /= np.maximum(truth.std(0), 1e-9)
shown = np.tile(np.arange(60), 8)
noisy = truth[shown] + 2 * rng.standard_normal((480, 100))
voxels = as_recording(noisy, samples={"stimulus": shown})
stimuli = as_recording(x, samples={"stimulus": np.arange(60)})
planted = encode(stimuli, voxels)
print(planted)
planted.plot(kind="ranked")
plt.show()
