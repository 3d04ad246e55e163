"""A bag of heuristics (system 206): a sum is answered by the neurons whose patterns it has.

The paper (Nikankin et al. 2025) finds that neurons of arithmetic each answer to a simple pattern of
operands and result, and that those which fit a problem, in no order, carry its answer. Here: the 1%
of SmolLM2's neurons with the largest effect on sums (relevance patching, last position) get a
pattern from their activity on four fifths of the sums. On each sum of the last fifth those that fit
it are silenced; beside them those that patterns dealt anew in each layer fit, and others as active.
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.circuits import effects, operand_patterns
from nissl.network import restart
from nissl.recording import as_recording
from nissl.statistics import MatchedUnits, Test, auroc
from nissl.statistics.figure import bar, save_figure

N, FOLDS, CONTEXTS, DEALS, OTHERS = 460, 5, 4, 99, 19
SITES, VARIABLES = "blocks.*.mlp.neurons", ["first", "second", "result"]
SUMS = pd.DataFrame([(a, b, a + b) for a in range(10) for b in range(10 - a)], columns=VARIABLES)


class Silenced:
    """An edit that multiplies each neuron of each prompt by 0 or 1."""

    def __init__(self, factors):
        self.factors, self.reads, self.writes = factors, (), tuple(factors)

    def begin(self, batch):
        """Begin."""

    def apply(self, site, x, positions, phase):
        """Apply."""
        return x * self.factors[site][:, None].to(x)


def at_last(lines):
    """Return runs of all sums after examples, from the last position on."""
    texts = [f"{lines}{a} + {b} = " for a, b, _ in SUMS.to_numpy()]
    return restart(net, texts, at="blocks.0.resid_pre", from_position=-1)


def fitting(rec, fold, bh=Test(correction="bh")):
    """Return which sums each neuron fits, shape (sum, neuron), named without the sum's fold."""
    fits = np.zeros(rec.shape, dtype=bool)
    for own in (fold == number for number in range(FOLDS)):
        found = operand_patterns(rec.isel(sample=~own), VARIABLES, test=bh, progress=False)
        for unit, pattern in found.significant().table[["unit", "pattern"]].to_numpy():
            fits[own, rec["unit"].values == unit] = SUMS.eval(pattern)[own]
    return fits


def answered(silent, columns):
    """Return how likely each answer is without neurons, and if it is right: (2, context, sum)."""
    said, factors = [], torch.ones(len(SUMS), len(table))
    factors[:, columns] -= torch.from_numpy(1.0 * silent)
    with net.edit(Silenced(dict(zip(activity, factors.chunk(len(activity), 1), strict=True)))):
        for run in runs:
            logits = run.run(sites="logits")["logits"][:, -1].float().cpu()
            likely = logits.log_softmax(-1)[range(len(SUMS)), right]
            said.append(torch.stack([likely, (logits.argmax(-1) == right).float()]).numpy())
    return np.stack(said, 1)


rng = np.random.default_rng(0)
net = nissl.load("smollm2", progress=False)
task = nissl.behaviour.sums(net, progress=False)
each = {"over": SITES, "method": "relp", "patching": "zero", "test": None, "progress": False}
table = effects(task, **each).table
table = table[table["position"] == table["position"].max()].reset_index(drop=True)
neurons = table.nlargest(N, "indirect_effect")
right = torch.tensor([net.token_id(str(result)) for result in SUMS["result"]])
activity = at_last(task.items["text"][0][: -len("1 + 1 = ")]).run(sites=SITES)
size = torch.cat([x[:, 0] for x in activity.values()], 1).abs().cpu().numpy()
rec = as_recording(size[:, neurons.index], samples=SUMS)
fits = fitting(rec, rng.permutation(np.arange(len(SUMS)) % FOLDS))
contexts = [SUMS.sample(3, random_state=draw) for draw in range(CONTEXTS)]
lines = [[f"{a} + {b} = {c}\n" for a, b, c in context.to_numpy()] for context in contexts]
runs = [at_last("".join(given)) for given in lines]
asked = np.stack([~SUMS.index.isin(context.index) for context in contexts])
at = neurons.assign(at=range(N)).groupby("layer")["at"]
deals = [fits[:, at.transform(rng.permutation)] for _ in range(DEALS)]
whole, *left = [answered(silent, neurons.index) for silent in (fits & False, fits, *deals)]
lost = (whole - np.stack(left))[..., asked].mean(-1)  # of log probability, and of accuracy
matched = MatchedUnits().draw(table.assign(weight=size.mean(0)), neurons["unit"], OTHERS)
others = np.mean([(whole - answered(fits, rows))[0][asked].mean() for rows in matched])
support = np.stack([has @ neurons["indirect_effect"].to_numpy() for has in (fits, *deals)], 1)
auc = auroc(support, (whole[1] * asked).sum(0) / asked.sum(0) > 0.5)

axes = bar({"fitting": lost[0, 0], "dealt anew": lost[1:, 0].mean(), "others": others})
axes.set(ylabel="fall of the answer's log probability (nats)")
save_figure(axes.figure, "out/circuits/arithmetic_heuristics.png")
nissl.claim(
    "arithmetic_heuristics",
    system=206,
    says="The neurons whose patterns a sum has, in no order, carry its answer.",
    measured={
        "damage": lost[0, 0],
        "p": np.mean(lost[:, 0] >= lost[0, 0]),
        "neurons_a_sum": fits.sum(1).mean(),
        "accuracy": whole[1][asked].mean(),
        "accuracy_lost": lost[0, 1],
        "auroc_of_right_sums": auc[0],
    },
    null={
        "damage": lost[1:, 0].mean(),
        "other_neurons": others,
        "accuracy_lost": lost[1:, 1].mean(),
        "auroc_of_right_sums": auc[1:].mean(),
    },
    rule="damage > 1.5 * null.damage and damage > 2 * null.other_neurons and p < 0.02",
    data=f"smollm2; {len(SUMS)} sums below ten after three examples, {CONTEXTS} times others than "
    f"those with which {N} neurons were found; null: patterns dealt anew to the neurons of a layer",
)
