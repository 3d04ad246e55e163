"""What a peer does, run in the peers' environment: ``python circuits_inside.py PEER MODEL PAIRS``.

Nothing of nissl is imported here. The peer does attribution patching of pairs of prompts; beside it
a twin of its network reads the same prompts, plainly. Printed is one line of JSON: the ratios, and
the effects at the last position that are compared with ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from peers_inside import network, seconds, tensor

Work = Callable[[], list[list[float]]]  # effects of each layer's units at the last position


def main(peer: str, folder: str, pairs: str, rounds: int = 5) -> None:
    """Measure one peer."""
    torch.set_num_threads(1)
    with np.load(pairs) as stored:
        clean, corrupted, right, wrong = (
            torch.from_numpy(stored[name]) for name in ("clean", "corrupted", "right", "wrong")
        )
    work = PEERS[peer](folder, clean, corrupted, right, wrong)
    twin, effects = network(folder), work()

    def plain() -> Any:
        with torch.no_grad():
            return twin(input_ids=clean, use_cache=False)

    plain()
    ratios = [seconds(work) / seconds(plain) for _ in range(rounds)]
    print(json.dumps({"version": version(peer), "ratios": ratios, "effects": effects}))


def nnsight(folder: str, clean: Any, corrupted: Any, right: Any, wrong: Any) -> Work:
    """Every neuron: one trace for what is put in, one with gradients."""
    from nnsight import NNsight

    wrapped, rows = NNsight(network(folder)), torch.arange(len(clean))
    for parameter in wrapped.parameters():
        parameter.requires_grad_(False)

    def work() -> list[list[float]]:
        with torch.no_grad(), wrapped.trace(input_ids=corrupted, use_cache=False):
            given = list().save()  # noqa: C408
            for layer in wrapped.model.layers:
                given.append(layer.mlp.down_proj.input)
        with wrapped.trace(input_ids=clean, use_cache=False):
            embedded = wrapped.model.embed_tokens.output
            embedded.requires_grad_(True)
            base = list().save()  # noqa: C408
            for layer in wrapped.model.layers:
                base.append(layer.mlp.down_proj.input)
            logits = wrapped.output.logits[:, -1]
            metric = (logits[rows, right] - logits[rows, wrong]).sum()
            gradients = torch.autograd.grad(metric, list(base)).save()
        found = [-(a - b) * g for a, b, g in zip(given, base, gradients, strict=True)]
        return [tensor(x)[:, -1].mean(0).tolist() for x in found]

    return work


def transformer_lens(folder: str, clean: Any, corrupted: Any, right: Any, wrong: Any) -> Work:
    """Its own ``attribution_patch``: every head and MLP, pair after pair."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis.attribution_patching import attribution_patch

    bridge = TransformerBridge.boot_transformers(
        folder, device="cpu", dtype=torch.float32, hf_model=network(folder)
    )

    def work() -> list[list[float]]:
        for a, b, r, w in zip(clean, corrupted, right, wrong, strict=True):
            attribution_patch(
                bridge, a[None], b[None], lambda x, r=r, w=w: (x[..., -1, r] - x[..., -1, w]).sum()
            )
        return []

    return work


PEERS = {"nnsight": nnsight, "transformer_lens": transformer_lens}

if __name__ == "__main__":
    main(*sys.argv[1:])
