"""SNMF (system 34): groups of neurons as features, and whether adding them says their concept.

Neurons of SmolLM2's middle MLP are factored: nonnegative sizes of 1% of the neurons each; by an
autoencoder; and by differences of means, which are told the concepts. Each method's feature that
differs most at a concept's words is added, as strongly as gives one divergence. Do other words of
it become likelier? Null: an SNMF feature on random neurons. Beside the rule: an early, a late MLP.
"""

import numpy as np
import torch

import nissl
from nissl.behaviour import PromptScorer
from nissl.cache import cache_dir
from nissl.features import Schedule, factorise, sae
from nissl.network import add

SITE, FEATURES, KEPT, K, TARGET, SETS, SEED = "blocks.15.mlp.neurons", 128, 0.01, 8, 0.25, 24, 0
ELSEWHERE, SAMPLES, FEW = {"early": 3, "late": 26}, 300_000, 150_000  # fewer to learn from
CONCEPTS = {  # the first four are learned from, the others scored
    "colours": "red blue green yellow black white purple orange",
    "months": "January March July September April June August October",
    "animals": "dog cat horse cow sheep lion bear wolf",
    "body": "hand arm leg foot eye nose ear finger",
    "family": "father sister uncle son mother brother aunt daughter",
    "countries": "France Japan Spain China Germany Italy India Brazil",
}
SENTENCES = ["I thought about {} again.", "The word is {} here.", "They spoke of {} and more."]
SENTENCES += ["It was {}, of course.", "Not only {} but others too.", "We wrote {} on the page."]
PROMPTS = ["I think that the", "She told me about her", "We talked about the", "The book is about"]
PROMPTS += ["He said that", "This is a story of"]


def most_different(code, there):
    """Return the feature whose mean differs most where a concept is, in its deviations."""
    return int(np.argmax((code[there].mean(0) - code[~there].mean(0)) / (code.std(0) + 1e-6)))


def at_divergence(measure, n, scale, target=TARGET, steps=8):
    """Return divergence and effect, ``measure(strengths)``, where the divergence is the target."""
    middle = np.full(n, np.log2(scale))
    for step in range(steps):
        divergence, effect = measure(2.0**middle)
        middle += np.where(divergence > target, -5, 5) / 2 ** (step + 1)
    return divergence, effect


def moved(net, site, directions, words):
    """Return a function of strengths: divergence, and gain in log probability of each's words."""
    scorer, clean = PromptScorer(net, PROMPTS), torch.empty(len(PROMPTS), net.model.vocab_size)
    for _, rows, logits in scorer.logits(progress=False):
        clean[rows] = logits.log_softmax(-1)

    def measure(strengths):
        edits = [add(sites=site, by=s * d) for s, d in zip(strengths, directions, strict=True)]
        found = np.zeros((2, len(edits), len(PROMPTS)))
        for chunk, rows, logits in scorer.logits(edits, progress=False):
            new = logits.log_softmax(-1).unflatten(0, (len(chunk), len(rows)))
            for i, edit in enumerate(chunk):
                was, ids = clean[rows], words[edit]
                gain = new[i][:, ids].logsumexp(-1) - was[:, ids].logsumexp(-1)
                found[:, edit, rows] = (was.exp() * (was - new[i])).sum(-1).numpy(), gain.numpy()
        return found.mean(-1)

    return measure


def steered(net, site, plain, samples, sets):
    """Return gains of concepts by each set of directions, divergence, neurons, and tokens."""
    words = {name: said.split() for name, said in CONCEPTS.items()}
    one = {w: net.tokenizer(" " + w)["input_ids"][0] for said in words.values() for w in said}
    named = [(name, w, s) for name in words for w in words[name][:4] for s in SENTENCES]
    texts, store = plain + [s.format(w) for _, w, s in named], cache_dir("activity")
    how = {"store": store / f"smollm2-concepts-{site}", "window": 256, "progress": False}
    acts = nissl.record(net, texts, sites=site, **how).load()
    label = np.full(len(acts), "none", dtype=object)
    for i, (name, w, _) in enumerate(named, len(plain)):
        label[(acts["document"].values == i) & (acts["token"].values == one[w])] = name
    acts, x = acts.assign_coords(concept=("sample", label)), torch.from_numpy(acts.values)
    how = {"schedule": Schedule(samples=samples, batch_size=1024), "seed": SEED, "progress": False}
    rows, rng, n = [], np.random.default_rng(SEED), {"n_features": FEATURES}
    made = [factorise(acts, method="snmf", kept=KEPT, n_iter=60, **n), sae(acts, k=K, **n, **how)]
    for found in [*made, factorise(acts, method="difference", labels="concept")]:
        code = found.encode(x).detach().numpy()
        rows += [found.directions[most_different(code, label == c)].detach() for c in CONCEPTS]
    tops = torch.cat([r.abs().argsort(descending=True)[:3] for r in rows[: len(CONCEPTS)]])
    out = net.model.lm_head.weight.detach().float()
    down = net.model.model.layers[int(site.split(".")[1])].mlp.down_proj.weight.detach().float()
    others = {name: [one[w] for w in words[name][4:]] for name in words}
    rows += [(out[others[name]].mean(0) - out.mean(0)) @ down for name in CONCEPTS]
    rows += [r[rng.permutation(len(r))] for _ in range(sets) for r in rows[: len(CONCEPTS)]]
    units = torch.nn.functional.normalize(torch.stack(rows), dim=1)
    measure = moved(net, site, units, [*others.values()] * (len(rows) // len(others)))
    divergence, gain = at_divergence(measure, len(units), float(x.norm(dim=1).mean()))
    return gain.reshape(-1, len(CONCEPTS)), divergence, acts["unit"].values[tops], len(acts)


if __name__ == "__main__":
    net, plain = nissl.load("smollm2", progress=False), nissl.read("reader")["text"].str[:400][::4]
    by_set, divergence, names, n_tokens = steered(net, SITE, list(plain), SAMPLES, SETS)
    kinds, beside = ("gain", "sae", "difference"), {}
    for name, block in ELSEWHERE.items():
        found = steered(net, f"blocks.{block}.mlp.neurons", list(plain[::2]), FEW, 0)[0].mean(1)
        beside |= {f"{kind}_{name}": value for kind, value in zip(kinds, found, strict=False)}
    mean, null = by_set.mean(1), by_set[4:].mean(1)
    p = [(1 + (null >= m).sum()) / (1 + SETS) for m in mean[:4]]
    figures = dict(zip(kinds, mean, strict=False)) | {"p": p[0], "kl": divergence.max()} | beside
    nissl.claim(
        "snmf",
        system=34,
        says="Nonnegative features of a few neurons steer better than an autoencoder's and than "
        "differences of means.",
        measured=figures | {"by_concept": by_set[:3].tolist(), "neurons": list(names)},
        null={"gain": null.mean(), "best": null.max()},
        rule="gain > sae and gain > difference and p < 0.05",
        power={"gain": mean[3], "p": p[3]},
        data=f"smollm2, {SITE}, {n_tokens:,} tokens, {FEATURES} features; gain, nats: in the log "
        f"probability of four other words of each of {', '.join(CONCEPTS)}, after {len(PROMPTS)} "
        f"prompts at a divergence of {TARGET} nats; null: {SETS} sets; early, late: half as many",
    )
