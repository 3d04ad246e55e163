"""Transformer dynamics (system 201): the residual stream is drawn back to its path, or not.

The paper (Fernando and Guitchounts 2025) sees single units of the stream go on through depth, the
stream get faster and denser, and pushes in its lower layers be undone. Here a random vector half as
long as the stream is added at the last token of texts, and the distance from the path is measured
four blocks later. Beside SmolLM2 stand networks with fresh weights of each tensor's scale. For
power, the lower blocks of SmolLM2 are made to pull the stream towards its path.
"""

import numpy as np

import nissl
from nissl.circuits import residual_dynamics
from nissl.network import Network
from nissl.statistics import ReinitialisedNetwork
from nissl.statistics.figure import curve, panels, save_figure

TEXTS, TOKENS, NETWORKS, LOW, PULL = 24, 12, 3, 10, 0.7


class Pull:
    """An edit that takes a share of the distance from a path away at each site of it."""

    reads = ()

    def __init__(self, path):
        self.path, self.writes = path, tuple(path)

    def bind(self, net):
        """Return itself: it knows its sites by full name."""
        return self

    def begin(self, batch):
        """Begin a batch, which is always the same one."""

    def apply(self, site, x, positions, phase):
        """Return what is left at a site."""
        return self.path[site] + PULL * (x - self.path[site])


def dynamics(net, ids):
    return residual_dynamics(net, ids, progress=False).table.set_index("layer")


def figures(table):
    """Return means over the lower layers, and of the upper ones where these are wanted."""
    low, high = table[table.index < LOW], table[table.index >= LOW]
    return {
        "remaining": float(low["remaining"].mean()),
        "remaining_above": float(high["remaining"].mean()),
        "remaining_over_growth": float((low["remaining"] / low["growth"]).mean()),
        "along": float(low["along"].mean()),
        "continuity": float(table["continuity"].mean()),
        "continuity_shuffled": float(table["null_mean"].mean()),
        "velocity_last_over_first": float(table["velocity"].iloc[-1] / table["velocity"].iloc[0]),
        "density_last_less_first": float(table["density"].iloc[-1] - table["density"].iloc[0]),
    }


net = nissl.load("smollm2")
texts = list(nissl.read("reader")["text"].iloc[7::16])[:TEXTS]
ids = [ids[:TOKENS] for ids in net.tokenizer(texts, add_special_tokens=False)["input_ids"]]
trained = dynamics(net, ids)
fresh = [
    dynamics(Network(model, tokenizer=net.tokenizer), ids)
    for model in ReinitialisedNetwork("moments").draw(net.model, NETWORKS, seed=0)
]
low = [f"blocks.{i}.resid_post" for i in range(LOW + 4)]
with net.edit(Pull(net.run(ids, sites=low))):
    planted = dynamics(net, ids)

figure, axes = panels(2)
lines = {"trained": trained, "fresh weights": fresh[0], "planted": planted}
for ax, name in zip(axes, ("remaining", "continuity"), strict=True):
    curve({k: table[name] for k, table in lines.items()}, axes=ax)
    ax.set(xlabel="block", ylabel=name)
axes[0].set(yscale="log", ylabel="distance four blocks later / push")
save_figure(figure, "out/circuits/residual_dynamics.png")

measured, null = figures(trained), [figures(table) for table in fresh]
least = {name: min(found[name] for found in null) for name in ("remaining", "remaining_above")}
means = {name: float(np.mean([found[name] for found in null])) for name in measured}
nissl.claim(
    "residual_dynamics",
    system=201,
    says="In lower layers the residual stream is drawn back to its path after a push.",
    measured=measured,
    null={**means, **least},
    rule="remaining < 0.9 and remaining < null.remaining - 0.1 and remaining < remaining_above",
    power=figures(planted),
    data=f"smollm2; {len(ids)} texts of {TOKENS} tokens, pushed at the last by half the stream's "
    "length; remaining: distance from the path four blocks later over that of the push, mean over "
    f"pushes behind blocks 0 to {LOW - 1}, above: behind the others; null: of {NETWORKS} networks "
    "with fresh weights the least remaining, and the means of the rest; power: "
    f"the distance from the path is multiplied by {PULL} behind blocks 0 to {LOW + 3}",
)
