# %% [markdown] caption="At which depth an answer appears, and what brings it"
# # The logit lens
#
# Every block of a transformer adds to one residual stream, and only after the last block is that
# stream turned into a guess at the next token. What if the network had to speak earlier? The
# **logit lens** (nostalgebraist 2020) sends the stream after each block through the final norm and
# the unembedding. It costs one forward pass, and shows at which depth an answer appears.

# %%
import matplotlib.pyplot as plt

import nissl
from nissl.statistics.figure import bar, curve

net = nissl.load("smollm2")
text = "The Eiffel Tower is in Paris. The Colosseum is in"
lens = net.logit_lens(text, answers=[" Rome", " Paris"])

# %% [markdown]
# A column of the picture is one position of the text, read from the bottom: the token that the lens
# sees there after each block, darker where it is surer. For most of the depth it is filler, commas
# and articles. " Rome" is there after the last two blocks only.

# %%
lens.plot()
plt.show()

# %% [markdown]
# The best token hides how an answer climbs. Here is the rank of two cities at the last position:
# the right one, and the one that the text has already named. One block lifts Rome tenfold, and not
# Paris.

# %%
asked = lens.answers.query("position == position.max()")
axes = curve(asked.pivot(index="layer", columns="answer", values="rank"))
axes.set(xlabel="after block", ylabel="rank among 49,152 tokens", yscale="log")
axes.invert_yaxis()
plt.show()

# %% [markdown]
# Does block 23 look the city up, or does the lens only begin to understand the stream there? What
# was found can be touched: silence what the attention of one block writes at the last position, and
# see how much of the answer is left.

# %%
rome, left = net.token_id(" Rome"), {}
for block in range(16, net.n_layers):
    with net.edit(nissl.ablate(sites=f"blocks.{block}.attn.out", positions=-1)):
        left[block] = net.run(text, sites="logits")["logits"][0, -1].softmax(-1)[rome].item()
axes = bar(left)
axes.set(xlabel="block whose attention is silenced", ylabel="probability of Rome", ylim=(0, 1))
plt.show()

# %% [markdown]
# Without the attention of block 23 the answer is all but lost, and no other block is missed as
# much. The lens proposed, the ablation decided. Use them in that order: directions turn between
# blocks, so a lens that sees nothing has not shown that nothing is there.
