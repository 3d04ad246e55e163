"""Metrics of an answer: how far a language model prefers it, from the logits at its position."""

from __future__ import annotations

import math

from torch import Tensor

from nissl.errors import NisslError

__all__ = ["divergence_from_uniform", "kl", "log_probability", "logit_difference"]


def logit_difference(logits: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Return by how much the logit of the right answer exceeds that of the wrong one.

    Parameters
    ----------
    logits : Tensor, shape (batch, vocabulary)
        At the position of the answer.
    right, wrong : Tensor, shape (batch,) or (batch, n_answers), int64
        Token ids; of several the logits are averaged.

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
    return _at(logits, right).mean(-1) - _at(logits, wrong).mean(-1)


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
    return _at(logits.log_softmax(-1), right).logsumexp(-1)


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


def _at(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the numbers of answers, shape (batch, n_answers)."""
    return logits.gather(-1, answers.to(logits.device).reshape(len(logits), -1))
