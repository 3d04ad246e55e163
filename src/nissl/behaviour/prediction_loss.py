"""The loss of a network's predictions, with its gradient: what edits are trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.behaviour.behaviour import Behaviour
from nissl.behaviour.task import Task
from nissl.errors import NisslError
from nissl.network.run.calls import call_model
from nissl.network.run.forward import single_call

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["prediction_loss"]


def prediction_loss(net: Network, inputs: Any) -> Callable[[], Tensor]:
    """Return what measures how well a language model predicts, under the edits in force.

    Parameters
    ----------
    net : Network
        A language model.
    inputs : texts, token ids, Task or Behaviour
        What it is to predict: every next token; of a behaviour, the right answers after the clean
        prompts.

    Returns
    -------
    callable
        Without arguments; returns the mean cross entropy in nats, shape (), with its graph.

    Raises
    ------
    NisslError
        No text has a second token, or the behaviour has no right answers.

    Examples
    --------
    >>> loss = prediction_loss(net, ["The capital of France is Paris."])  # doctest: +SKIP
    >>> with net.edit(learned):  # doctest: +SKIP
    ...     loss().backward()
    """
    pairs = inputs.behaviour() if isinstance(inputs, Task) else inputs
    answers = isinstance(pairs, Behaviour)
    call = pairs.clean_call if answers else single_call(net, inputs)
    ids = next(x for x in (*call.args, *call.kwargs.values()) if isinstance(x, Tensor))
    target = torch.full_like(ids, -100)
    if answers:
        if pairs.right is None:
            raise NisslError("the behaviour has no right answers", do="give right=")
        right = pairs.right if pairs.right.ndim == 1 else pairs.right[:, 0]
        ends = torch.tensor([len(row) - 1 for row in pairs.clean_ids], device=ids.device)
        target[torch.arange(len(ids), device=ids.device), ends] = right.to(ids)
    else:
        target[:, :-1] = ids[:, 1:]
        if call.mask is not None:
            target[:, :-1] = torch.where(call.mask[:, 1:], target[:, :-1], -100)
    where = target >= 0
    if not bool(where.any()):
        raise NisslError("there is no next token to predict", do="give texts of several tokens")

    def loss() -> Tensor:
        logits = call_model(net, call).logits
        return nn.functional.cross_entropy(logits[where].float(), target[where])

    return loss
