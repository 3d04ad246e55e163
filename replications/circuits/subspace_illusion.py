"""The subspace patching illusion (system 17): a trained direction that uses a dormant pathway.

SmolLM2 names the one of two people who was named once; whether this is the first or the second
name is said by a direction at the last token. One direction is trained by gradient descent at the
neurons of an MLP, one in the residual stream after the same block (distributed alignment search of
rank one), on pairs of one half. On the other half each is split into what the network reads there
and what nothing reads. The block lies between the heads that tell the two places apart (19 and 20)
and those that copy the name (from 23 on), as effects on the first half show.
"""

import torch
from torch import nn

import nissl
from nissl.circuits import effects, subspace_illusion
from nissl.network import frozen, patch
from nissl.statistics import Test
from nissl.statistics.figure import bar, panels, save_figure
from nissl.training import train

SEED, PAIRS, LAYER, STEPS, BATCH, N_HEADS = 0, 128, 21, 120, 16, 3
SITES = {"mlp": f"blocks.{LAYER}.mlp.neurons", "stream": f"blocks.{LAYER}.resid_post"}


class Direction(nn.Module):
    """One direction at a site."""

    def __init__(self, n_units):
        super().__init__()
        drawn = torch.randn(n_units, generator=torch.Generator().manual_seed(SEED))
        self.vector = nn.Parameter(drawn / drawn.norm())


def trained(net, pairs, site):
    """Train a direction so that clean activity along it restores the answer in corrupted runs."""
    clean = net.run(pairs.clean_call, sites=site)[site]
    order = torch.Generator().manual_seed(SEED)
    batches = [torch.randperm(len(pairs), generator=order)[:BATCH] for _ in range(STEPS)]

    def loss(model, rows):
        ids = [pairs.corrupted_ids[i] for i in rows]
        call = pairs.call(ids)
        edit = patch({site: clean[rows]}, positions=slice(-1, None), directions=model.vector)
        with frozen(net), net.edit(edit):
            logits = net.model(*call.args, **call.kwargs).logits
        last = logits[torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])]
        right, wrong = pairs.right[rows], pairs.wrong[rows]
        return (last.gather(1, wrong) - last.gather(1, right)).mean()

    found = train(
        Direction(clean.shape[-1]),
        lambda step: batches[step],
        loss=loss,
        steps=STEPS,
        learning_rate=0.01,
        schedule="linear",
        seed=SEED,
        key=f"{net.name} {site} {PAIRS} pairs of indirect objects",
    )
    return found.model.vector.detach()


def queries(net, pairs):
    """Return what the queries of the later heads that matter most read of the stream."""
    later = [f"blocks.{layer}.attn.q" for layer in range(LAYER + 1, net.n_layers)]
    found = effects(pairs, over=later, method="relp", test=Test(seed=SEED), progress=False)
    table = found.table[found.table["position"] == -1].nlargest(N_HEADS, "indirect_effect")
    columns = []
    for unit in table["unit"]:
        (part,) = net.find(unit)
        block = net.block(part.layer)
        weight = block.self_attn.q_proj.weight * block.input_layernorm.weight
        columns.append(weight[list(part.pieces[0].units)].T)
    return torch.cat(columns, 1).detach(), list(table["unit"])


net = nissl.load("smollm2", progress=False)
task = nissl.behaviour.indirect_object(net, n=PAIRS, seed=SEED, progress=False)
to_find, to_test = (half.behaviour() for half in task.halves)
asked, heads = queries(net, to_find)
reads = {"mlp": net.output_weights(SITES["mlp"]), "stream": asked}
tables, verdict = {}, {}
for name, site in SITES.items():
    found = subspace_illusion(
        to_test, site, trained(net, to_find, site), reads=reads[name], test=Test(seed=SEED)
    )
    tables[name], verdict[name] = found.table.set_index("unit"), found.provenance["verdict"]

figure, axes = panels(2)
for axis, (name, table) in zip(axes, tables.items(), strict=True):
    axis = bar(table["restored"], axes=axis)
    axis.set(title=f"{SITES[name]}: {verdict[name]}", ylabel="share of the behaviour restored")
save_figure(figure, "out/circuits/subspace_illusion.png")

mlp, stream = tables.values()
nissl.claim(
    "subspace_illusion",
    system=17,
    says="A direction at an MLP's neurons that changes the behaviour when patched can do so by a "
    "dormant pathway: most of the effect is gone without its part in the null space of the output "
    "matrix, which alone does nothing.",
    measured={
        "illusory": mlp["restored"]["illusory"],
        "whole": mlp["restored"]["whole"],
        "p": mlp["q"]["illusory"],
        "row_space": mlp["restored"]["row space"],
        "null_space": mlp["restored"]["null space"],
        "activity_null_space": mlp["activity"]["null space"],
        "norm_null_space": mlp["norm"]["null space"],
        "stream_whole": stream["restored"]["whole"],
        "stream_row_space": stream["restored"]["row space"],
        "stream_illusory": stream["restored"]["illusory"],
        "stream_norm_null_space": stream["norm"]["null space"],
    },
    null={"illusory": mlp["restored"]["random"], "stream_whole": stream["restored"]["random"]},
    rule="illusory > 0.5 * whole and illusory > null.illusory and p < 0.01",
    data=f"smollm2; {len(to_find)} pairs of indirect objects to train a direction, {len(to_test)} "
    f"with other names to test it; block {LAYER}, last token; the stream is read by the queries of "
    f"{', '.join(heads)}",
)
