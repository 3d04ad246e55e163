"""Scoring prompts: what a language model says after each, under one edit after another."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.log_probabilities import log_probabilities
from nissl.behaviour.prefix_sharing import (
    chunked,
    of_one_length,
    shared_prefixes,
    with_like_prefixes,
)
from nissl.behaviour.prompts import answer_tokens, token_ids
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from nissl.network import Edit
    from nissl.network.network import Network

    Edits: TypeAlias = Sequence[Edit | Sequence[Edit] | None]

__all__ = ["PromptScorer", "ablations"]

Ids = NDArray[np.int64]


class PromptScorer:
    """Prompts that a language model reads, and how likely it goes on with their answers.

    What prompts share at their beginning ("The capital of") is read once, and its keys and values
    serve them all. Prompts of one length are read together, so that nothing is padded; many edits
    act in one call, each on its own copy of the prompts, from the first block that one touches.
    Edits in force are seen.

    Parameters
    ----------
    net : Network
        A language model.
    prompts : texts, chats, token ids, encoding of a tokenizer, or DataFrame
        What it reads, as in `token_ids`.
    answers : sequence of str or of token ids, optional
        How each goes on, with the space that begins it.
    whole_answers : bool
        Score all tokens of each answer, each after those before it; otherwise its first alone.

    Raises
    ------
    NisslError
        There are not as many answers as prompts, an answer has no token, or the network has no
        tokenizer for a text.

    Examples
    --------
    >>> scorer = PromptScorer(net, ["The capital of France is"], [" Paris"])  # doctest: +SKIP
    >>> scorer.answers(progress=False)  # doctest: +SKIP
    (array([-0.258]), array([ True]))
    """

    def __init__(
        self,
        net: Network,
        prompts: Any,
        answers: Sequence[Any] = (),
        *,
        whole_answers: bool = False,
    ) -> None:
        from nissl.network.run.caches import keeps_cache

        self.net = net
        self.ids = token_ids(net, prompts)
        self.n_prompts = len(self.ids)
        # The prompt after which each token of an answer is scored, and where a new prompt begins.
        tokens = answer_tokens(net, answers, of=self.n_prompts)
        if whole_answers and tokens:
            parts = [(p, k) for p, answer in enumerate(tokens) for k in range(len(answer))]
            self.ids = [np.append(self.ids[p], tokens[p][:k]).astype(np.int64) for p, k in parts]
            self.wanted = np.asarray([tokens[p][k] for p, k in parts])
            self.starts = np.flatnonzero([k == 0 for _, k in parts])
        else:
            self.wanted = np.asarray([answer[0] for answer in tokens])
            self.starts = np.arange(len(tokens))
        takes = inspect.signature(type(net.model).forward).parameters
        # The last logits alone.
        self.last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self.keeps = keeps_cache(net)

    def answers(
        self, edits: Edits | None = None, *, batch_size: int = 64, progress: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return how likely each answer is, and whether no other is likelier.

        Parameters
        ----------
        edits : sequence of Edit, lists of Edit, or None; optional
            Under each of these; by default under none.
        batch_size : int
            Rows in a call: prompts times edits.
        progress : bool
            Show a bar.

        Returns
        -------
        log_probability : array of float64, shape (n_prompts,) or (n_edits, n_prompts)
            In nats; of a whole answer the sum over its tokens.
        right : array of bool, same shape
            Whether each scored token of the answer is the likeliest at its place.
        """
        shape = 1 if edits is None else len(edits), len(self.ids)
        found, right = np.zeros(shape), np.zeros(shape, dtype=bool)
        for chunk, rows, logits in self._scored(edits, batch_size, progress):
            wanted = np.tile(self.wanted[rows], len(chunk))
            each, best = log_probabilities(logits, wanted)
            found[np.ix_(chunk, rows)] = each.reshape(len(chunk), -1)
            right[np.ix_(chunk, rows)] = best.reshape(len(chunk), -1)
        if len(self.starts) < len(self.ids):
            found = np.add.reduceat(found, self.starts, axis=1)
            right = np.logical_and.reduceat(right, self.starts, axis=1)
        return (found[0], right[0]) if edits is None else (found, right)

    def ranks(
        self, edits: Edits | None = None, *, batch_size: int = 64, progress: bool = True
    ) -> NDArray[np.int64]:
        """Return the place of each answer's token among all, the likeliest first.

        Parameters
        ----------
        edits, batch_size, progress
            As in `answers`.

        Returns
        -------
        array of int64, shape (n_prompts,) or (n_edits, n_prompts)
            1 for the likeliest; of a whole answer, that of its least likely token.
        """
        shape = 1 if edits is None else len(edits), len(self.ids)
        found: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        for chunk, rows, logits in self._scored(edits, batch_size, progress):
            wanted = np.tile(self.wanted[rows], len(chunk))
            chosen = logits[np.arange(len(wanted)), wanted][:, None]
            before = (logits > chosen).sum(-1).cpu().numpy()
            found[np.ix_(chunk, rows)] = 1 + before.reshape(len(chunk), -1)
        if len(self.starts) < len(self.ids):
            found = np.maximum.reduceat(found, self.starts, axis=1)
        return found.ravel() if edits is None else found

    def preferences(
        self,
        others: NDArray[np.int64],
        edits: Edits | None = None,
        *,
        batch_size: int = 64,
        progress: bool = True,
    ) -> NDArray[np.float64]:
        """Return how far the first token of each answer is preferred to another token.

        Parameters
        ----------
        others : array of int64, shape (n_prompts,)
            The first token of the other answer (`first_tokens`).
        edits, batch_size, progress
            As in `answers`.

        Returns
        -------
        array of float64, shape (n_prompts,) or (n_edits, n_prompts)
            Difference of log probabilities, in nats.
        """
        shape = 1 if edits is None else len(edits), len(self.ids)
        found: NDArray[np.float64] = np.zeros(shape)
        for chunk, rows, logits in self._scored(edits, batch_size, progress):
            each, at = logits.unflatten(0, (len(chunk), len(rows))), np.arange(len(rows))
            gain = each[:, at, self.wanted[rows]].double() - each[:, at, others[rows]].double()
            found[np.ix_(chunk, rows)] = gain.cpu().numpy()
        found = found[:, self.starts]
        return found.ravel() if edits is None else found

    def logits(
        self, edits: Edits | None = None, *, batch_size: int = 64, progress: bool = True
    ) -> Iterator[tuple[list[int], list[int], Any]]:
        """Yield what the network expects after each prompt, some prompts and edits at a time.

        Parameters
        ----------
        edits, batch_size, progress
            As in `answers`.

        Yields
        ------
        chunk : list of int
            Which edits; ``[0]`` where there are none.
        rows : list of int
            Which prompts; those of like length come together.
        logits : Tensor, shape (n_chunk * n_rows, vocabulary), float32
            Of the next token, all prompts under the first edit first.
        """
        for chunk, rows, logits in self._scored(edits, batch_size, progress):
            yield chunk, rows, logits.float()

    def _scored(
        self, edits: Edits | None, batch_size: int, progress: bool
    ) -> Iterator[tuple[list[int], list[int], Any]]:
        """Yield edits, prompts and their last logits, in the network's type, with a bar."""
        import torch

        every = [None] if edits is None else list(edits)
        # As a decorator the mode is left between two batches, which are the caller's.
        each = torch.inference_mode()(self._chunks)(every, batch_size)
        total = len(every) * len(self.ids)
        title = f"Scoring prompts of {self.net.name}"
        with progress_bar(title, total=total, unit="prompts", progress=progress) as advance:
            for chunk, rows, logits in each:
                yield chunk, rows, logits
                advance(len(rows) * len(chunk))

    def _chunks(
        self, edits: list[Any], batch_size: int
    ) -> Iterator[tuple[list[int], list[int], Any]]:
        from nissl.network.edits.batched import edit_batch

        prefixes = self._prefixes()
        # Edits that are in force already leave one copy of the batch.
        for chunk in chunked(len(edits), 1 if self.net.editing else batch_size):
            with edit_batch(self.net, [edits[number] for number in chunk]):
                for rows, logits in self._read(prefixes, max(batch_size // len(chunk), 1)):
                    yield chunk, rows, logits

    def _prefixes(self) -> list[tuple[int, list[int]]]:
        # Other edits may act at one position or item: what they see must stay as it is.
        edits = [edit for block in self.net.edit_blocks for edit in block.edits]
        if self.keeps and all(getattr(edit, "tokenwise", False) for edit in edits):
            return shared_prefixes(self.ids)
        return [(0, list(range(len(self.ids))))]

    def _read(
        self, prefixes: list[tuple[int, list[int]]], n_prompts: int
    ) -> Iterator[tuple[list[int], Any]]:
        """Yield prompts and their last logits, shape (n_edits * n_rows, vocabulary)."""
        from nissl.network.run.caches import copied
        from nissl.network.run.calls import call_model, sequence_call

        for shared, some in with_like_prefixes(prefixes, n_prompts):
            begun = [self.ids[rows[0]][:shared] for rows in some]
            cache = self._cache(begun) if shared else None
            prefix = {row: number for number, rows in enumerate(some) for row in rows}
            for rows in of_one_length(self.ids, list(prefix), n_prompts):
                call = sequence_call(self.net, [self.ids[r][shared:] for r in rows])
                call.kwargs.update(self.last)
                if cache is not None:
                    kept = copied(cache, rows=[prefix[r] for r in rows], n=len(some))
                    call.kwargs.update(past_key_values=kept, use_cache=True)
                yield rows, call_model(self.net, call).logits[:, -1]

    def _cache(self, prefixes: list[Ids]) -> Any:
        """Read prefixes, and return their keys and values."""
        from nissl.network.run.caches import empty_cache
        from nissl.network.run.calls import call_model, sequence_call

        cache = empty_cache(self.net)
        call = sequence_call(self.net, prefixes)
        call.kwargs.update(past_key_values=cache, use_cache=True)
        call_model(self.net, call, head=False)
        return cache


def ablations(groups: Sequence[Sequence[str]]) -> list[Any]:
    """Return the edit that silences each group of units; None for an empty group.

    Parameters
    ----------
    groups : sequence of sequence of str
        Addresses of units.

    Returns
    -------
    list of Edit or None
        For `PromptScorer.answers` and ``net.edit_batch``.

    Examples
    --------
    >>> ablations([["blocks.0.mlp.neurons[3]"], []])
    [ablate(blocks.0.mlp.neurons), None]
    """
    from nissl.network.edits.fixed import ablate

    return [ablate(list(group)) if len(group) else None for group in groups]
