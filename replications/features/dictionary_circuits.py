"""Circuits of dictionary features (system 323): found by contributions, without patching.

A transformer of two layers without MLPs learns to go on with repeated segments. An induction head
looks at the token after the last time the current one was seen, because a head of the first layer
has written there which token came before. Contributions are traced from the induction head's score
(its query, at that key) to features of what the first layer's attention wrote. Are those of the
largest contributions the ones that the prediction needs? They are ablated, beside as many others
that are active there, and beside the largest of a dictionary of activity whose units are shuffled.
"""

import numpy as np
import torch
from scipy.stats import binomtest

import nissl
from nissl.features import Schedule, contributions, sae
from nissl.recording import as_recording
from nissl.training import next_token_loss, small_language_model, train

SEED, STEPS, VOCABULARY, LENGTH, BATCH, PERIODS = 0, 900, 64, 64, 32, (8, 24)
READ, WROTE, TESTED, PERIOD, TOP = "blocks.1.attn", "blocks.0.attn.out", 40, 12, 3


def segments(step):
    """Return sequences of a random segment again and again, each with a period of its own."""
    rng = np.random.default_rng((SEED, step))
    tokens = rng.integers(0, VOCABULARY, (BATCH, LENGTH))
    period = rng.integers(PERIODS[0], PERIODS[1] + 1, (BATCH, 1))
    return (torch.from_numpy(np.take_along_axis(tokens, np.arange(LENGTH) % period, 1)),)


def attention_only():
    """Return a transformer of two layers whose MLPs add nothing and do not learn to."""
    sizes = {"vocabulary": VOCABULARY, "d_model": 64, "n_heads": 4, "d_mlp": 1, "context": LENGTH}
    model = small_language_model(n_layers=2, seed=SEED, tie_word_embeddings=False, **sizes)
    for block in model.model.layers:
        block.mlp.down_proj.weight.requires_grad_(False).zero_()
    return model


def top_at_key(net, ids, key, dictionary):
    """Return the features at a key that add most to the score of the head that looks there."""
    seen = net.run([ids], sites=[f"{READ}.q_rot", f"{READ}.pattern"])
    looks = seen[f"{READ}.pattern"][0, -1, :, key]  # of each head
    query = seen[f"{READ}.q_rot"][0, -1].clone().unflatten(0, (len(looks), -1))
    query[torch.arange(len(looks)) != looks.argmax()] = 0
    to = (f"{READ}.k_rot", query.flatten())
    table = contributions(net, ids, to=to, dictionaries=[dictionary], position=key)
    own = table[table["unit"].str.contains(".sae[", regex=False) & (table["position"] == key)]
    return own.sort_values("contribution", ascending=False)["unit"].tolist()


def nats_lost(seen, ids, answer, units, key):
    """Return by how much the answer's log probability falls when units are ablated at a key."""
    logits = [seen.run([ids], sites="logits")["logits"][0, -1]]
    with seen.edit(nissl.ablate(units, positions=key)):
        logits.append(seen.run([ids], sites="logits")["logits"][0, -1])
    before, after = (float(x.log_softmax(-1)[answer]) for x in logits)
    return before - after


if __name__ == "__main__":
    done = train(
        attention_only(),
        segments,
        loss=next_token_loss,
        steps=STEPS,
        learning_rate=1e-3,
        warmup=50,
        key=f"segments {SEED} {VOCABULARY} {LENGTH} {BATCH} {PERIODS}",
        progress=False,
    )
    net = nissl.load(done.model, progress=False)
    learn = np.concatenate([segments(STEPS + i)[0].numpy() for i in range(12)])
    acts = nissl.record(net, learn.tolist(), sites=WROTE, progress=False)
    rng = np.random.default_rng(SEED)
    mixed = rng.permuted(acts.values, axis=0)  # each unit's samples by themselves
    shuffled = as_recording(mixed, units={name: acts[name].values for name in ("unit", "site")})
    how = {"n_features": 256, "k": 8, "schedule": Schedule(samples=400_000, batch_size=512)}
    both = {"own": acts, "shuffled": shuffled}
    made = {name: sae(rec, progress=False, **how) for name, rec in both.items()}

    lost = {"own": [], "random": [], "shuffled": []}
    for _ in range(TESTED):
        segment = rng.permutation(VOCABULARY)[:PERIOD]
        ids = np.tile(segment, 3)[: 2 * PERIOD + int(rng.integers(2, PERIOD - 2))].tolist()
        answer, key = segment[len(ids) % PERIOD], len(ids) - PERIOD
        for name, dictionary in made.items():
            order = top_at_key(net, ids, key, dictionary)
            given = {name: order[:TOP]}
            if name == "own":
                others = order[TOP:]
                given["random"] = list(rng.choice(others, min(TOP, len(others)), replace=False))
            seen = net.with_dictionary(dictionary)
            for what, units in given.items():
                lost[what].append(nats_lost(seen, ids, answer, units, key))

    fell = {name: np.array(values) for name, values in lost.items()}
    wins = int((fell["own"] > fell["random"]).sum())
    nissl.claim(
        "dictionary_circuits",
        system=323,
        says="Contributions, found without patching, name the dictionary features that a "
        "prediction needs.",
        measured={
            "nats_lost": fell["own"].mean(),
            "p": binomtest(wins, len(fell["own"]), alternative="greater").pvalue,
        },
        null={"random": fell["random"].mean(), "shuffled": fell["shuffled"].mean()},
        rule="nats_lost > 2 * null.random and nats_lost > 2 * null.shuffled and p < 0.001",
        data=f"two attention layers trained here on repeated segments; {TESTED} segments of "
        f"{PERIOD} tokens; log probability of the next token, less when the {TOP} features of what "
        "the first layer wrote are ablated that add most to the induction head's score at its key",
    )
