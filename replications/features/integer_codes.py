"""Integer codes of heads (system 273): heads of a circuit from few texts and no patching.

A small dictionary is learned of the outputs of all heads of SmolLM2 on texts that need the circuit
for indirect objects, and on the same texts whose second mention is of a third person; the largest
feature is a head's code. Heads are ranked by how many of the first texts have a code that none of
the others has, more than where the two are exchanged. Are the heads that relevance patching finds,
on pairs of other names, among the first tenth? Beside it, the same of texts shuffled
between the two sets; of eight texts of each; of an induction head written by hand; and, for power,
of ten heads that are each given a direction of its own in the first texts.
"""

import numpy as np
import torch
from scipy.stats import hypergeom

import nissl
from nissl.behaviour import indirect_object
from nissl.circuits import effects
from nissl.features import head_codes
from nissl.network import nodes_of
from nissl.specimens.planted import planted_circuit
from nissl.statistics.figure import bar, by_layer, panels, save_figure

SEED, PAIRS, TOP, AMONG, SHUFFLES, FEW = 0, 64, 10, 27, 5, 8  # 27: a tenth of the heads


def third_person(items):
    """Return the texts with a third person in place of the second mention."""
    names, rows = sorted(set(items["object"])), items[["text", "object", "subject"]]
    third = [next(name for name in names if name not in row) for row in rows.values[:, 1:]]
    given = zip(rows["text"], rows["subject"], third, strict=True)
    return [name.join(text.rsplit(b, 1)) for text, b, name in given]


def shared(score, wanted):
    """Return how many of the wanted heads are among those of the largest scores."""
    return len(set(np.argsort(-score, kind="stable")[:AMONG]) & set(wanted))


def ranked(net, positive, negative):
    """Return the score of each head, less the mean of its null."""
    return head_codes(net, positive, negative, progress=False).table["effect"].to_numpy()


class Planted:
    """An edit: heads write a direction of their own in given texts, as large as a head's output."""

    reads = ()

    def __init__(self, net, heads, texts):
        self.texts = {tuple(ids) for ids in net.tokenizer(list(texts))["input_ids"]}
        self.added, rng = {}, torch.Generator().manual_seed(SEED)
        for name, _, number in (head[:-1].partition("[head ") for head in heads):
            site = net.find(name)[0]
            row = self.added.setdefault(name, torch.zeros(site.heads, site.width // site.heads))
            row[int(number)] = torch.randn(row.shape[1], generator=rng) / site.width**0.5
        self.writes = tuple(self.added)

    def begin(self, batch):
        """Look which rows are of the texts."""
        rows = zip(batch.ids.tolist(), batch.prompt_lengths.tolist(), strict=True)
        self.on = torch.tensor([tuple(ids[:n]) in self.texts for ids, n in rows])[:, None, None]

    def apply(self, site, x, positions, phase):
        """Add the directions."""
        return x + x.norm(dim=-1, keepdim=True) * self.added[site].flatten() * self.on


def induction(variant):
    """Return an induction head's network, texts that end in a word that was there, and others."""
    planted = planted_circuit("induction", variant)
    words, texts = sorted(set(planted.pairs["answer"])), list(planted.pairs["text"][:24])
    other = [next(w for w in words[i % 8 :] if w not in t.split()) for i, t in enumerate(texts)]
    negative = [" ".join([*t.split()[:-1], w]) for t, w in zip(texts, other, strict=True)]
    return nissl.load(planted.module, tokenizer=planted.tokenizer), texts, negative


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    here, there = indirect_object(net, n=PAIRS, seed=SEED, progress=False).halves
    nodes = nodes_of(net, "attn.z").table()
    how = {"over": "attn.z", "method": "relp", "positions": "all", "test": None}
    patched = effects(there, progress=False, **how).table.set_index("unit")["indirect_effect"]
    wanted = np.argsort(-patched.reindex(nodes["unit"]).abs().to_numpy())[:TOP]
    texts, others = list(here.items["text"]), third_person(here.items)
    score = ranked(net, texts, others)
    few = ranked(net, texts[::4][:FEW], others[::4][:FEW])
    rng, n = np.random.default_rng(SEED), len(texts)
    mixed = [rng.permutation([*texts, *others]).tolist() for _ in range(SHUFFLES)]
    null = [ranked(net, x[:n], x[n:]) for x in mixed]
    chosen = rng.choice(len(nodes), TOP, replace=False)
    with net.edit(Planted(net, nodes["unit"].iloc[chosen], texts)):
        planted = ranked(net, texts, others)
    by_hand = [head_codes(*induction(x), progress=False) for x in ("planted", "zeroed")]
    chance, found = hypergeom(len(nodes), TOP, AMONG), shared(score, wanted)
    small, power = shared(few, wanted), shared(planted, chosen)

    figure, axes = panels(2)
    by_layer(score, nodes["layer"], found=nodes.index.isin(wanted), axes=axes[0])
    counts = {"codes": found, "eight texts": small, "planted": power}
    bar(counts, null=np.full(3, chance.mean()), axes=axes[1]).set(ylabel="heads of ten")
    save_figure(figure, "out/features/integer_codes.png")
    nissl.claim(
        "integer_codes",
        system=273,
        says="Codes that only positive examples have find a circuit's heads in seconds.",
        measured={
            "precision": found / TOP,
            "p": chance.sf(found - 1),
            "precision_of_eight_texts": small / TOP,
            "induction_by_hand": by_hand[0].significant().units,
            "induction_zeroed": by_hand[1].significant().units,
        },
        null={"precision": np.mean([shared(x, wanted) for x in null]) / TOP},
        rule="precision >= 0.4 and precision > null.precision + 0.1 and p < 0.01",
        power={"precision": power / TOP, "p": chance.sf(power - 1)},
        data=f"smollm2; {n} indirect objects and as many with a third person; precision: "
        f"the share of the {TOP} heads of the largest effect by relevance patching of {len(there)} "
        f"other pairs that are among {AMONG} of {len(nodes)}; null: {SHUFFLES} shuffles of texts",
    )
