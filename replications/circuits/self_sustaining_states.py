"""Self-sustaining states (system 47): what was pushed once goes on in the network's own text.

The paper (Lee et al. 2025) reads units of psychopathology from sparse autoencoders, and sees their
activity spread and go on over rounds of questions, with cycles in a causal graph. Here are four
emotions in SmolLM2, directions from the mean of other sentences. Each is pushed while a prompt is
read and eight tokens are made; then the push and all that was computed under it are taken away, and
the network goes on from the text alone. Random directions are pushed likewise. Which state raises
which a step later is fitted to all texts; by chance, texts trade states. For power the push stays.
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.statistics import RandomDirections, paired_test
from nissl.statistics.figure import curve, save_figure

SITE, SIZE, RANDOM, FIRST, LATER, STEP = "blocks.15.resid_post", 0.5, 3, 8, 32, 4
STATES = """happy glad delighted cheerful joyful thrilled
sad miserable unhappy gloomy heartbroken hopeless
afraid scared terrified anxious frightened worried
angry furious mad annoyed outraged irritated
early ready busy tall quiet local""".splitlines()  # the last are no emotion
SENTENCES = ("I feel so {} today.", "She was very {} about it.", "They all looked {} that evening.")
OPENINGS = """This morning I got up and|When I came home, my brother|At the end of the week we|
In the letter she wrote that|After the meeting, everybody in town|My friend called me and then|
On the way to school he|The old man at the window|Last night, before dinner, they|
The news of the day was|When the train had left, I|Nobody in the village knew that"""


def directions(net):
    """Return by emotion the difference of its mean from that of none, of length one."""
    means = []
    for words in STATES:
        texts = [sentence.format(word) for sentence in SENTENCES for word in words.split()]
        each = [net.run(text, sites=SITE)[SITE][0, 1:].double().mean(0).numpy() for text in texts]
        means.append(np.mean(each, axis=0))
    found = np.array(means[:-1]) - means[-1]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def activity(net, prompts, found, push=None, *, stays=False):
    """Return what is along each direction in texts that go on, shape (text, step, state)."""
    at = slice(1, None if stays else len(prompts[0]))
    edits = [] if push is None else [nissl.add(sites=SITE, by=torch.from_numpy(push), positions=at)]
    for n, now in ((FIRST, edits), (LATER, edits if stays else [])):
        with net.edit(*now):
            more = net.generate(prompts, max_new_tokens=n, min_new_tokens=n, sample=True)
        prompts = [[*a, *b] for a, b in zip(prompts, more, strict=True)]
    stream = net.run(prompts, sites=SITE)[SITE][:, -LATER:].double().numpy()
    return (stream @ found.T).reshape(len(prompts), LATER // STEP, STEP, -1).mean(2)


def cyclic(raises):
    """Return whether a directed graph has a cycle: eigenvalues are zero where it has none."""
    return bool(np.abs(np.linalg.eigvals(raises.astype(float))).max() > 0.5)


def graph(series, *, draws=999, level=0.05):
    """Return which raises which a step later (to, from), a cycle or none, its rate by chance.

    Series have the shape (push, text, step, state); in a draw each state is that of other texts.
    """
    rng, own, every = np.random.default_rng(0), np.eye(series.shape[-1], dtype=bool), []
    texts = np.tile(np.arange(series.shape[1])[:, None, None], (len(series), 1, 1, len(own)))
    for draw in range(1 + draws):
        order = rng.permuted(texts, axis=1) if draw else texts
        x = np.take_along_axis(series, order, axis=1)
        x = x - x.mean(2, keepdims=True)
        x /= x.std((0, 1, 2))
        before, after = (part.reshape(-1, len(own)) for part in (x[:, :, :-1], x[:, :, 1:]))
        every.append(np.linalg.lstsq(before, after, rcond=None)[0].T)
    z = (np.array(every) - np.mean(every, axis=0)) / np.std(every, axis=0)
    limit = np.quantile(z[1:, ~own].max(1), 1 - level, method="higher")
    raises = (z > limit) & ~own
    return raises[0], cyclic(raises[0]), float(np.mean([cyclic(r) for r in raises[1:]]))


def sustained(net, prompts, found, *, stays=False):
    """Return activity of states that were pushed, under random pushes, and in all texts."""
    plain = activity(net, prompts, found)
    size = SIZE * net.run(prompts, sites=SITE)[SITE][:, 1:].norm(dim=-1).mean().item()
    pushes = size * np.concatenate([found, RandomDirections().draw(found[:1], RANDOM)[:, 0]])
    every = [activity(net, prompts, found, push, stays=stays) for push in pushes]
    every = (np.array([plain, *every]) - plain.mean((0, 1))) / plain.std((0, 1))
    own = np.stack([every[1 + i, ..., i] for i in range(len(found))])
    others = every[1 + len(found) :].mean(0).transpose(2, 0, 1)
    return own, others, every


def figures(own, others):
    """Return the activity in the later half and under random pushes, and p over prompts."""
    pair = [x[..., x.shape[-1] // 2 :].mean((0, 2)).round(9)[:, None] for x in (own, others)]
    found = paired_test(*pair, units=pd.DataFrame({"unit": ["state"]}), progress=False).table
    return float(pair[0].mean()), float(pair[1].mean()), float(found["p"][0])


if __name__ == "__main__":
    net = nissl.load("smollm2")
    prompts = [ids[:6] for ids in net.tokenizer(OPENINGS.replace("\n", "").split("|"))["input_ids"]]
    found = directions(net)
    own, others, series = sustained(net, prompts, found)
    size, by_random, p = figures(own, others)
    planted = figures(*sustained(net, prompts, found, stays=True)[:2])
    raises, cycle, by_chance = graph(series)
    axes = curve({"pushed": own.mean((0, 1)), "random push": others.mean((0, 1))})
    axes.set(xlabel=f"steps of {STEP} tokens", ylabel="activity")
    save_figure(axes.figure, "out/circuits/self_sustaining_states.png")
    nissl.claim(
        "self_sustaining_states",
        system=47,
        says="A state that was pushed sustains itself in what the network goes on to say.",
        measured={"sustained": size, "p": p, "edges": int(raises.sum()), "cycle": float(cycle)},
        null={"sustained": by_random, "cycle": by_chance},
        rule="sustained > null.sustained + 0.2 and p < 0.01",
        power={"sustained": planted[0], "null.sustained": planted[1], "p": planted[2]},
        data=f"smollm2, {len(found)} emotions, {len(prompts)} prompts, the last {LATER // 2} of "
        f"{FIRST + LATER} tokens; null: {RANDOM} random directions; cycles of texts shuffled",
    )
