"""Voids (system 103): what a network does without the layers that tokens do not activate.

SmolLM2 chooses among four answers to facts, and answers questions about others in its own words.
Each token skips the layers that are voids of it; alpha, which says how many these are, is chosen on
one half of the facts, and the score of the other half is set against skipping as many random
layers. The paper's code never skips: its layers read the whole stream, and what leaves the last is
what the last activated one left. That is measured beside it. Where voids are skipped, the beginning
that questions of one kind share is read, and its layers are counted, once.

What is planted is the same network in other units: each block doubles the stream, which the norms
take back, so that it computes what it did, and between two blocks lies one that does nothing.
"""

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.behaviour import PromptScorer, halves
from nissl.network import Network, skip_random, skip_voids, unembed
from nissl.selectivity import stream_norms, void_layers, voids
from nissl.statistics import Test

SEED, PER_KIND, CHOICES, DRAWS = 0, 20, 4, 2
ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
USED = 0.7  # of the layers at most: the paper's gains are with 30 to 70%
BATCH, QUESTIONS, NEW, SHOWN = 64, 32, 14, 36
ASKED = {
    "capital": "What is the capital of {}?",
    "language": "What is the official language of {}?",
    "continent": "On which continent is {}?",
    "plural": "What is the plural of {}?",
}
BOTH = {"both": ["prompt", "response"]}
SKIPS = {"prompt": ["prompt"], "response": ["response"], **BOTH}
STREAM = ["blocks.0.resid_pre", "resid_post"]


def with_choices(facts, tokenizer):
    """Add the token ids of each answer and of three answers to other facts of its kind."""
    first = np.asarray([tokenizer.encode(a, add_special_tokens=False)[0] for a in facts["answer"]])
    rng, kinds, choices = np.random.default_rng(SEED), facts["relation"].to_numpy(), []
    for own, kind in zip(first, kinds, strict=True):
        others = np.setdiff1d(first[kinds == kind], [own])
        choices.append([own, *rng.choice(others, CHOICES - 1, replace=False)])
    return facts.assign(choices=choices)


def scored(logits, choices):
    """Tell of facts whether the right one of four answers is the likeliest, and of all tokens."""
    choices = torch.tensor(choices)
    right = logits.gather(1, choices).argmax(1) == 0
    return np.stack([right.numpy(), (logits.argmax(1) == choices[:, 0]).numpy()])


def choose(net, facts, *edits):
    """Score facts: how often the right one of four answers is the likeliest, and of all tokens."""
    texts, choices, found = list(facts["text"]), np.stack(facts["choices"]), []
    with net.edit(*edits):
        for _, rows, logits in PromptScorer(net, texts).logits(batch_size=BATCH, progress=False):
            found.append(scored(logits, choices[rows]))
    return dict(zip(("accuracy", "top1"), np.concatenate(found, axis=1).mean(axis=1), strict=True))


def skipping(net, facts):
    """Return what scores facts where voids are skipped (given a seed: as many random layers)."""
    edits = {}

    def score(alpha, seed=None, match="number"):
        if seed is None:
            edit = edits[alpha] = skip_voids(alpha=alpha)
        else:
            edit = skip_random(edits[alpha], match=match, seed=seed)
        return {**choose(net, facts, edit), "used": float(edit.usage()["used"].mean())}

    return score


def leaving(net, facts):
    """The same where each token leaves at the last layer it uses: all from one reading."""
    rec = nissl.record(net, list(facts["text"]), sites=STREAM, bos="never", progress=False)
    norms, read, choices = stream_norms(rec), unembed(net), np.stack(facts["choices"])
    end = np.flatnonzero(np.diff(rec["document"].values, append=-1))
    stream = torch.from_numpy(rec.values[end].reshape(len(end), norms.shape[1], -1))

    def score(alpha, seed=None):
        void = void_layers(norms, alpha=alpha)
        own = void[end]
        if seed is not None:
            own = np.random.default_rng(seed).permuted(own, axis=1)
        passed = (~own * np.arange(1, own.shape[1] + 1)).max(axis=1)
        right, first = scored(read(stream[np.arange(len(end)), passed]), choices).mean(axis=1)
        return {"accuracy": right, "top1": first, "used": 1 - void.mean()}

    return score


def chosen_alpha(score):
    """Choose the alpha that scores best with no more than 70% of the layers."""
    scores = pd.DataFrame([{"alpha": a, **score(a)} for a in ALPHAS])
    few = scores[scores["used"] <= USED]
    return float(few.loc[few["accuracy"].idxmax(), "alpha"])


def against_random(score, alpha, draws=1):
    """Score with voids skipped, and with as many random layers, the mean of draws."""
    own = score(alpha)
    return own, pd.DataFrame([score(alpha, seed=s) for s in range(draws)]).mean().to_dict()


def respond(net, facts, *edits):
    """Return the answers to questions, and how many hold the right word."""
    chats = [
        [{"role": "user", "content": ASKED[kind].format(subject)}]
        for kind, subject in zip(facts["relation"], facts["subject"], strict=True)
    ]
    with net.edit(*edits):
        said = net.generate(chats, max_new_tokens=NEW)
    right = [
        bool(re.search(rf"\b{re.escape(answer.strip())}\b", text, re.IGNORECASE))
        for answer, text in zip(facts["answer"], said, strict=True)
    ]
    return chats, said, float(np.mean(right))


def responses(net, facts, alpha, skips=SKIPS):
    """Share of right answers with voids skipped, and with as many layers at random."""
    scores = {}
    for name, phases in skips.items():
        edit = skip_voids(alpha=alpha, phases=phases)
        scores[name] = respond(net, facts, edit)[2]
    used = edit.usage().groupby("phase")["used"].mean().to_dict()
    scores["as many at random"] = respond(net, facts, skip_random(edit, seed=SEED))[2]
    return scores, used


def recorded(net, chats, said):
    """Record chats with the answers that all layers gave."""
    ids, phase = [], []
    for chat, text in zip(chats, said, strict=True):
        prompt = net.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        parts = [net.tokenizer.encode(part, add_special_tokens=False) for part in (prompt, text)]
        ids.append(np.concatenate(parts).astype(int))
        phase += [name for name, p in zip(("prompt", "response"), parts, strict=True) for _ in p]
    rec = nissl.record(net, ids, sites=STREAM, bos="never", progress=False)
    table = {name: rec[name].values for name in ("document", "position", "token")}
    units = {name: rec[name].values for name in ("unit", "site", "layer", "index")}
    return nissl.recording.as_recording(rec.values, samples={**table, "phase": phase}, units=units)


class Doubled(nn.Module):
    """A block in other units: it reads a stream that was doubled `n` times, and doubles it."""

    def __init__(self, block, n):
        super().__init__()
        self.block, self.scale = block, 2.0**n

    def forward(self, hidden_states, *args, **kwargs):
        """Halve as often as was doubled, do what the block did, and double once more."""
        return 2 * self.scale * self.block(hidden_states / self.scale, *args, **kwargs)


class Idle(nn.Module):
    """A block that does nothing."""

    def forward(self, hidden_states, *args, **kwargs):
        """Return what it is given."""
        return hidden_states


def planted(name):
    """The network, half of whose layers do nothing to any token, and whose others always do."""
    net = nissl.load(name, dtype="bfloat16")
    blocks = []
    for n, block in enumerate(net.model.model.layers):
        blocks += [Doubled(block, n), Idle()]
    net.model.model.layers = nn.ModuleList(blocks)
    net.model.config.num_hidden_layers = len(blocks)
    return Network(net.model, tokenizer=net.tokenizer, name=f"{name} with idle layers")


torch.manual_seed(SEED)
net = nissl.load("smollm2", dtype="bfloat16")
facts = nissl.read("relations")
some = facts.groupby("relation").sample(PER_KIND, random_state=SEED).reset_index(drop=True)
chosen_on, tested = halves(with_choices(some, net.tokenizer), labels="relation", seed=SEED)
asked = facts[facts["relation"].isin(ASKED) & ~facts["fact"].isin(chosen_on["fact"])]
asked = asked.groupby("relation").sample(QUESTIONS // len(ASKED), random_state=SEED)

whole = choose(net, tested)
ways = {"skipped": skipping, "whole": leaving}
alpha = {stream: chosen_alpha(way(net, chosen_on)) for stream, way in ways.items()}
print("alpha", alpha, whole, file=sys.stderr)
curves = {}
for stream, way in ways.items():
    score = way(net, tested)
    pairs = [against_random(score, a, draws=DRAWS if a == alpha[stream] else 1) for a in ALPHAS]
    curves[stream] = [pd.DataFrame(rows, index=ALPHAS) for rows in zip(*pairs, strict=True)]
    print(stream, *curves[stream], sep="\n", file=sys.stderr)
    if stream == "skipped":
        others = score(alpha[stream], seed=SEED, match="layers")
        print("layers of other tokens", others, file=sys.stderr)
chats, said, whole_response = respond(net, asked)
scores, used = responses(net, asked, alpha["skipped"])
scores = {"all layers": whole_response, **scores}
print(scores, used, *said[::6], sep="\n", file=sys.stderr)
rec = recorded(net, chats, said)
found = voids(rec, labels="phase", test=Test(seed=SEED))
differ = found.table[found.table["label"] == "response - prompt"]

idle = planted("smollm2")
idle_alpha = chosen_alpha(skipping(idle, chosen_on))
idle_own, idle_null = against_random(skipping(idle, tested), idle_alpha)
idle_response = respond(idle, asked)[2]
idle_scores, _ = responses(idle, asked, idle_alpha, BOTH)
idle_whole = choose(idle, tested)["accuracy"]
print(idle_alpha, idle_whole, idle_own, idle_null, idle_scores, file=sys.stderr)
norms = stream_norms(rec)
doubled = norms * 2.0 ** np.arange(norms.shape[1])  # what the same layers write in other units
doubled_used = 1 - void_layers(doubled, alpha=alpha["skipped"]).mean()

figure, axes = plt.subplots(2, 2, figsize=(13.5, 9), layout="constrained")
ink, pale, warm = "#2f5d8a", "#9db8cf", "#c8553d"
text = int(np.argmax([len(s) for s in said]))
rows = np.flatnonzero(rec["document"].values == text)[-SHOWN:]
void = void_layers(norms)[rows]
axes[0, 0].imshow(~void.T, origin="lower", aspect="auto", cmap="Blues", vmin=-0.1, vmax=1.4)
names = [repr(t)[1:-1].strip() or "␣" for t in net.tokens(rec["token"].values[rows])]
axes[0, 0].set_xticks(range(len(rows)), names, rotation=90, fontsize=7)
start = (rec["phase"].values[rows] == "prompt").sum() - 0.5
axes[0, 0].axvline(start, color=warm, lw=1.5)
axes[0, 0].text(start + 0.3, net.n_layers - 0.3, "response", color=warm, fontsize=9, va="bottom")
axes[0, 0].set(ylabel="layer", title="Layers that tokens activate (blue)\n")
table = found.table.set_index(["label", "layer"])
for phase, colour in (("prompt", ink), ("response", warm)):
    axes[0, 1].plot(1 - table.loc[phase, "share"], "o-", ms=3, color=colour, label=phase)
axes[0, 1].plot(
    1 - table.loc["prompt", "null_mean"], ":", color="black", label="layers in another order"
)
for layer in differ.loc[differ["q"] <= 0.05, "layer"]:
    axes[0, 1].axvspan(layer - 0.5, layer + 0.5, color="#eeeeee", lw=0, zorder=0)
axes[0, 1].set(
    xlabel="layer",
    ylabel="share of tokens that activate it",
    title="Prompt and response (grey: they differ, q < 0.05)",
)
axes[0, 1].legend(frameon=False)
lines = {"skipped": ("-", "skipped"), "whole": ("--", "left at the last used layer")}
for stream, (own, null) in curves.items():
    style, name = lines[stream]
    for curve, colour, of in ((own, ink, "voids"), (null, warm, "random layers")):
        axes[1, 0].plot(
            curve["used"], curve["accuracy"], "o" + style, ms=4, color=colour, label=f"{of}, {name}"
        )
for level, name in ((whole["accuracy"], "all layers"), (1 / CHOICES, "chance")):
    axes[1, 0].axhline(level, color="black", lw=0.8, ls=":")
    axes[1, 0].text(1.0, level + 0.01, name, fontsize=9, ha="right")
axes[1, 0].set(
    xlabel="share of layers used",
    ylabel="right among four",
    ylim=(0, 1),
    xlim=(0.15, 1.01),
    title=f"{len(tested)} facts, six values of alpha",
)
axes[1, 0].legend(frameon=False, fontsize=8, loc="lower right", ncols=2)
bars = list(scores)
axes[1, 1].barh(bars[::-1], [scores[b] for b in bars[::-1]], color=[warm, *[pale] * 3, ink])
for y, bar in enumerate(bars[::-1]):
    axes[1, 1].text(scores[bar] + 0.01, y, f"{scores[bar]:.2f}", va="center", fontsize=9)
said_of = {bar: f"voids skipped:\n{bar}" if bar in SKIPS else bar for bar in bars}
axes[1, 1].set_yticks(range(len(bars)), [said_of[bar] for bar in bars[::-1]])
title = f"{len(said)} questions, answered in words (alpha {alpha['skipped']})"
axes[1, 1].set(xlabel="answers that hold the right word", xlim=(0, 1), title=title)
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/voids.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

own, null = (curve.loc[alpha["skipped"]] for curve in curves["skipped"])
early, early_null = (curve.loc[alpha["whole"]] for curve in curves["whole"])
nissl.claim(
    "voids",
    system=103,
    says="Skipping the layers that tokens of the prompt do not activate keeps the score or betters "
    "it, with 30 to 70% of the layers.",
    measured={
        "accuracy": own["accuracy"],
        "whole": whole["accuracy"],
        "used": own["used"],
        "response": scores["both"],
        "whole_response": whole_response,
        "response_prompt_skips": scores["prompt"],
        "response_response_skips": scores["response"],
        "used_prompt": used["prompt"],
        "used_response": used["response"],
        "layers_that_differ": int((differ["q"] <= 0.05).sum()),
        "alpha": alpha["skipped"],
        "top1": own["top1"],
        "whole_top1": whole["top1"],
        "most_used_top1": curves["skipped"][0]["top1"].iloc[0],
        "most_used": curves["skipped"][0]["used"].iloc[0],
        "early_accuracy": early["accuracy"],
        "early_top1": early["top1"],
        "early_used": early["used"],
        "early_alpha": alpha["whole"],
        "used_in_other_units": doubled_used,
    },
    null={
        "accuracy": null["accuracy"],
        "response": scores["as many at random"],
        "top1": null["top1"],
        "layers_of_other_tokens": others["accuracy"],
        "early_accuracy": early_null["accuracy"],
        "early_top1": early_null["top1"],
    },
    rule="accuracy >= whole - 0.03 and accuracy > null.accuracy",
    power={
        "accuracy": idle_own["accuracy"],
        "whole": idle_whole,
        "used": idle_own["used"],
        "response": idle_scores["both"],
        "whole_response": idle_response,
        "null.accuracy": idle_null["accuracy"],
        "null.response": idle_scores["as many at random"],
    },
    data=f"smollm2 (bfloat16); {len(tested)} facts of nine relations, alpha chosen on "
    f"{len(chosen_on)} others; {len(said)} questions by chat"
    "; skipping the layers alone that lower the norm (most_used) costs already; a change of norm "
    "is not what a layer does: in other units the same network has hardly a void; the paper's code "
    "(early) skips no layer; its models are fifty times as large",
)
