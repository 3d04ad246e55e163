# %% [markdown] caption="Tuning, decoding, and which cells fire together asleep"
# # A day with the head-direction mouse
#
# Fifteen cells of a mouse were recorded while it slept for ten minutes and then ran for ten: seven
# in the anterodorsal nucleus of the thalamus (ADN), eight in hippocampus (CA1). What does each cell
# tell about where the head points, can the direction be read from seven cells, and do the cells
# that fire together awake fire together asleep?

# %%
import matplotlib.pyplot as plt
import numpy as np

import nissl
from nissl.brain import connectivity, raster, tuning

cells = nissl.read("head-direction", bin=0.02)
awake = cells[np.isfinite(cells["head_direction"].values)]
adn = cells["region"].values == "ADN"
raster(awake, start=float(awake["time"][0]), stop=float(awake["time"][0]) + 10)
plt.show()

# %% [markdown]
# **Tuning.** Spikes in each direction, divided by the time that the head pointed there. The grey
# band is what directions shifted in time give; bits per spike say how sharp a curve is. What a cell
# ends in, a notebook draws: here the ten largest effects beside that null, full where q <= 0.05.

# %%
tuned = tuning(awake, to="head_direction")
tuned.plot(n=6)
plt.show()
tuned.finding

# %% [markdown]
# **Decoding.** Curves of the first seven minutes read the direction in the last three, in windows
# of 0.2 s, by Bayes' rule. Chance is the same reading of directions shifted in time.

# %%
split = int(0.7 * len(awake))
curves = tuning(awake[:split, adn], to="head_direction", test=None)
read = curves.decode(awake[split:, adn], window=0.2)
row = read.finding.table.iloc[0]
print(f"median error {np.rad2deg(row['median_error']):.1f} degrees", end=", ")
print(f"by chance {np.rad2deg(row['null_mean']):.0f}")
read.plot()
plt.show()

# %% [markdown]
# **Asleep.** The head does not move, and the eyes are closed. Were the cells driven by the senses
# alone, nothing would hold them together; a ring of cells that drive each other would keep pairs
# that prefer like directions together.

# %%
slow = nissl.read("head-direction", bin=0.2)
pairs = {}
for epoch in ("wake", "sleep"):
    pairs[epoch] = connectivity(slow[slow["epoch"].values == epoch, adn], test=None).mean
upper = np.triu_indices(int(adn.sum()), 1)
x, y = pairs["wake"][upper], pairs["sleep"][upper]
axes = plt.subplots(figsize=(4, 4))[1]
axes.axline((0, 0), slope=1, color="grey", linestyle=":")
axes.plot(x, y, "o")
axes.set(xlabel="correlation of two cells awake", ylabel="asleep")
axes.set_title(f"r = {np.corrcoef(x, y)[0, 1]:.2f} over {len(x)} pairs")
plt.show()
