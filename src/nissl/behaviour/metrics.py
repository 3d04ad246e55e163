"""Metrics of an answer: how far a language model prefers it, from the logits at its position."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nissl.errors import NisslError

__all__ = [
    "answer_tensor",
    "divergence_from_uniform",
    "kl",
    "log_probability",
    "logit_difference",
    "probability_difference",
]


def logit_difference(logits: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Return by how much the logit of the right answer exceeds that of the wrong one.

    Parameters
    ----------
    logits : Tensor, shape (batch, vocabulary)
        At the position of the answer.
    right, wrong : Tensor, shape (batch,) or (batch, n_answers), int64
        Token ids; of several the logits are averaged. Fewer than others are filled with -1.

    Returns
    -------
    Tensor, shape (batch,)
        In logits.

    Examples
    --------
    >>> import torch
    >>> logit_difference(torch.tensor([[1.0, 3.0]]), torch.tensor([1]), torch.tensor([0])).tolist()
    [2.0]
    """
    return _mean_at(logits, right) - _mean_at(logits, wrong)


def probability_difference(logits: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Return by how much right answers are likelier than wrong ones.

    Parameters
    ----------
    logits : Tensor, shape (batch, vocabulary)
        At the position of the answer.
    right, wrong : Tensor, shape (batch,) or (batch, n_answers), int64
        Token ids; of several the probabilities are summed.

    Returns
    -------
    Tensor, shape (batch,)
        Between -1 and 1.

    Examples
    --------
    >>> import torch
    >>> two, one = torch.tensor([[1, 2]]), torch.tensor([[0, -1]])
    >>> probability_difference(torch.zeros(1, 4), two, one).item()
    0.25
    """
    probability = logits.softmax(-1)
    return _sum_at(probability, right) - _sum_at(probability, wrong)


def log_probability(logits: Tensor, right: Tensor) -> Tensor:
    """Return the log probability of the right answer.

    Parameters
    ----------
    logits : Tensor, shape (batch, vocabulary)
        At the position of the answer.
    right : Tensor, shape (batch,) or (batch, n_answers), int64
        Token ids; of several the probabilities are summed.

    Returns
    -------
    Tensor, shape (batch,)
        In nats.

    Examples
    --------
    >>> import torch
    >>> round(log_probability(torch.zeros(1, 4), torch.tensor([2])).exp().item(), 4)
    0.25
    """
    each, absent = _at(logits.log_softmax(-1), right)
    return each.masked_fill(absent, -math.inf).logsumexp(-1)


def kl(logits: Tensor, reference: Tensor) -> Tensor:
    """Return the divergence of a distribution from a reference, KL(reference || this).

    Parameters
    ----------
    logits : Tensor, shape (batch, vocabulary)
        At the position of the answer.
    reference : Tensor, shape (batch, vocabulary)
        Logits of the reference there.

    Returns
    -------
    Tensor, shape (batch,)
        In nats; 0 where they are the same.

    Examples
    --------
    >>> import torch
    >>> kl(torch.ones(1, 4), torch.zeros(1, 4)).item()
    0.0
    """
    expected = reference.log_softmax(-1)
    return (expected.exp() * (expected - logits.log_softmax(-1))).sum(-1)


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """Return how far the output is from a guess: KL(u || this), with u uniform over the classes.

    Parameters
    ----------
    logits : Tensor, shape (batch, n_classes)
        Of a classifier.

    Returns
    -------
    Tensor, shape (batch,)
        In nats; 0 where all classes are as likely.

    Raises
    ------
    NisslError
        There is not a row of classes for each input.

    Examples
    --------
    >>> import torch
    >>> divergence_from_uniform(torch.tensor([[0.0, 0.0], [9.0, 9.0]])).tolist()
    [0.0, 0.0]
    """
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2 or shape[1] < 2:
        raise NisslError(
            f"the network gives {shape or type(logits).__name__}, not a row of classes for each "
            "input",
            do="give a classifier",
        )
    return -logits.float().log_softmax(-1).mean(-1) - math.log(shape[1])


def answer_tensor(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return answers of each input as one tensor, filled with -1 where some have fewer.

    Parameters
    ----------
    rows : sequence of sequence of int
        Token ids.

    Returns
    -------
    Tensor, shape (n_inputs, n_answers), int64
        For the metrics.

    Examples
    --------
    >>> answer_tensor([[3, 4], [5]]).tolist()
    [[3, 4], [5, -1]]
    """
    most = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[-1] * (most - len(row))] for row in rows], dtype=torch.int64)


def _at(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of answers, shape (batch, n_answers), and where there is none (-1)."""
    ids = answers.to(logits.device).reshape(len(logits), -1)
    return logits.gather(-1, ids.clamp(min=0)), ids < 0


def _sum_at(numbers: Tensor, answers: Tensor) -> Tensor:
    each, absent = _at(numbers, answers)
    return each.masked_fill(absent, 0).sum(-1)


def _mean_at(numbers: Tensor, answers: Tensor) -> Tensor:
    each, absent = _at(numbers, answers)
    if not absent.any():
        return each.mean(-1)
    return each.masked_fill(absent, 0).sum(-1) / (~absent).sum(-1)
