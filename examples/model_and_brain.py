# %% [markdown] caption="Which layer the voxels are like, and steering by one of them"
# # A language model and a recording of the same sentences
#
# No recording of a brain that read sentences can be had here, so this one is **planted**: forty
# voxels that are made of what SmolLM2 has in its block 12, and of noise, six times for each of 96
# sentences; one voxel likes praise. Which layer do the voxels resemble, how much of each can be
# predicted, and what does the model write when it is pushed where the voxel that likes praise
# points?

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import nissl
from nissl.alignment import compare
from nissl.brain import encode
from nissl.recording import aggregate, as_recording
from nissl.statistics import Test, ridge
from nissl.statistics.figure import curve

net = nissl.load("smollm2")
moods = ("wonderful", "lovely", "superb", "pleasant", "awful", "dreadful", "horrible", "nasty")
things = ("The film", "Our new house", "The soup", "My journey home", "The concert", "Her garden")
sentences = [f"{a} {verb} {b}" for a in things for b in moods for verb in ("was", "seemed rather")]
praise = np.array([text.split()[-1] in moods[:4] for text in sentences])
layers = [f"blocks.{n}.resid_post" for n in (0, 6, 12, 18, 24)]
stream = nissl.record(net, sentences, sites=layers, progress=False)
last = aggregate(stream, by="document", how="last")

# %% [markdown]
# The recording: random sums of the stream after block 12, but for the first voxel.

# %%
rng = np.random.default_rng(0)
x = last[:, last["site"].values == "blocks.12.resid_post"].values
x = (x - x.mean(0)) / x.std(0)
truth = x @ rng.standard_normal((x.shape[1], 40))
truth[:, 0] = praise
truth = (truth - truth.mean(0)) / truth.std(0)
shown = np.concatenate([rng.permutation(96) for _ in range(6)])
noisy = truth[shown] + 1.5 * rng.standard_normal((len(shown), 40))
voxels = as_recording(noisy, samples={"document": shown})

# %% [markdown]
# **Encoding and comparison**, layer by layer: how well do its units predict the voxels for
# sentences that were left out, and is its geometry theirs?

# %%
quick, found = Test(n_permutations=99), {}
means = aggregate(voxels, by="document").sortby("document")
for layer in layers:
    own = last[:, last["site"].values == layer]
    told = encode(own, voxels, on="document", test=None, progress=False).table["correlation"]
    alike = compare(own, means, on="document", measure="cka", test=quick, progress=False)
    found[layer.split(".")[1]] = {"encoding, median r": told.median(), "CKA": alike.value}
axes = curve(
    {name: [row[name] for row in found.values()] for name in ("encoding, median r", "CKA")}
)
axes.set(xlabel="block", xticks=range(len(found)), xticklabels=list(found))
plt.show()

# %% [markdown]
# **Steering.** The weights that predict the first voxel are a direction of the stream. Added while
# the model writes, it should make it write what the voxel likes.

# %%
own = last[:, last["site"].values == layers[2]].values
fitted = ridge(own, means.values, progress=False)
direction = torch.from_numpy(np.ascontiguousarray(fitted.coefficients([0])[:, 0])).float()
direction *= np.linalg.norm(own, axis=1).mean() / direction.norm()
for strength in (-0.5, 0, 0.5):
    with net.edit(nissl.add(sites=layers[2], by=strength * direction)):
        print(
            f"{strength:+.1f}  The weather was{net.generate('The weather was', max_new_tokens=12)}"
        )
