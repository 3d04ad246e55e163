"""Transcoders (system 191): a sparse, wide MLP in place of an MLP, against the SAE of its output.

Of the MLP of SmolLM2's middle block a transcoder (from what it is given to what it writes) and an
SAE (of what it writes) are trained alike, and each put in its place on other texts. Two seeds.

Reported beside it, of a small model that goes on with repeated segments: carried back through
attention to the embedding by weights alone, do features name the token that comes next?
"""

import numpy as np
import torch

import nissl
from nissl.cache import cache_dir
from nissl.features import Schedule, reads, sae, transcoder, worth
from nissl.training import next_token_loss, small_language_model, train

LAYER, SEEDS, HELD_OUT = 15, (0, 1), 24
GIVEN, WRITTEN = f"model.layers.{LAYER}.post_attention_layernorm", f"blocks.{LAYER}.mlp.out"
HOW = {"schedule": Schedule(samples=500_000, batch_size=1024), "progress": False}
HOW |= {"n_features": 2304, "k": 32}
VOCABULARY, LENGTH, BATCH, PERIODS, SEED = 64, 64, 32, (8, 24), 1


def compared(given, written, net, held_out):
    """Return what transcoders of an MLP and SAEs of its output are worth, a row for each seed."""
    made = {
        "transcoder": {f"{s}": transcoder(given, written, seed=s, **HOW) for s in SEEDS},
        "sae": {f"{s}": sae(written, seed=s, **HOW) for s in SEEDS},
    }
    tables = {name: worth(of, net, held_out, progress=False) for name, of in made.items()}
    return {name: table.set_index("dictionary") for name, table in tables.items()}


def segments(step):
    """Return sequences of a random segment again and again, each with a period of its own."""
    rng = np.random.default_rng((SEED, step))
    tokens = rng.integers(0, VOCABULARY, (BATCH, LENGTH))
    period = rng.integers(PERIODS[0], PERIODS[1] + 1, (BATCH, 1))
    return (torch.from_numpy(np.take_along_axis(tokens, np.arange(LENGTH) % period, 1)),)


@torch.no_grad()
def through_attention(model, layer, found):
    """Return what a token that is attended to adds to each feature, shape (features, tokens)."""
    block = model.model.layers[layer]
    given = model.model.embed_tokens.weight * block.input_layernorm.weight
    read = torch.stack([reads(found, i) for i in range(found.n_features)])
    read = (read * block.post_attention_layernorm.weight) @ block.self_attn.o_proj.weight
    return (read @ block.self_attn.v_proj.weight @ given.T).numpy()


def told_by(features, tokens):
    """Return the mean of each feature at each token, shape (tokens, features)."""
    return np.stack([features[tokens == t].mean(0) for t in range(VOCABULARY)])


def named_by_weights():
    """Return the share of features whose token weights name, that of a null, and their number."""
    sizes = {"vocabulary": VOCABULARY, "context": LENGTH, "d_model": 64, "d_mlp": 256}
    model = small_language_model(n_layers=2, seed=SEED, tie_word_embeddings=False, **sizes)
    how = {"steps": 900, "learning_rate": 1e-3, "warmup": 50, "progress": False}
    key = f"segments with MLPs {SEED} {VOCABULARY} {LENGTH} {BATCH} {PERIODS}"
    done = train(model, segments, loss=next_token_loss, key=key, **how)
    net = nissl.load(done.model, progress=False)
    ids = np.concatenate([segments(900 + i)[0].numpy() for i in range(24)])
    sites = ["model.layers.1.post_attention_layernorm", "blocks.1.mlp.out"]
    both = nissl.record(net, ids.tolist(), sites=sites, progress=False)
    given, written = (both[:, both["site"].values == site] for site in sites)
    schedule = Schedule(samples=400_000, batch_size=512)
    found = transcoder(given, written, n_features=256, k=8, schedule=schedule, progress=False)
    with torch.no_grad():
        code = found.encode(torch.as_tensor(given.values)).numpy().reshape(*ids.shape, -1)
    late = slice(PERIODS[1], LENGTH - 1)  # where all has been seen before
    code, now, after = code[:, late], ids[:, late], ids[:, PERIODS[1] + 1 :]
    by_next = told_by(code[::2], after[::2])
    chosen = (code[::2] > 0).mean((0, 1)) > 0.002
    chosen &= by_next.var(0) > told_by(code[::2], now[::2]).var(0)  # told by the next token
    truth = told_by(code[1::2], after[1::2]).argmax(0)[chosen]
    named = through_attention(net.model, 1, found).argmax(1)[chosen]
    rng = np.random.default_rng(SEED)
    null = [(named == rng.permutation(truth)).mean() for _ in range(999)]
    return (named == truth).mean(), np.mean(null), len(truth)


if __name__ == "__main__":
    net = nissl.load("smollm2", progress=False)
    texts = nissl.read("reader")["text"].str[:4000]
    learn, held_out = list(texts[::2]), list(texts[1::2].str[:600])[:: 200 // HELD_OUT][:HELD_OUT]
    held_out = [ids[:120] for ids in net.tokenizer(held_out)["input_ids"]]
    store = cache_dir("activity") / f"smollm2-mlp-{LAYER}"
    both = nissl.record(net, learn, sites=[GIVEN, WRITTEN], window=256, store=store, progress=False)
    if not isinstance(both, dict):
        both = {name: both[:, both["site"].values == name] for name in (GIVEN, WRITTEN)}

    tables = compared(both[GIVEN], both[WRITTEN], net, held_out)
    seeds = [str(seed) for seed in SEEDS]
    mine, other = (tables[name].loc[seeds, "recovered"] for name in ("transcoder", "sae"))

    named, shuffled, n = named_by_weights()
    nissl.claim(
        "transcoder",
        system=191,
        says="A transcoder is at least as faithful as the SAE of the same MLP's output at equal k.",
        measured={
            **tables["transcoder"].loc[seeds, ["recovered", "explained", "dead"]].mean(),
            "named_by_weights": named,
        },
        null={
            "sae": other.mean(),
            "seeds": max(np.ptp(mine), np.ptp(other)),
            "random": tables["transcoder"].loc["random", "recovered"],
            "explained": tables["sae"].loc[seeds, "explained"].mean(),
            "named_by_weights": shuffled,
        },
        rule="recovered >= null.sae - null.seeds and recovered > null.random + 0.1",
        data=f"smollm2, MLP of block {LAYER}: {HOW['n_features']} features, k={HOW['k']}, two "
        f"seeds; the share of the loss recovered (0: the mean in its place) on {len(held_out)} "
        f"other texts; named_by_weights: of {n} features of a small model; null: shuffled",
    )
