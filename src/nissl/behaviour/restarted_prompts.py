"""Prompts read once up to a site, and again from there on under one edit after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.log_probabilities import log_probabilities
from nissl.behaviour.prefix_sharing import of_one_length, shared_prefixes
from nissl.network.run.caches import copied, empty_cache

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.network import Network

__all__ = ["RestartedPrompts", "restarted_prompts"]

Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


class RestartedPrompts:
    """A batch of prompts that is read once up to a site, and answered many times from there on.

    Parameters
    ----------
    net : Network
        A language model.
    prompts : list of array of int64, each shape (length,)
        Token ids (`token_ids`).
    first : array of int64, shape (n_prompts,)
        The first token of each answer.
    read : callable
        Logits of a stream (`nissl.network.unembed`).
    at : str
        The first site that edits will change.
    last : int, optional
        Begin at so many tokens before the end; the prompts are then of one length.
    shared : int
        How many tokens at their beginning the prompts share, which are then of one length: these
        are read once for all of them, under the edits too.

    Examples
    --------
    >>> again = RestartedPrompts(net, ids, first, read=read, at="blocks.20")  # doctest: +SKIP
    >>> again.answers()  # doctest: +SKIP
    (array([-0.258]), array([ True]))
    """

    def __init__(
        self,
        net: Network,
        prompts: list[Any],
        first: NDArray[np.int64],
        *,
        read: Callable[[Tensor], Tensor],
        at: str,
        last: int | None = None,
        shared: int = 0,
    ) -> None:
        from nissl.network.run.calls import sequence_call
        from nissl.network.run.restart import restart

        self.read = read
        self.first = first
        self.end = f"blocks.{net.n_layers - 1}.resid_post"
        self.prefix = Prefix(net, prompts[0][:shared], at=at) if shared else None
        call = sequence_call(net, [prompt[shared:] for prompt in prompts], padding="left")
        kept = None if self.prefix is None else self.prefix.read(len(prompts))
        cut = None if last is None else -last
        self.restart = restart(net, call, at=at, from_position=cut, cache=kept)

    def answers(self) -> Answers:
        """Answer under the edits in force, `edit_batch` among them.

        Returns
        -------
        log_probability : array of float64, shape (n_groups * n_prompts,)
            Of the answer's first token, in nats.
        right : array of bool, shape (n_groups * n_prompts,)
            Whether no other token is likelier.
        """
        import torch

        with torch.inference_mode():
            if self.prefix is not None:
                self.restart.cache = self.prefix.read(len(self.first))
            logits = self.read(self.restart.run(sites=self.end)[self.end][:, -1])
            return log_probabilities(logits, np.tile(self.first, len(logits) // len(self.first)))


class Prefix:
    """The tokens that prompts share at their beginning, whose keys and values edits may change.

    Parameters
    ----------
    net : Network
        A language model.
    ids : array of int64, shape (length,)
        The tokens.
    at : str
        As in `RestartedPrompts`.
    """

    def __init__(self, net: Network, ids: NDArray[np.int64], *, at: str) -> None:
        from nissl.network.run.calls import sequence_call
        from nissl.network.run.restart import restart

        self.net = net
        call = sequence_call(net, [ids])
        self.clean = call.kwargs["past_key_values"] = empty_cache(net)
        call.kwargs["use_cache"] = True
        self.restart = restart(net, call, at=at)

    def read(self, n_prompts: int) -> Any:
        """Return the keys and values under the edits in force, a row for each prompt."""
        cache = self.restart.call.kwargs["past_key_values"] = empty_cache(self.net)
        self.restart.run(sites=f"blocks.{self.net.n_layers - 1}.resid_post")
        # Blocks before the site have not been called.
        cache.layers = [
            now if now.get_seq_length() else before
            for now, before in zip(cache.layers, self.clean.layers, strict=True)
        ]
        return copied(cache, rows=[0] * n_prompts)


def restarted_prompts(
    net: Network,
    prompts: list[Any],
    first: NDArray[np.int64],
    *,
    read: Callable[[Tensor], Tensor],
    at: str,
    batch_size: int,
) -> list[RestartedPrompts]:
    """Return prompts in batches that share their beginning.

    Parameters
    ----------
    net, prompts, first, read, at
        As in `RestartedPrompts`.
    batch_size : int
        Prompts in a batch.

    Returns
    -------
    list of RestartedPrompts
        Each prompt is in one of them, in an order of their own.
    """
    made = []
    for shared, members in shared_prefixes(prompts):
        for rows in of_one_length(prompts, members, batch_size):
            given = [prompts[row] for row in rows]
            made.append(RestartedPrompts(net, given, first[rows], read=read, at=at, shared=shared))
    return made
