"""Transcoders (system 191): a sparse, wide MLP in place of an MLP, against the SAE of its output.

Of the MLP of SmolLM2's middle block a transcoder (from what it is given to what it writes) and an
SAE (of what it writes) are trained alike, and each put in its place on other texts. Two seeds.
"""

import numpy as np

import nissl
from nissl.cache import cache_dir
from nissl.features import Schedule, sae, transcoder, worth

LAYER, SEEDS, HELD_OUT = 15, (0, 1), 24
GIVEN, WRITTEN = f"model.layers.{LAYER}.post_attention_layernorm", f"blocks.{LAYER}.mlp.out"
HOW = {
    "n_features": 2304,
    "k": 32,
    "schedule": Schedule(samples=500_000, batch_size=1024),
    "progress": False,
}


def compared(given, written, net, held_out):
    """Return what transcoders of an MLP and SAEs of its output are worth, a row for each seed."""
    made = {
        "transcoder": {f"{s}": transcoder(given, written, seed=s, **HOW) for s in SEEDS},
        "sae": {f"{s}": sae(written, seed=s, **HOW) for s in SEEDS},
    }
    tables = {name: worth(of, net, held_out, progress=False) for name, of in made.items()}
    return {name: table.set_index("dictionary") for name, table in tables.items()}


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

    nissl.claim(
        "transcoder",
        system=191,
        says="A transcoder is at least as faithful as the SAE of the same MLP's output at equal k.",
        measured={
            "recovered": mine.mean(),
            "explained": tables["transcoder"].loc[seeds, "explained"].mean(),
            "dead": tables["transcoder"].loc[seeds, "dead"].mean(),
        },
        null={
            "sae": other.mean(),
            "seeds": max(np.ptp(mine), np.ptp(other)),
            "random": tables["transcoder"].loc["random", "recovered"],
            "explained": tables["sae"].loc[seeds, "explained"].mean(),
        },
        rule="recovered >= null.sae - null.seeds and recovered > null.random + 0.1",
        data=f"smollm2, MLP of block {LAYER}: {HOW['n_features']} features, k={HOW['k']}, two "
        "seeds; the share of the loss recovered (0: the mean in its place) on "
        f"{len(held_out)} other texts",
    )
