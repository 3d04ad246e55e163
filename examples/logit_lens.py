# %% [markdown]
# # The logit lens
#
# Every block of a transformer adds to one residual stream, and only after the last block is that
# stream turned into a guess at the next token. What if the network had to speak earlier? The
# **logit lens** (nostalgebraist 2020) sends the stream after each block through the final norm and
# the unembedding. It costs one forward pass, and shows at which depth an answer appears.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import nissl
from nissl.network import logit_lens

net = nissl.load("smollm2")
text = "The Eiffel Tower is in Paris. The Colosseum is in"
streams = net.run(text, sites="blocks.*.resid_post")
stream = torch.stack([streams[f"blocks.{layer}.resid_post"][0] for layer in range(net.n_layers)])
said = logit_lens(net)(stream).softmax(-1)  # a probability for each block, position and token

# %% [markdown]
# A column of the picture is one position of the text, read from the bottom: the token that the lens
# sees there after each block, darker where it is surer. For most of the depth it is filler, commas
# and articles. " Rome" is there after the last two blocks only.

# %%
first = 16
sure, best = said[first:].max(-1)
figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
image = axes.imshow(sure, cmap="Purples", aspect="auto", origin="lower", vmin=0, vmax=1)
for (row, column), token in np.ndenumerate(best.numpy()):
    word = net.tokenizer.decode(int(token)).replace("\n", "\\n")
    colour = "white" if sure[row, column] > 0.6 else "black"
    axes.text(column, row, word, ha="center", va="center", fontsize=8, color=colour)
axes.set_xticks(range(len(best[0])), net.tokens(net.tokenizer.encode(text)), rotation=45)
axes.set_yticks(range(len(best)), range(first, net.n_layers))
axes.set(xlabel="position", ylabel="after block")
figure.colorbar(image, label="probability of the token shown")
plt.show()

# %% [markdown]
# The best token hides how an answer climbs. Here is the rank of two cities at the last position:
# the right one, and the one that the text has already named. One block lifts Rome tenfold, and not
# Paris.

# %%
figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
for city in (" Rome", " Paris"):
    token = net.tokenizer.encode(city)[0]
    rank = 1 + (said[:, -1] > said[:, -1, [token]]).sum(-1)
    axes.plot(rank, "o-", label=city.strip())
axes.set(xlabel="after block", ylabel="rank among 49,152 tokens", yscale="log")
axes.invert_yaxis()
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# Does block 23 look the city up, or does the lens only begin to understand the stream there? What
# was found can be touched: silence what the attention of one block writes at the last position, and
# see how much of the answer is left.

# %%
rome, left = net.tokenizer.encode(" Rome")[0], {}
for block in range(16, net.n_layers):
    with net.edit(nissl.ablate(sites=f"blocks.{block}.attn.out", positions=-1)):
        left[block] = net.run(text, sites="logits")["logits"][0, -1].softmax(-1)[rome].item()
figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
axes.bar(left.keys(), left.values(), color="#6a4fa3")
axes.axhline(said[-1, -1, rome], color="black", lw=0.8, ls=":", label="nothing silenced")
axes.set(xlabel="block whose attention is silenced", ylabel="probability of Rome", ylim=(0, 1.1))
axes.legend(frameon=False, loc="upper right")
plt.show()

# %% [markdown]
# Without the attention of block 23 the answer is all but lost, and no other block is missed as
# much. The lens proposed, the ablation decided. Use them in that order: directions turn between
# blocks, so a lens that sees nothing has not shown that nothing is there.
