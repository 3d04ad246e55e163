"""Captum: activity of layers; integrated gradients at the embedding and along one layer."""

from __future__ import annotations

from typing import Any

from bench.compared.task import Given, Task, Work, language_model, network

LAYER, STEPS = 15, 20


def _answers(given: Given) -> tuple[Any, Any, Any, Any]:
    import torch

    ids, right, wrong = (torch.from_numpy(given[name]) for name in ("clean", "right", "wrong"))
    return ids, right, wrong, torch.arange(len(ids))


def activation_theirs(given: Given) -> Work:
    """``LayerActivation`` of a list of layers."""
    import torch
    from captum.attr import LayerActivation

    model, ids = language_model(given), torch.from_numpy(given["tokens"])
    layers = [block.mlp.down_proj for block in model.model.layers]
    made = LayerActivation(lambda x: model.model(input_ids=x, use_cache=False)[0], layers)

    def work() -> Any:
        with torch.inference_mode():
            return [
                x[0] if isinstance(x, tuple) else x
                for x in made.attribute(ids, attribute_to_layer_input=True)
            ]

    return work


def activation_ours(given: Given) -> Work:
    """``net.run``."""
    net, ids = network(given), list(given["tokens"])
    return lambda: list(net.run(ids, sites="mlp.neurons").values())


def integrated_theirs(given: Given) -> Work:
    """``LayerIntegratedGradients`` of the neurons of a block, by the trapezoid rule.

    Its steps of that rule sum to (n - 1) / n, which is put right here.
    """
    from captum.attr import LayerIntegratedGradients

    model = language_model(given).requires_grad_(False)
    ids, right, wrong, _ = _answers(given)

    def forward(x: Any, right: Any, wrong: Any) -> Any:
        logits = model(input_ids=x, use_cache=False).logits[:, -1]
        rows = range(len(x))
        return logits[rows, right] - logits[rows, wrong]

    made = LayerIntegratedGradients(forward, model.model.layers[LAYER].mlp.down_proj)

    def work() -> Any:
        found = made.attribute(
            ids,
            baselines=ids * 0,
            additional_forward_args=(right, wrong),
            n_steps=STEPS + 1,
            method="riemann_trapezoid",
            attribute_to_layer_input=True,
            internal_batch_size=len(ids),
        )
        found = found[0] if isinstance(found, tuple) else found
        return found * (STEPS + 1) / STEPS

    return work


def integrated_ours(given: Given) -> Work:
    """``integrated_gradients`` along the site."""
    from nissl.network.gradients import integrated_gradients

    net = network(given)
    ids, right, wrong, rows = _answers(given)
    site = f"blocks.{LAYER}.mlp.neurons"
    net.model.requires_grad_(False)

    def metric(logits: Any) -> Any:
        return (logits[rows, -1, right] - logits[rows, -1, wrong]).sum()

    def work() -> Any:
        start = net.run([i * 0 for i in ids.numpy()], sites=site)[site]
        return integrated_gradients(
            net,
            list(ids.numpy()),
            sites=site,
            metric=metric,
            path="site",
            baseline=start,
            steps=STEPS,
        )[site]

    return work


TASKS = [
    Task(
        "activity of the 30 x 1,536 neurons over 512 tokens",
        activation_theirs,
        activation_ours,
        5e-4,
    ),
    Task(
        "integrated gradients of the 1,536 neurons of block 15, 20 steps, 2 prompts of 15 tokens",
        integrated_theirs,
        integrated_ours,
        1e-2,
        rounds=2,
        note="21 gradients in both; ours begins each at the block"
        "; theirs times 21/20, which its trapezoid rule leaves out",
    ),
]
