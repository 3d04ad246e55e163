"""Answers: what a language model expects after each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.questions import Questions
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from nissl.network.network import Network

__all__ = ["answered", "last_logits"]


def answered(
    net: Network,
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how likely a network thinks each answer, and whether it thinks it likeliest.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    prompts : sequence of str
        What it reads.
    answers : sequence of str
        How each goes on, with the space that begins it; its first token counts.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    log_probability : array of float64, shape (n_prompts,)
        Of the answer's first token, in nats.
    right : array of bool, shape (n_prompts,)
        Whether no other token is likelier.

    Raises
    ------
    NisslError
        There are not as many answers as prompts, or the network has no tokenizer.

    Examples
    --------
    >>> answered(net, ["The capital of France is"], [" Paris"])  # doctest: +SKIP
    (array([-0.258]), array([ True]))
    """
    asked = Questions(net, prompts, answers)
    with progress_bar(
        f"Asking {net.name}", total=len(prompts), unit="prompts", progress=progress
    ) as advance:
        log_probability, right = asked.ask(batch_size=batch_size, advance=advance)
    return log_probability[0], right[0]


def last_logits(
    net: Network, prompts: Sequence[str], *, batch_size: int = 64, progress: bool = True
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield what a network expects after each prompt, some prompts at a time.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    prompts : sequence of str
        What it reads.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Yields
    ------
    rows : array of int64, shape (n,)
        Which prompts; those of like length come together.
    logits : Tensor, shape (n, vocabulary), float32
        Of the next token.

    Raises
    ------
    NisslError
        The network has no tokenizer.

    Examples
    --------
    >>> next(last_logits(net, ["The capital of France is"]))  # doctest: +SKIP
    """
    import torch

    # As a decorator the mode is left between two batches, which are the caller's.
    each = torch.inference_mode()(Questions(net, prompts).logits)
    with progress_bar(
        f"Asking {net.name}", total=len(prompts), unit="prompts", progress=progress
    ) as advance:
        for _, rows, logits in each(batch_size=batch_size):
            yield np.asarray(rows), logits.float()
            advance(len(rows))
