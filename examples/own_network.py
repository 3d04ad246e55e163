# %% [markdown] caption="A small CNN: the channels of a garment, and what is lost without them"
# # A network of your own: units of a class, found and removed
#
# Any `torch.nn.Module` has sites: its modules, by their paths. A small convolutional network learns
# to tell clothes apart. Which of its channels stand for which garment? And does it lose that
# garment, and no other, when they are taken away?

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.recording import aggregate
from nissl.statistics import permutation_test
from nissl.statistics.figure import heatmap
from nissl.training import Batches, train

clothes = nissl.read("fashion-mnist")
pixels = torch.from_numpy(clothes.values).unsqueeze(1) / 255
labels, names = torch.from_numpy(clothes.labels), np.array(clothes.classes)


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


torch.manual_seed(0)
layers = []
for n in (1, 16), (16, 32), (32, 64):
    layers += [nn.Conv2d(*n, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
model = nn.Sequential(*layers[:-1], nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10))
batches = Batches(pixels[:60000], labels[:60000], batch_size=128)
train(model, batches, loss=loss, steps=600, learning_rate=3e-3, schedule="linear")
net = nissl.load(model)

# %% [markdown]
# Record the last channels (module 7) on a thousand images that were kept from it. A sample is one
# place of an image; the largest activity over the places stands for the image. How well does each
# channel rank the images of a garment, beyond what it does when labels are permuted over
# images? Below, what the best channel of each garment likes most.

# %%
seen, unseen = slice(60000, 61000), slice(61000, 63000)
rec = aggregate(nissl.record(net, pixels[seen], sites="7"), how="max")
found = permutation_test(rec, names[labels[seen]], score="average_precision", exchange="stimulus")
best = {name: found.table[found.table["label"] == name].nlargest(3, "effect") for name in names}
figure, axes = plt.subplots(5, 2, figsize=(11, 5), layout="constrained")
for axis, (name, channels) in zip(axes.flat, best.items(), strict=True):
    liked = np.argsort(-rec.sel(unit=channels["unit"].iloc[0]).values)[:10]
    axis.imshow(np.hstack(clothes.values[seen][liked]), cmap="gray_r")
    axis.set(xticks=[], yticks=[], title=name)
plt.show()

# %% [markdown]
# Now take the best three channels of a garment away and show other images, beside the accuracy
# without three channels at random: any three are missed a little.


# %%
def right(without):
    with net.edit(nissl.ablate(list(without))):
        said = net.run(pixels[unseen], sites="10")["10"].argmax(1)
    return np.array([100 * (said == k)[labels[unseen] == k].float().mean() for k in range(10)])


draw = np.random.default_rng(0).choice
chance = np.mean([right(draw(rec["unit"].values, 3, False)) for _ in range(20)], axis=0)
lost = [chance - right(channels["unit"]) for channels in best.values()]
axes = heatmap(pd.DataFrame(lost, names, names), label="accuracy lost (%)", limit=80)
axes.set(xlabel="garment shown", ylabel="garment whose channels are silenced")
plt.show()

# %% [markdown]
# Trousers and sneakers go with their channels; coats and shirts share theirs. The ankle boot, whose
# channel tells it better than most, is not missed: others carry it too. To respond and to be needed
# are two questions, and only an edit asks the second.
