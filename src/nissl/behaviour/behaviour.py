"""Behaviour: clean and corrupted inputs, and a metric that tells one answer from the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from nissl.behaviour.metrics import (
    answer_tensor,
    kl,
    log_probability,
    logit_difference,
    probability_difference,
)
from nissl.errors import NisslError
from nissl.network.run.calls import Call, call_model, sequence_call, tensor_call
from nissl.network.run.inputs import read_inputs
from nissl.network.run.windows import single_windows

if TYPE_CHECKING:
    from nissl.network.network import Network

__all__ = ["Behaviour"]

Ids = list[Any]  # of arrays of token ids, or of tensors
Metric = Literal["logit_difference", "probability_difference", "log_probability", "kl"]


class Behaviour:
    """What a network does with clean inputs and not with corrupted ones, and how much of it.

    The answer is read after the last token of each input.

    Parameters
    ----------
    net : Network
        A language model; or one that reads images or vectors, or an encoder.
    clean, corrupted : sequence of text or token ids, images or Tensor
        As many of each; the first of one belongs to the first of the other.
    metric : {"logit_difference", "probability_difference", "log_probability", "kl"} or callable
        The callable is given logits, shape (batch, vocabulary or class), and returns shape
        (batch,). Of an encoder it is given the mean of the last hidden states over the tokens,
        shape (batch, d_model). "kl" is the divergence from what the network says of the clean
        inputs.
    right, wrong : sequence of str, ids, or lists of them, optional
        The answers for each input, one or several; a text is one token, a class its number.
    aligned : bool
        Refuse pairs of different lengths, whose positions do not correspond.
    batch_size : int, optional
        Inputs of a call; by default all.

    Raises
    ------
    NisslError
        Pairs do not align, an answer is not one token, or edits are in force.

    Attributes
    ----------
    clean_value, corrupted_value : Tensor, shape (batch,)
        The metric without edits.
    exchange : sequence or None
        To be set where pairs hang together, such as those of one fact: a group for each pair, whose
        prompts trade places together where effects are tested.

    Examples
    --------
    A model that says the token it reads, which is 3 or 4:

    >>> from nissl.network import Network
    >>> class Echo(torch.nn.Module):
    ...     def forward(self, input_ids):
    ...         one_hot = torch.nn.functional.one_hot(input_ids, 5).float()
    ...         return type("Output", (), {"logits": one_hot})
    >>> net = Network(Echo())
    >>> echo = Behaviour(net, [[3]], [[4]], right=[3], wrong=[4])
    >>> echo.clean().tolist(), echo.corrupted().tolist(), echo.normalised(torch.zeros(1))
    ([1.0], [-1.0], 0.5)
    """

    def __init__(
        self,
        net: Network,
        clean: Sequence[Any],
        corrupted: Sequence[Any],
        *,
        metric: Metric | Callable[[Tensor], Tensor] = "logit_difference",
        right: Sequence[Any] | None = None,
        wrong: Sequence[Any] | None = None,
        aligned: bool = True,
        batch_size: int | None = None,
    ) -> None:
        self.net, self.metric, self.batch_size = net, metric, batch_size
        self.exchange: Sequence[Any] | None = None
        self.clean_ids, self.corrupted_ids = (_items(net, given) for given in (clean, corrupted))
        self._check(aligned)
        self.right = None if right is None else self._answers(right)
        self.wrong = None if wrong is None else self._answers(wrong)
        self._check_metric()
        if net.edit_blocks:
            raise NisslError(
                "a behaviour is measured first without edits", do="make it outside of net.edit"
            )
        with torch.no_grad():
            self.reference = torch.cat([self._logits(ids) for ids in self._batches(self.clean_ids)])
        self.clean_value = self.clean()
        self.corrupted_value = self.corrupted()

    def __len__(self) -> int:
        return len(self.clean_ids)

    @property
    def clean_call(self) -> Call:
        """The clean inputs as one call, for ``run``, ``restart`` and ``gradients``."""
        return self.call(self.clean_ids)

    @property
    def corrupted_call(self) -> Call:
        """The corrupted inputs as one call."""
        return self.call(self.corrupted_ids)

    @property
    def sequences(self) -> bool:
        """Whether inputs are sequences of tokens."""
        return not isinstance(self.clean_ids[0], Tensor)

    def call(self, items: Ids) -> Call:
        """Return inputs as one call.

        Parameters
        ----------
        items : list
            Some of ``clean_ids`` or ``corrupted_ids``.

        Returns
        -------
        Call
            Padded on the right.
        """
        if self.sequences:
            return sequence_call(self.net, items)
        return tensor_call(self.net, torch.stack(list(items)))

    @property
    def differing(self) -> Tensor:
        """Where the tokens of aligned pairs differ, shape (batch, position), bool."""
        longest = max(map(len, self.clean_ids))
        where = torch.zeros(len(self), longest, dtype=torch.bool)
        for row, (a, b) in enumerate(zip(self.clean_ids, self.corrupted_ids, strict=True)):
            where[row, : len(a)] = torch.from_numpy(a != b)
        return where

    def clean(self) -> Tensor:
        """Measure the clean inputs, with the edits that are in force.

        Returns
        -------
        Tensor, shape (batch,)
            The metric.
        """
        return self._measure(self.clean_ids)

    def corrupted(self) -> Tensor:
        """Measure the corrupted inputs, with the edits that are in force.

        Returns
        -------
        Tensor, shape (batch,)
            The metric.
        """
        return self._measure(self.corrupted_ids)

    def score(
        self,
        logits: Any,
        *,
        of: Literal["clean", "corrupted"] = "clean",
        rows: slice = slice(None),
    ) -> Tensor:
        """Measure logits: the metric for ``gradients``, and for runs of one's own.

        Parameters
        ----------
        logits : Tensor, shape (batch, position, vocabulary), or what a model returns
            Of the inputs, padded on the right, or of their last positions alone.
        of : {"clean", "corrupted"}
            Of which inputs; of no importance where pairs align.
        rows : slice
            Of which pairs; by default of all.

        Returns
        -------
        Tensor, shape (batch,)
            The metric, with its graph.
        """
        ids = (self.clean_ids if of == "clean" else self.corrupted_ids)[rows]
        return self._metric(self._answered(logits, ids), rows)

    def tokens_read(self, rows: slice = slice(None)) -> Tensor | None:
        """Return the tokens whose logits the metric reads of some pairs; None for all."""
        if self.metric != "logit_difference" or self.right is None or self.wrong is None:
            return None
        both = torch.cat([self.right[rows].flatten(), self.wrong[rows].flatten()])
        tokens: Tensor = both[both >= 0].unique()
        return tokens

    def normalised(self, value: Tensor) -> float:
        """Return how much of the behaviour a value is: 0 as corrupted, 1 as clean.

        Parameters
        ----------
        value : Tensor, shape (batch,)
            What was measured under an edit.

        Returns
        -------
        float
            Of the means over the batch.

        Raises
        ------
        NisslError
            Clean and corrupted inputs do not differ in the metric.
        """
        clean, corrupted = float(self.clean_value.mean()), float(self.corrupted_value.mean())
        if clean == corrupted:
            raise NisslError(
                f"clean and corrupted inputs both measure {clean:.4g}",
                do="choose inputs that the network answers differently",
            )
        return (float(value.detach().mean()) - corrupted) / (clean - corrupted)

    def _measure(self, ids: Ids) -> Tensor:
        with torch.no_grad():
            parts, start = [], 0
            for batch in self._batches(ids):
                rows = slice(start, start + len(batch))
                parts.append(self._metric(self._logits(batch), rows))
                start += len(batch)
        return torch.cat(parts)

    def _batches(self, ids: Ids) -> list[Ids]:
        size = self.batch_size or len(ids)
        return [ids[i : i + size] for i in range(0, len(ids), size)]

    def _logits(self, ids: Ids) -> Tensor:
        """Return logits after the last token, shape (batch, vocabulary)."""
        return self._answered(call_model(self.net, self.call(ids)), ids)

    def _answered(self, output: Any, ids: Ids) -> Tensor:
        """Return what the metric is given of what a model returned."""
        logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        if isinstance(logits, Tensor):
            # A classifier has answered a whole sequence at once.
            return _last(logits, ids) if self.sequences and logits.ndim == 3 else logits
        states = getattr(output, "last_hidden_state", None)
        if not isinstance(states, Tensor) or not callable(self.metric):
            raise NisslError(
                f"{type(self.net.model).__name__} gives no logits",
                do="load a language model, or give a callable metric of an encoder's states",
            )
        lengths = torch.tensor([len(row) for row in ids], device=states.device)[:, None]
        real = torch.arange(states.shape[1], device=states.device) < lengths
        return (states * real[..., None]).sum(1) / lengths

    def _metric(self, logits: Tensor, rows: slice) -> Tensor:
        if callable(self.metric):
            return self.metric(logits)
        if self.metric == "kl":
            return kl(logits, self.reference[rows].to(logits.device))
        right = self.right[rows] if self.right is not None else logits.new_zeros(0).long()
        if self.metric == "log_probability" or self.wrong is None:
            return log_probability(logits, right)
        difference = (
            probability_difference if self.metric == "probability_difference" else logit_difference
        )
        return difference(logits, right, self.wrong[rows])

    def _check(self, aligned: bool) -> None:
        if len(self.clean_ids) != len(self.corrupted_ids):
            raise NisslError(
                f"there are {len(self.clean_ids)} clean inputs and {len(self.corrupted_ids)} "
                "corrupted ones",
                do="give them in pairs",
            )
        for number, (a, b) in enumerate(zip(self.clean_ids, self.corrupted_ids, strict=True)):
            if aligned and self.sequences and len(a) != len(b):
                raise NisslError(
                    f"the clean input has {len(a)} tokens, the corrupted one {len(b)}",
                    where=f"pair {number}: {self.net.tokens(a)} and {self.net.tokens(b)}",
                    do="choose words of as many tokens, or aligned=False",
                )

    def _check_metric(self) -> None:
        both = ("right", "wrong")
        needs: dict[str, tuple[str, ...]] = {
            "logit_difference": both,
            "probability_difference": both,
            "log_probability": ("right",),
            "kl": (),
        }
        if callable(self.metric):
            return
        if self.metric not in needs:
            raise NisslError(f"a metric is callable or one of {', '.join(needs)}")
        for name in needs[self.metric]:
            if getattr(self, name) is None:
                raise NisslError(f"{self.metric} needs the {name} answers", do=f"give {name}=")

    def _answers(self, given: Sequence[Any]) -> Tensor:
        if len(given) != len(self):
            raise NisslError(f"there are {len(given)} answers for {len(self)} inputs")
        several = [g if isinstance(g, (list, tuple)) else [g] for g in given]
        rows = [[self.net.token_id(answer) for answer in answers] for answers in several]
        if not all(rows):
            raise NisslError("an input has no answer", where=f"input {rows.index([])}")
        return answer_tensor(rows).to(self.net.device)


def _items(net: Network, given: Any) -> Ids:
    """Return inputs one by one: token ids, or tensors."""
    read = read_inputs(net, given)
    if read.documents:
        return single_windows(net, read).ids
    call = tensor_call(net, read.arguments)
    if call.kwargs:
        raise NisslError("inputs by name do not come in pairs", do="give texts, ids or one tensor")
    return list(call.args[0])


def _last(logits: Tensor, ids: Ids) -> Tensor:
    """Return what is said after the last token of each item, shape (batch, vocabulary)."""
    # Where only the last positions were computed, the last is the last of all.
    ends = torch.tensor([len(row) for row in ids], device=logits.device)
    ends = ends - (int(ends.max()) - logits.shape[1]) - 1
    return logits[torch.arange(len(ids), device=logits.device), ends]
