"""Gates of nodes: learned factors between 0 and 1, pushed up and pushed down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.behaviour import Behaviour, Task
from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import Nodes, frozen, nodes_of
from nissl.network.edits.nodes import MixedNodes
from nissl.network.run.calls import Call, call_model
from nissl.network.run.forward import single_call
from nissl.statistics import Finding
from nissl.training import train

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["head_gates"]


class _Logits(nn.Module):
    """The gates before the logistic function."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(start.clone())


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
    wanted = _predicted(net, inputs)
    unwanted = None if contrast is None else _predicted(net, contrast)
    generator = torch.Generator().manual_seed(seed)
    start = 2.2 + 0.1 * torch.randn(len(nodes), generator=generator)

    def fit(begin: Tensor, push: float) -> Tensor:
        model = _Logits(begin).to(net.device)

        def loss(model: nn.Module, batch: Any) -> Tensor:
            gates = torch.sigmoid(model.logits)  # type: ignore[arg-type]
            with frozen(net), net.edit(MixedNodes(nodes, gates)):
                total = _loss(net, *wanted) - push * gates.mean()
                if unwanted is not None:
                    total = total - _loss(net, *unwanted).clamp_max(10.0)
            return total

        options = {"cache": False, "clip": None, "seed": seed, "progress": progress}
        train(model, lambda step: None, loss=loss, steps=steps, learning_rate=0.1, **options)  # type: ignore[arg-type]
        return model.logits.detach().cpu()

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


def _predicted(net: Network, inputs: Any) -> tuple[Call, Tensor, Tensor]:
    """Return a call, the tokens that are to be predicted, and at which places they are."""
    pairs = inputs.behaviour() if isinstance(inputs, Task) else inputs
    if isinstance(pairs, Behaviour):
        if pairs.right is None:
            raise NisslError("the behaviour has no right answers", do="give right=")
        call = pairs.clean_call
        ids = next(x for x in (*call.args, *call.kwargs.values()) if isinstance(x, Tensor))
        ends = torch.tensor([len(row) - 1 for row in pairs.clean_ids], device=ids.device)
        target = torch.full_like(ids, -100)
        right = pairs.right if pairs.right.ndim == 1 else pairs.right[:, 0]
        target[torch.arange(len(ids), device=ids.device), ends] = right.to(ids)
        return call, target, target >= 0
    call = single_call(net, inputs)
    ids = next(x for x in (*call.args, *call.kwargs.values()) if isinstance(x, Tensor))
    target = torch.full_like(ids, -100)
    target[:, :-1] = ids[:, 1:]
    if call.mask is not None:
        target[:, :-1] = torch.where(call.mask[:, 1:], target[:, :-1], -100)
    if not bool((target >= 0).any()):
        raise NisslError("there is no next token to predict", do="give texts of several tokens")
    return call, target, target >= 0


def _loss(net: Network, call: Call, target: Tensor, where: Tensor) -> Tensor:
    logits = call_model(net, call).logits
    return nn.functional.cross_entropy(logits[where].float(), target[where])
