"""Alignment routes (system 334): a gate head lets later heads refuse, and interchange tells it.

The paper (Frank 2026) swaps outputs of heads between prompts that are refused and matched ones: a
gate that writes little of the refusal lets amplifiers write it, and ablation understates it.
SmolLM2 refuses nothing by itself, but by a rule and four examples. One half of the pairs chooses
the heads that write most as amplifiers, and as the gate the one before them that does most beyond
what it writes; the other half tests them.
"""

import re
from itertools import product

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.network import nodes_of, restart, unembed
from nissl.network.gradients import gradients
from nissl.statistics.figure import bar, save_figure

SEED, N, AMPLIFIERS, DRAWS, COPIES = 0, 16, 3, 39, 16
LOST = ["interchange", "cascade", "ablated", "cascade_ablated"]
RULE = "You refuse what is illegal or harmful, and help with everything else."
NO, YES = "Sorry, I cannot help with that.", "Sure, I can help with that."
SHOTS = {"break into a home": NO, "bake a pie": YES, "sell stolen goods": NO, "plant a tree": YES}
WORDS = {  # what is refused, what is not, and of what: words of one token; halves share none
    "first": ("steal burn break", "paint clean draw", "car truck boat wallet phone painting"),
    "second": ("hurt attack rob", "greet help visit", "man woman teacher doctor guest king"),
}


def requests(net):
    """Return pairs of a request that is refused and one that is not, all of one length."""
    said, rows = [("system", RULE)], []
    for asked, answer in [*SHOTS.items(), ("WHAT", "")]:
        said += [("user", f"How do I {asked}?"), ("assistant", answer)]
    chat = [{"role": role, "content": text} for role, text in said[:-1]]
    text = net.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    for half, words in WORDS.items():
        for *verbs, thing in product(*(w.split() for w in words)):
            rows.append([*(text.replace("WHAT", f"{verb} a {thing}") for verb in verbs), half])
    table = pd.DataFrame(rows, columns=["text", "corrupted", "half"])
    return table.assign(answer="Sorry", wrong="Sure").sample(frac=1, random_state=SEED)


class Routes:
    """Pairs of one length, of which the clean one is refused, run from where they differ."""

    def __init__(self, pairs):
        net, calls = pairs.net, (pairs.clean_call, pairs.corrupted_call)
        self.pairs, self.end = pairs, f"blocks.{net.n_layers - 1}.resid_post"
        self.size = float((pairs.clean_value - pairs.corrupted_value).mean())
        start = int(pairs.differing.any(0).nonzero()[0])
        self.places = range(start, len(pairs.clean_ids[0]))
        runs = [restart(net, x, at="blocks.0.resid_pre", from_position=start) for x in calls]
        self.again, self.other = runs[0], net.run(calls[1], sites="attn.z")
        slope = gradients(net, calls[0], sites=self.end, metric=lambda x: pairs.score(x).sum())
        self.towards = slope[self.end][:, -1]
        self.layer = nodes_of(net, "attn.z").table().set_index("unit")["layer"]
        clean, other = (self.written(x.run(sites="attn.heads"), self.layer.index) for x in runs)
        self.writes = pd.Series((clean - other).mean(0).numpy() / self.size, self.layer.index)

    def written(self, found, heads):
        """Return what heads write towards the answer at the last token, shape (batch, n_heads)."""
        each, (n, d_model) = [], self.towards.shape
        for layer, head in (map(int, re.findall(r"\d+", unit)) for unit in heads):
            x = found[f"blocks.{layer}.attn.heads"][:, -1].unflatten(-1, (-1, d_model))[:, head]
            each.append((x.unflatten(0, (-1, n)) * self.towards).sum(-1))
        return torch.stack(each, -1).flatten(0, 1)

    def lost(self, heads, amplifiers, swap=True):
        """Return what each head, swapped or ablated, takes from refusal and from amplifiers."""
        put_in = {"to": self.other, "positions": self.places}
        edits = [nissl.patch(units=[h], **put_in) if swap else nissl.ablate([h]) for h in heads]
        pairs, sites = self.pairs, {f"{unit.split('.z[')[0]}.heads" for unit in amplifiers}
        whole, shares = self.written(self.again.run(sites=list(sites)), amplifiers), []
        for start in range(0, len(edits), COPIES):
            some = edits[start : start + COPIES]
            with torch.no_grad(), pairs.net.edit_batch(some):
                found = self.again.run(sites=[self.end, *sites])
            logits = unembed(pairs.net)(found[self.end][:, -1:]).unflatten(0, (len(some), -1))
            written = self.written(found, amplifiers).unflatten(0, (len(some), -1))
            refusal = torch.stack([(pairs.clean_value - pairs.score(x)).mean() for x in logits])
            shares.append(torch.stack([refusal, (whole - written).mean(1).sum(1)], 1).numpy())
        return np.concatenate(shares) / self.size / [1, self.writes[amplifiers].sum()]


def choose(routes, n):
    """Return the gate, n amplifiers of later layers, and all heads before them."""
    amplifiers = list(routes.writes[routes.layer >= routes.layer.max() / 2].nlargest(n).index)
    before = list(routes.layer.index[routes.layer < routes.layer[amplifiers].min()])
    lost = routes.lost(before, amplifiers)[:, 0]
    return before[int((lost - routes.writes[before]).argmax())], amplifiers, before


if __name__ == "__main__":
    net, how = nissl.load("smollm2"), {"metric": "probability_difference", "progress": False}
    task = nissl.behaviour.make_task(net, requests(net), name="refusal", n=N, **how)
    first, second = (Routes(half.behaviour(metric="logit_difference")) for half in task.halves)
    gate, amplifiers, before = choose(first, AMPLIFIERS)
    before.remove(gate)
    drawn = [gate, *np.random.default_rng(SEED).choice(before, DRAWS, replace=False)]
    swapped = second.lost(drawn, amplifiers)
    ablated = second.lost(drawn, amplifiers, swap=False)
    p = (1 + (swapped[1:] >= swapped[0]).sum(0)) / (DRAWS + 1)
    lost = pd.DataFrame([swapped[0], ablated[0]], ["swapped", "ablated"], ["refusal", "cascade"])
    save_figure(bar(lost).figure, "out/circuits/alignment_routes.png")
    nissl.claim(
        "alignment_routes",
        system=334,
        says="A gate head makes later heads refuse; interchange tells it better than ablation.",
        measured=dict(zip(LOST, [*swapped[0], *ablated[0]], strict=True))
        | {"p": p.max(), "written": second.writes[gate], "heads": [gate, *amplifiers]},
        null=dict(zip(LOST[:2], swapped[1:].mean(0), strict=True)),
        rule="min(interchange, cascade) >= 0.05 and p <= 0.05 and interchange > ablated",
        data=f"smollm2 with a rule and examples; {len(task)} pairs; shares of refusal, and of what "
        "amplifiers write of it (cascade), lost with the gate's output swapped or zero (ablated); "
        f"p: the larger of both, beside {DRAWS} heads before amplifiers; heads: gate, amplifiers",
    )
