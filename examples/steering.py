# %% [markdown] caption="Praise less complaint, added while the model writes, beside chance"
# # A steering vector from contrast pairs
#
# Take texts that differ in one respect, here praise and complaint, and subtract what the network
# makes of the one from what it makes of the other (Turner et al. 2023, Rimsky et al. 2024). What is
# left is a direction of the residual stream. Added while the network writes, it changes the mood of
# what is written.

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

import nissl
from nissl.behaviour import contrast_direction
from nissl.statistics.figure import curve

net = nissl.load("smollm2")
site = "blocks.14.resid_post"
frames = ("The film was", "I thought the food was", "The weather today is", "My stay there was")
praise = ("wonderful", "delightful", "excellent", "lovely", "superb", "brilliant")
complaint = ("terrible", "dreadful", "awful", "horrible", "miserable", "disgusting")
good, bad = (
    [f"{frame} {word}" for frame in frames for word in words] for words in (praise, complaint)
)
direction = contrast_direction(net, good, bad, sites=site)
stream = net.run(good[0], sites=site)[site][0, -1]
print(f"length {direction.norm():.0f}; the stream's own is {stream.norm():.0f}")

# %% [markdown]
# Two beginnings that are in none of the pairs, continued with some of the direction taken away and
# with some added:

# %%
for beginning in ("The concert last night was", "My first day at school was"):
    for strength in (-0.6, 0, 0.6):
        with net.edit(nissl.add(sites=site, by=strength * direction)):
            print(f"{strength:+.1f}  {beginning}{net.generate(beginning, max_new_tokens=14)}")

# %% [markdown]
# A few sentences prove little, so measure. How much likelier than bad words do good ones become,
# with words and beginnings that are in no pair? Any push moves something: the
# band is where ten random directions of the same length take it.

# %%
words = " good great beautiful perfect", " bad poor boring ugly"
praising, blaming = (net.tokenizer.encode(text) for text in words)
asked = ["The concert last night was", "Our new teacher is", "The book that I read was"]
strengths = [-1.5, -1, -0.5, 0, 0.5, 1, 1.5]


def moods(vector):
    """Log odds of good against bad words at each strength, over the beginnings."""
    odds = []
    for strength in strengths:
        with net.edit(nissl.add(sites=site, by=strength * vector)):
            said = torch.stack([net.run(text, sites="logits")["logits"][0, -1] for text in asked])
        odds.append((said[:, praising].logsumexp(1) - said[:, blaming].logsumexp(1)).mean().item())
    return odds


torch.manual_seed(0)
random = torch.nn.functional.normalize(torch.randn(10, len(direction))) * direction.norm()
drawn = torch.tensor([moods(vector) for vector in random])
lines = pd.Series(moods(direction), index=strengths)
axes = curve(lines, null=drawn.mean(0), null_sd=drawn.std(0))
axes.set(xlabel="strength", ylabel="log odds of good words")
plt.show()

# %% [markdown]
# The direction moves the words where no random one does, and it saturates: pushed by more than the
# vector's own length the network leaves what it knows, and its sentences fall apart.
