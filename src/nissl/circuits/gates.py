"""Gates of nodes: learned factors between 0 and 1, pushed up and pushed down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.behaviour.prediction_loss import prediction_loss
from nissl.methods import method
from nissl.network import Nodes, frozen, nodes_of
from nissl.network.edits.nodes import MixedNodes
from nissl.statistics import Finding
from nissl.training import train

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["head_gates"]


@method(system=269)
def head_gates(
    net: Network,
    inputs: Any,
    *,
    contrast: Any = None,
    over: str | Iterable[str] | Nodes = "attn.z",
    penalty: float = 0.5,
    steps: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> Finding:
    """Fit gates of heads to what a network says, once pushed up and once down.

    A head whose gate stays open though it is pushed down facilitates; one whose gate closes though
    it is pushed up interferes; one that follows either push is irrelevant.

    Parameters
    ----------
    net : Network
        A language model; its weights stay as they are.
    inputs : texts, token ids, Task or Behaviour
        What it is to predict: every next token; of a behaviour, the right answers after the clean
        prompts.
    contrast : texts, token ids, Task or Behaviour, optional
        What it is to predict no better than it can be helped: gates then keep what `inputs` needs
        and this does not.
    over : str, iterable of str, or Nodes
        The sites whose nodes have gates.
    penalty : float
        How hard gates are pushed: it multiplies the mean gate and is added to the loss, in nats a
        prediction.
    steps : int
        Updates of each of the three fits: without push, then from there upwards and downwards.
    seed : int
        Of the first gates, which are drawn around 0.9.
    progress : bool
        Show bars.

    Returns
    -------
    Finding
        One row for each head: ``facilitation`` (its gate pushed down), ``interference`` (1 less its
        gate pushed up), ``irrelevance`` (the gate pushed up times 1 less that pushed down), in
        shares. There is no null: fit several seeds, and confirm by `ablation_effect`.

    Raises
    ------
    NisslError
        A text has no second token, or the loss has no gradient.

    Notes
    -----
    Source: Nam et al. 2025, Causal head gating. The push is on gates, not on clipped logits, so
    that `penalty` has the units of the loss.

    Examples
    --------
    >>> task = nissl.behaviour.indirect_object(net, n=16)  # doctest: +SKIP
    >>> head_gates(net, task, steps=30).top(3, by="facilitation").units  # doctest: +SKIP
    ['blocks.20.attn.z[head 0]', 'blocks.29.attn.z[head 1]', 'blocks.23.attn.z[head 0]']
    """
    nodes = nodes_of(net, over)
    wanted = prediction_loss(net, inputs)
    unwanted = None if contrast is None else prediction_loss(net, contrast)
    generator = torch.Generator().manual_seed(seed)
    start = 2.2 + 0.1 * torch.randn(len(nodes), generator=generator)

    def fit(begin: Tensor, push: float) -> Tensor:
        logits = nn.Parameter(begin.clone().to(net.device))

        def loss(model: nn.Module, batch: Any) -> Tensor:
            gates = torch.sigmoid(logits)
            with frozen(net), net.edit(MixedNodes(nodes, gates)):
                total = wanted() - push * gates.mean()
                return total if unwanted is None else total - unwanted().clamp_max(10.0)

        options = {"cache": False, "clip": None, "seed": seed, "progress": progress}
        model = nn.ParameterList([logits])
        train(model, lambda step: None, loss=loss, steps=steps, learning_rate=0.1, **options)  # type: ignore[arg-type]
        return logits.detach().cpu()

    fitted = fit(start, 0.0)
    up, down = (torch.sigmoid(fit(fitted, push)).double().numpy() for push in (penalty, -penalty))
    table = nodes.table().assign(
        facilitation=down, interference=1 - up, irrelevance=up * (1 - down), effect=down
    )
    said = {"penalty": penalty, "steps": steps, "seed": seed, "contrast": contrast is not None}
    order = np.argsort(-down, kind="stable")
    return Finding(
        table.iloc[order].reset_index(drop=True), "head_gates", "none", said, "facilitation"
    )
