"""Prompts that are asked again and again under edits, without computing what comes before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.network.log_probabilities import log_probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.network import Network

__all__ = ["Asked"]


class Asked:
    """A batch of prompts that is read once up to a site, and answered many times from there on.

    Parameters
    ----------
    net : Network
        A language model.
    prompts : list of array of int64, each shape (length,)
        Token ids (`encoded`).
    first : array of int64, shape (n_prompts,)
        The first token of each answer.
    read : callable
        Logits of a stream (`nissl.network.readout`).
    at : str
        The first site that edits will change.
    last : int, optional
        Begin at so many tokens before the end; the prompts are then of one length.

    Examples
    --------
    >>> asked = Asked(net, prompts, first, read=read, at="blocks.20.attn.z")  # doctest: +SKIP
    >>> asked.answer()  # doctest: +SKIP
    (array([-0.258]), array([ True]))
    """

    def __init__(
        self, net: Network, prompts: list[Any], first: NDArray[np.int64], *,
        read: Callable[[Tensor], Tensor], at: str, last: int | None = None,
    ) -> None:  # fmt: skip
        from nissl.network.calls import sequence_call
        from nissl.network.restart import restart

        call = sequence_call(net, prompts, padding="left")
        self.restart = restart(net, call, at=at, from_position=None if last is None else -last)
        self.read = read
        self.first = first
        self.end = f"blocks.{net.n_layers - 1}.resid_post"

    def answer(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Answer under the edits in force.

        Returns
        -------
        log_probability : array of float64, shape (n_prompts,)
            Of the answer's first token, in nats.
        right : array of bool, shape (n_prompts,)
            Whether no other token is likelier.
        """
        import torch

        with torch.inference_mode():
            logits = self.read(self.restart.run(sites=self.end)[self.end][:, -1])
            return log_probabilities(logits, self.first)
