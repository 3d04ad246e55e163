"""TransformerLens: every neuron recorded; one block's heads patched at positions."""

from __future__ import annotations

from functools import cache
from typing import Any

from bench.compared.task import Given, Task, Work, language_model, network

LAYER = 23  # where heads have the largest effects on these prompts


@cache
def _bridge(given: Given) -> Any:
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(
        given.model, device="cpu", dtype=torch.float32, hf_model=language_model(given)
    )


def record_theirs(given: Given) -> Work:
    """``run_with_cache``; asked to stop behind the last block, it computes the head as well."""
    import torch

    bridge, ids = _bridge(given), torch.from_numpy(given["tokens"])

    def work() -> Any:
        with torch.inference_mode():
            _, cache = bridge.run_with_cache(
                ids,
                return_type=None,
                stop_at_layer=bridge.cfg.n_layers,
                names_filter=lambda name: name.endswith("mlp.hook_post"),
            )
        return [cache[f"blocks.{i}.mlp.hook_post"] for i in range(bridge.cfg.n_layers)]

    return work


def record_ours(given: Given) -> Work:
    """``net.run``, which stops by itself after the last site that is asked for."""
    net, ids = network(given), list(given["tokens"])
    return lambda: list(net.run(ids, sites="mlp.neurons").values())


def patch_theirs(given: Given) -> Work:
    """Its own loop over an index of heads and positions."""
    import pandas as pd
    import torch
    from transformer_lens import patching

    bridge = _bridge(given)
    clean, corrupted, right, wrong = (
        torch.from_numpy(given[name]) for name in ("clean", "corrupted", "right", "wrong")
    )
    rows, differ = torch.arange(len(clean)), (clean != corrupted).any(0).nonzero()[0]
    index = pd.DataFrame(
        [
            {"layer": LAYER, "pos": pos, "head_index": head}
            for head in range(bridge.cfg.n_heads)
            for pos in range(int(differ), clean.shape[1])
        ]
    )

    def metric(logits: Any) -> Any:
        return (logits[rows, -1, right] - logits[rows, -1, wrong]).mean()

    def work() -> Any:
        with torch.inference_mode():
            logits, cache = bridge.run_with_cache(clean, names_filter=f"blocks.{LAYER}.attn.hook_z")
            best, worst = float(metric(logits)), float(metric(bridge(corrupted)))
            found = patching.generic_activation_patch(
                bridge,
                corrupted,
                cache,
                metric,
                patching.layer_pos_head_vector_patch_setter,
                "z",
                index_df=index,
            )
        return (found - worst) / (best - worst)

    return work


def patch_ours(given: Given) -> Work:
    """The patching grid: no more than what depends on a patch is computed."""
    from nissl.behaviour import Behaviour, patching_grid

    net, pairs = network(given), [list(given[name]) for name in ("clean", "corrupted")]
    answers = {name: given[name].tolist() for name in ("right", "wrong")}
    first = int((given["clean"] != given["corrupted"]).any(0).argmax())

    def work() -> Any:
        behaviour = Behaviour(net, *pairs, **answers)
        positions = range(first, len(pairs[0][0]))
        return patching_grid(
            behaviour, f"blocks.{LAYER}.attn.z", heads=True, positions=positions
        ).values

    return work


TASKS = [
    Task("record the 30 x 1,536 neurons over 512 tokens", record_theirs, record_ours, 5e-4),
    Task(
        "patch each of 9 heads of block 23 at 5 positions, 2 pairs of 15 tokens",
        patch_theirs,
        patch_ours,
        1e-3,
        rounds=2,
        note="45 forward passes; here what lies before the patch is computed once, and patches "
        "are batched",
    ),
]
