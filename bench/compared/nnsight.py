"""nnsight: one site of a text saved; one block's heads patched at positions."""

from __future__ import annotations

from typing import Any

from bench.compared import transformer_lens
from bench.compared.task import Given, Task, Work, language_model, network

LAYER, SAVED = transformer_lens.LAYER, 15


def save_theirs(given: Given) -> Work:
    """A trace that saves one module's input, and stops there."""
    import torch
    from nnsight import NNsight

    wrapped, ids = NNsight(language_model(given)), torch.from_numpy(given["tokens"])

    def work() -> Any:
        with torch.inference_mode(), wrapped.trace(input_ids=ids, use_cache=False) as tracer:
            kept = wrapped.model.layers[SAVED].mlp.down_proj.input.save()
            tracer.stop()
        return kept

    return work


def save_ours(given: Given) -> Work:
    """``net.run`` of the same site."""
    net, ids = network(given), list(given["tokens"])
    site = f"blocks.{SAVED}.mlp.neurons"
    return lambda: net.run(ids, sites=site)[site]


def patch_theirs(given: Given) -> Work:
    """A trace a patch."""
    import torch
    from nnsight import NNsight

    wrapped = NNsight(language_model(given))
    config = wrapped._model.config if hasattr(wrapped, "_model") else wrapped.config
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    clean, corrupted, right, wrong = (
        torch.from_numpy(given[name]) for name in ("clean", "corrupted", "right", "wrong")
    )
    rows, length = torch.arange(len(clean)), clean.shape[1]
    first = int((clean != corrupted).any(0).nonzero()[0])

    def metric(logits: Any) -> float:
        return float((logits[rows, -1, right] - logits[rows, -1, wrong]).mean())

    def work() -> Any:
        found = torch.empty(heads, length - first)
        with torch.inference_mode():
            with wrapped.trace(input_ids=clean, use_cache=False):
                z = wrapped.model.layers[LAYER].self_attn.o_proj.input.save()
                logits = wrapped.output.logits.save()
            best = metric(logits)
            with wrapped.trace(input_ids=corrupted, use_cache=False):
                logits = wrapped.output.logits.save()
            worst = metric(logits)
            for head in range(heads):
                of = slice(head * size, (head + 1) * size)
                for pos in range(first, length):
                    with wrapped.trace(input_ids=corrupted, use_cache=False):
                        wrapped.model.layers[LAYER].self_attn.o_proj.input[:, pos, of] = z[
                            :, pos, of
                        ]
                        logits = wrapped.output.logits.save()
                    found[head, pos - first] = metric(logits)
        return (found - worst) / (best - worst)

    return work


TASKS = [
    Task(
        "save the neurons of block 15 over 512 tokens",
        save_theirs,
        save_ours,
        5e-4,
        note="both stop after block 15",
    ),
    Task(
        transformer_lens.TASKS[1].name,
        patch_theirs,
        transformer_lens.patch_ours,
        1e-3,
        rounds=2,
        note="45 traces",
    ),
]
