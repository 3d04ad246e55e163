"""What a peer does, run in the peers' environment: ``python peers_inside.py PEER MODEL TOKENS``.

Nothing of nissl is imported here. The peer records the neurons and residuals of every layer, batch
by batch; before each batch a twin of its network reads the same, plainly. Printed is one line of
JSON: the ratios of these pairs, and how far what was recorded is from hooks by hand.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

Recorded = list[torch.Tensor]
Work = Callable[[torch.Tensor], Recorded]


def main(peer: str, folder: str, tokens: str) -> None:
    """Measure one peer."""
    torch.set_num_threads(1)
    batches = torch.from_numpy(np.load(tokens))
    plain, work, head = PEERS[peer](folder)
    with torch.inference_mode():
        error = difference(work(batches[0, :1, :32]), by_hand(folder, batches[0, :1, :32]))
        plain(batches[0])
        ratios = []
        for ids in batches:
            limit, ours = seconds(lambda x=ids: plain(x)), seconds(lambda x=ids: work(x))
            ratios.append(ours / limit)
    package = "torch" if peer == "hooks" else peer
    print(json.dumps({"version": version(package), "ratios": ratios, "head": head, "error": error}))


def hooks(folder: str) -> tuple[Work, Work, bool]:
    """Hooks that clone, as everybody writes them first."""
    twin, body = network(folder).model, network(folder).model

    def work(ids: torch.Tensor) -> Recorded:
        kept: Recorded = []
        handles = []
        for layer in body.layers:
            handles += [
                layer.mlp.down_proj.register_forward_pre_hook(
                    lambda module, args: kept.append(args[0].clone())
                ),
                layer.register_forward_hook(
                    lambda module, args, output: kept.append(tensor(output).clone())
                ),
            ]
        try:
            body(input_ids=ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return kept

    return lambda ids: twin(input_ids=ids, use_cache=False), work, False


def nnsight(folder: str) -> tuple[Work, Work, bool]:
    """A trace that saves every site."""
    from nnsight import NNsight

    twin, wrapped = network(folder).model, NNsight(network(folder).model)

    def work(ids: torch.Tensor) -> Recorded:
        with wrapped.trace(input_ids=ids, use_cache=False):
            kept = list().save()  # noqa: C408
            for layer in wrapped.layers:
                kept.append(layer.mlp.down_proj.input)
                kept.append(layer.output)
        return [tensor(x) for x in kept]

    return lambda ids: twin(input_ids=ids, use_cache=False), work, False


def transformer_lens(folder: str) -> tuple[Work, Work, bool]:
    """``run_with_cache`` of the two hook points of every block; it computes the logits too."""
    from transformer_lens.model_bridge import TransformerBridge

    twin = network(folder)
    bridge = TransformerBridge.boot_transformers(
        folder, device="cpu", dtype=torch.float32, hf_model=network(folder)
    )
    ends = ("mlp.out.hook_in", "hook_resid_post")

    def work(ids: torch.Tensor) -> Recorded:
        _, cache = bridge.run_with_cache(
            ids, return_type=None, names_filter=lambda name: name.endswith(ends)
        )
        order = [f"blocks.{i}.{end}" for i in range(len(bridge.blocks)) for end in ends]
        return [cache[name] for name in order]

    return lambda ids: twin(input_ids=ids, use_cache=False), work, True


PEERS = {"hooks": hooks, "nnsight": nnsight, "transformer_lens": transformer_lens}


def network(folder: str) -> Any:
    """Return the network with weights in memory of their own, not mapped from their file."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def by_hand(folder: str, ids: torch.Tensor) -> Recorded:
    """Record a few tokens with hooks that clone."""
    return hooks(folder)[1](ids)


def tensor(output: Any) -> torch.Tensor:
    """Return the first tensor of a block's output."""
    found: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return found


def difference(found: Recorded, expected: Recorded) -> float:
    """Return the largest difference, in root mean squares of its site."""
    if len(found) != len(expected):
        raise SystemExit(f"{len(found)} tensors were recorded, not {len(expected)}")
    return max(
        float((a.reshape(b.shape) - b).abs().max() / b.square().mean().sqrt())
        for a, b in zip(found, expected, strict=True)
    )


def seconds(work: Callable[[], Any]) -> float:
    """Return the process CPU time that a call takes."""
    start = time.process_time()
    kept = work()
    spent = time.process_time() - start
    del kept
    return spent


if __name__ == "__main__":
    main(*sys.argv[1:])
