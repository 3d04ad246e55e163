"""Prompts asked many times, under one group of units silenced or scaled after another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.log_probabilities import log_probabilities
from nissl.behaviour.prefix_sharing import alike, bundles_of, same_length, together
from nissl.behaviour.prompts import encoded

if TYPE_CHECKING:
    from nissl.network.network import Network

__all__ = ["Questions"]

Ids = NDArray[np.int64]


class Questions:
    """Prompts and the first token of each answer, in bundles that share their beginning.

    What the prompts of a bundle share ("The capital of") is read once, and its keys and values
    serve them all. Prompts of one length are read together, so that nothing is padded.

    Parameters
    ----------
    net : Network
        A language model.
    prompts : sequence of str
        What it reads.
    answers : sequence of str, optional
        How each goes on; to be asked by `ask`.

    Raises
    ------
    NisslError
        There are not as many answers as prompts, or the network has no tokenizer.
    """

    def __init__(self, net: Network, prompts: Sequence[str], answers: Sequence[str] = ()) -> None:
        from nissl.network.run.caches import keeps_cache

        self.net = net
        self.ids, self.first = encoded(net, prompts, answers)
        takes = inspect.signature(type(net.model).forward).parameters
        # The last logits alone.
        self.last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self.keeps = keeps_cache(net)

    def ask(
        self,
        groups: Sequence[Sequence[str]] = ((),),
        *,
        batch_size: int = 64,
        advance: Callable[[int], None] = lambda n: None,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Ask everything under each group of units silenced.

        Parameters
        ----------
        groups : sequence of sequence of str
            Addresses of units; by default none are silenced.
        batch_size : int
            Rows in a call: prompts times groups.
        advance : callable
            Told how many prompts have been asked under how many groups.

        Returns
        -------
        log_probability : array of float64, shape (n_groups, n_prompts)
            Of the answer's first token, in nats.
        right : array of bool, shape (n_groups, n_prompts)
            Whether no other token is likelier.
        """
        import torch

        shape = len(groups), len(self.ids)
        log_probability, right = np.zeros(shape), np.zeros(shape, dtype=bool)
        with torch.inference_mode():
            for chunk, rows, logits in self.logits(groups, batch_size=batch_size):
                wanted = np.tile(self.first[rows], len(chunk))
                found, best = log_probabilities(logits, wanted)
                log_probability[np.ix_(chunk, rows)] = found.reshape(len(chunk), -1)
                right[np.ix_(chunk, rows)] = best.reshape(len(chunk), -1)
                advance(len(rows) * len(chunk))
        return log_probability, right

    def prefer(
        self,
        others: NDArray[np.int64],
        groups: Sequence[Sequence[str]] = ((),),
        *,
        by: Sequence[float] = (),
        batch_size: int = 64,
        advance: Callable[[int], None] = lambda n: None,
    ) -> NDArray[np.float64]:
        """Ask how far each answer is preferred to another, under each group silenced or scaled.

        Parameters
        ----------
        others : array of int64, shape (n_prompts,)
            The first token of the other answer (`first_tokens`).
        groups, batch_size, advance
            As in `ask`.
        by : sequence of float, optional
            What the activity of each group is multiplied by; by default zero.

        Returns
        -------
        array of float64, shape (n_groups, n_prompts)
            Log probability of the answer's first token less that of the other's, in nats.
        """
        import torch

        preference = np.zeros((len(groups), len(self.ids)))
        with torch.inference_mode():
            for chunk, rows, logits in self.logits(groups, by=by, batch_size=batch_size):
                found = logits.unflatten(0, (len(chunk), len(rows)))
                at = np.arange(len(rows))
                gain = found[:, at, self.first[rows]].double() - found[:, at, others[rows]].double()
                preference[np.ix_(chunk, rows)] = gain.cpu().numpy()
                advance(len(rows) * len(chunk))
        return preference

    def logits(
        self,
        groups: Sequence[Sequence[str]] = ((),),
        *,
        by: Sequence[float] = (),
        batch_size: int = 64,
    ) -> Iterator[tuple[list[int], list[int], Any]]:
        """Yield groups, prompts, and the logits of what follows each.

        Parameters
        ----------
        groups, by, batch_size
            As in `prefer`.

        Yields
        ------
        chunk : list of int
            Which groups.
        rows : list of int
            Which prompts.
        logits : Tensor, shape (n_groups * n_rows, vocabulary)
            Of the next token, all rows of the first group first.
        """
        from nissl.network.edits.batched import edit_batch
        from nissl.network.edits.fixed import ablate, scale

        bundles = self._bundles()
        factors = by if len(by) else [0.0] * len(groups)
        for chunk in together(len(groups), 1 if self.net.editing else batch_size):
            # What is silenced is zero even where it was not finite.
            edits = [
                (scale(groups[g], by=factors[g]) if factors[g] else ablate(groups[g]))
                if len(groups[g])
                else None
                for g in chunk
            ]
            with edit_batch(self.net, edits):
                for rows, logits in self._answers(bundles, max(batch_size // len(chunk), 1)):
                    yield chunk, rows, logits

    def _bundles(self) -> list[tuple[int, list[int]]]:
        # Other edits may act at one position or item: what they see must stay as it is.
        edits = [edit for block in self.net.edit_blocks for edit in block.edits]
        if self.keeps and all(getattr(edit, "tokenwise", False) for edit in edits):
            return bundles_of(self.ids)
        return [(0, list(range(len(self.ids))))]

    def _answers(
        self, bundles: list[tuple[int, list[int]]], n_prompts: int
    ) -> Iterator[tuple[list[int], Any]]:
        """Yield prompts and their last logits, shape (n_groups * n_rows, vocabulary)."""
        from nissl.network.run.caches import copied
        from nissl.network.run.calls import call_model, sequence_call

        for shared, some in alike(bundles, n_prompts):
            cache = self._read([self.ids[rows[0]][:shared] for rows in some]) if shared else None
            bundle = {row: number for number, rows in enumerate(some) for row in rows}
            for rows in same_length(self.ids, list(bundle), n_prompts):
                call = sequence_call(self.net, [self.ids[r][shared:] for r in rows])
                call.kwargs.update(self.last)
                if cache is not None:
                    kept = copied(cache, rows=[bundle[r] for r in rows], n=len(some))
                    call.kwargs.update(past_key_values=kept, use_cache=True)
                yield rows, call_model(self.net, call).logits[:, -1]

    def _read(self, beginnings: list[Ids]) -> Any:
        """Read the beginnings of bundles, and return their keys and values."""
        from nissl.network.run.caches import empty_cache
        from nissl.network.run.calls import call_model, sequence_call

        cache = empty_cache(self.net)
        call = sequence_call(self.net, beginnings)
        call.kwargs.update(past_key_values=cache, use_cache=True)
        call_model(self.net, call, head=False)
        return cache
