"""Information flow routes (system 271): one forward pass a prediction, against patching.

SmolLM2 names the one of two people who was named once. Routes of each prediction say how much goes
through each head; so do routes where the second mention is of a third person, which the behaviour
cannot need. The heads that bring more for the first are held against those that patching finds
(relevance patching, on the same pairs). Then routes of plain text: which heads matter everywhere?
"""

import numpy as np
from scipy.stats import hypergeom

import nissl
from nissl.circuits import effects, information_flow
from nissl.network import nodes_of
from nissl.statistics.figure import bar, panels, save_figure

SEED, PAIRS, TEXTS, TOKENS, TOP, AMONG = 0, 32, 16, 24, 10, 27  # a tenth of the heads


def through(net, texts, heads):
    """Return how much goes through each head, the mean over texts."""
    found = [information_flow(net, text).units().reindex(heads, fill_value=0) for text in texts]
    return np.mean(found, axis=0)


def shared(scores, wanted):
    """Return how many of the wanted heads are among those of the largest scores."""
    return len(set(np.argsort(-scores, kind="stable")[:AMONG]) & set(wanted))


net = nissl.load("smollm2", progress=False)
task = nissl.behaviour.indirect_object(net, n=PAIRS, seed=SEED, progress=False)
heads = [str(node) for node in nodes_of(net, "attn.z")]
patched = effects(task, over="attn.z", method="relp", positions="all", test=None, progress=False)
effect = patched.table.set_index("unit")["indirect_effect"].reindex(heads).to_numpy()
wanted = np.argsort(-np.abs(effect))[:TOP]

texts, others = list(task.items["text"]), []
names = sorted(set(task.items["object"]))
for text, a, b in task.items[["text", "object", "subject"]].itertuples(index=False):
    third = next(name for name in names if name not in (a, b))
    others.append(third.join(text.rsplit(b, 1)))
plain = [t[:200] for t in nissl.read("reader")["text"].iloc[::40]][:TEXTS]
plain = [ids[:TOKENS] for ids in net.tokenizer(plain, add_special_tokens=False)["input_ids"]]
own, without, general = (through(net, given, heads) for given in (texts, others, plain))
found = shared(own - without, wanted)
chance = hypergeom(len(heads), TOP, AMONG)

pattern = net.run(plain, sites="attn.pattern").values()
before = np.concatenate(
    [x.float().diagonal(-1, 1, 3).mean((0, 2)).cpu().numpy() for x in pattern]
)  # attention to the token before, of each head
everywhere = np.argsort(-general)[:TOP]

figure, axes = panels(2)
information_flow(net, texts[0]).plot(axes=axes[0])
top = np.argsort(-(own - without))[:TOP]
counts = {heads[i].replace(".attn.z", "").replace("blocks.", ""): (own - without)[i] for i in top}
bar(counts, axes=axes[1]).set(ylabel="share, more than with a third person")
save_figure(figure, "out/circuits/information_flow.png")

nissl.claim(
    "information_flow",
    system=271,
    says="Routes from one forward pass, contrasted with those of other prompts, uncover the heads "
    "that patching finds.",
    measured={
        "precision": found / TOP,
        "p": chance.sf(found - 1),
        "precision_without_contrast": shared(own, wanted) / TOP,
        "to_previous_token_everywhere": before[everywhere].mean(),
    },
    null={
        "precision": chance.mean() / TOP,
        "precision_without_contrast": shared(general, wanted) / TOP,
        "to_previous_token_everywhere": before.mean(),
    },
    rule="precision >= 0.4 and precision > null.precision + 0.1 and p < 0.01",
    data=f"smollm2; {len(task)} pairs of indirect objects; precision: the share of the {TOP} heads "
    f"of the largest effect by relevance patching that are among {AMONG} of {len(heads)}; "
    f"{len(plain)} texts of {TOKENS} tokens for heads that matter everywhere",
)
