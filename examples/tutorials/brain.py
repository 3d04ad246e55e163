# %% [markdown] caption="Spikes, voxels or an array: tuning, decoding, ties, a network beside them"
# # A brain recording
#
# You have spikes, calcium, voxels or sensors, and what happened meanwhile. **What does each cell
# tell, can it be read from all, and is any of that more than chance?** A recording becomes the same
# type that a network's activity has, so everything here works on both.

# %%

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nissl
from nissl.alignment import compare
from nissl.brain import connectivity, decode, tuning
from nissl.recording import aggregate, as_recording, bin_spikes, clean
from nissl.statistics import Test, permutation_test
from nissl.statistics.figure import bar, heatmap

# %% [markdown]
# ## Your data
#
# A file is read by its name: `nissl.read("mouse.nwb")`, and so are NIfTI, EDF, FIF, BrainVision,
# EEGLAB, MATLAB, CSV and parquet ([which become
# what](../recording.md#what-arrives-as-a-recording)). Spike times are binned; any array gets its
# labels by name.

# %%
spikes = {"time": [0.01, 0.02, 0.26, 0.31, 0.44], "unit": ["a", "b", "a", "a", "b"]}
print(bin_spikes(spikes, bin=0.1, start=0.0, stop=0.5).values.tolist())
voxels = as_recording(
    np.random.default_rng(0).standard_normal((6, 4)),
    samples={"run": [0, 0, 0, 1, 1, 1], "category": ["cat", "dog", "fox"] * 2},
    units={"region": ["V1", "V1", "IT", "IT"]},
)
print(voxels.dims, voxels["category"].values[:3], voxels.sel(unit="unit[2]").values.round(1))

# %% [markdown]
# ## Tuning
#
# Seven cells of the thalamus and eight of the hippocampus of a mouse that runs for ten minutes.
# What does a spike tell of where the head points? Spikes come in runs and the head turns slowly:
# shuffled bins would call every cell tuned, so Nissl refuses them.

# %%
cells = nissl.read("head-direction", bin=0.1)
awake = cells[np.isfinite(cells["head_direction"].values)]
try:
    permutation_test(awake, np.cos(awake["head_direction"].values), score="correlation")
except nissl.NisslError as error:
    print(error)

# %% [markdown]
# The right null for a coordinate that goes on and on moves it in time as a whole. The grey band is
# what is left of a curve then; `effect` is in bits per spike, beyond it. The last three minutes are
# put aside.

# %% alt="Curves of six cells around the circle, each a narrow lobe far outside of its grey band"
split = int(0.7 * len(awake))
learn, held_out = awake[:split], awake[split:]
tuned = tuning(learn, to="head_direction", test=Test(n_permutations=199), progress=False)
columns = ["unit", "region", "bits_per_spike", "null_mean", "effect", "q"]
print(tuned.finding.table[columns].round(3).to_string(index=False))
tuned.plot(n=6)
plt.show()

# %% [markdown]
# ## Reading it, and the test by leaving out
#
# A cell of a recording cannot be silenced, as a unit of a network can. It can be left out of a
# reader. The direction in the three minutes is read by Bayes' rule from all cells, without the four
# that were tuned best, and without four others; chance is the same reading of directions shifted in
# time.

# %% alt="Without the best four cells the error grows, without four others it does not"
order = tuned.finding.table.sort_values("effect", ascending=False)["unit"].tolist()
groups = {"all": [], "without the best four": order[:4], "without four others": order[-4:]}
errors, chance = {}, {}
for name, without in groups.items():
    kept = ~awake["unit"].isin(without).values
    curves = tuning(learn[:, kept], to="head_direction", test=None, progress=False)
    read = curves.decode(held_out[:, kept], window=0.2).finding.table.iloc[0]
    errors[name], chance[name] = np.rad2deg([read["median_error"], read["null_mean"]])
axes = bar(errors, null=list(chance.values()))
axes.set(ylabel="median error (degrees)")
plt.show()

# %% [markdown]
# ## Which cells go together?
#
# Correlations of all pairs. Two slow series correlate by chance; shifted against each other they
# show by how much. Pairs of the thalamus that prefer like directions go together, those of others
# apart.

# %% alt="Correlations of fifteen cells, the significant ones below the diagonal"
tied = connectivity(awake, test=Test(n_permutations=199), progress=False)
print(tied.edges)
print(tied.edges.top(5).table[["unit", "effect", "q"]].round(3).to_string(index=False))
tied.plot()
plt.show()

# %% [markdown]
# ## Voxels: decoding by run
#
# A person saw eight kinds of things in twelve runs, while 530 voxels were measured every 2.5
# seconds. Volumes of one block hang together, so a reader that is tested on volumes between those
# it learned from has seen the answer. Leave out **whole runs**; under the null, blocks change
# places inside theirs. (Nineteen draws can say p = 0.05, and no less: a paper wants more.)

# %% alt="Accuracy in each run left out, far above chance, and what is taken for what"
bold = clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
seen = bold[bold["category"].values != "rest"]
rng = np.random.default_rng(0)
read = decode(seen, "category", folds="run", test=Test(n_permutations=19), progress=False)
leaky = decode(seen, "category", folds=rng.permutation(len(seen)) % 12, test=None, progress=False)
print(read)
print(f"volumes left out at random would have said {leaky.score:.2f}")
read.plot()
plt.show()

# %% [markdown]
# ## Beside a network
#
# Do things that are alike to these voxels have like names to a language model? The null gives the
# names to other categories; odd against even runs is what a perfect model could reach.

# %% alt="How unlike the patterns of each two categories are, houses and faces most"
patterns = aggregate(seen, by="category").sortby("category")
odd, even = (
    aggregate(seen[seen["run"].values % 2 == side], by="category").sortby("category")
    for side in (0, 1)
)
names = patterns["category"].values
texts = [f"I saw a picture of a {name.replace('scrambledpix', 'noise')}" for name in names]
layers = [f"blocks.{n}.resid_post" for n in (0, 9, 19, 29)]
rec = nissl.record(nissl.load("smollm2"), texts, sites=layers, progress=False)
last = aggregate(rec, by="document", how="last").assign_coords(category=("sample", names))
alike = compare(last, patterns, on="category", measure="rsa", progress=False)
print(alike.table[["first", "rsa", "null_mean", "p", "q"]].round(3).to_string(index=False))
best = compare(odd, even, on="category", measure="rsa", test=None, progress=False)
print(f"odd against even runs: {best.value:.2f}")
distances = 1 - np.corrcoef(patterns.values)
heatmap(pd.DataFrame(distances, names, names), label="1 - correlation")
plt.show()

# %% [markdown]
# Nothing was shown where q is above 0.05: eight categories are few, and four layers were searched.
# That is no proof that they are unlike.
#
# ## What may be said
#
# Of these cells: more tell where the head points than shifted time does, the direction can be read
# from them in minutes that they were not chosen on, and it is the best tuned that carry it. Not
# that they *cause* anything: that takes a laser, or a network. Of these voxels: what was seen can
# be read in runs left out.
#
# ## The page
#
# Every cell with its curves and their nulls, where it is highest, and which cells are like it:
# `nissl view out/mouse`.

# %%
nissl.make_atlas(awake, out="out/mouse", progress=False)
