"""The loss of a language model on each text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.log_probabilities import log_probabilities
from nissl.behaviour.prefix_sharing import chunked
from nissl.errors import NisslError
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from nissl.network.network import Network

__all__ = ["Predicted", "losses", "to_predict"]


def losses(
    net: Network,
    texts: Any,
    *,
    window: int | None = None,
    every: int = 1,
    batch_size: int = 16,
    progress: bool = True,
) -> NDArray[np.float64]:
    """Return the mean loss of a language model on each text.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    texts : sequence of str or of token ids
        What it predicts, token by token.
    window : int, optional
        Tokens of a window of a long text, as in `nissl.record`.
    every : int
        Predict one position in so many: where the vocabulary is large, logits cost most. Which
        positions these are is the same for every window.
    batch_size : int
        Windows in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_texts,)
        Cross entropy of the next token, in nats, the mean over a text's predicted positions.

    Raises
    ------
    NisslError
        A text has no position to predict, or `every` is less than one.

    Examples
    --------
    >>> losses(net, ["The capital of France is Paris."])  # doctest: +SKIP
    array([2.73])
    """
    read = Predicted(net, texts, window=window, every=every)
    with progress_bar(
        f"Predicting with {net.name}",
        total=len(read.windows.ids),
        unit="windows",
        progress=progress,
    ) as advance:
        found: NDArray[np.float64] = read.losses(batch_size=batch_size, advance=advance)[0]
    return found


class Predicted:
    """Texts that a language model predicts many times, under other groups of units silenced.

    Parameters
    ----------
    net : Network
        A language model.
    texts : sequence of str or of token ids
        What it predicts.
    window, every
        As in `losses`.

    Raises
    ------
    NisslError
        A text has no position to predict, or `every` is less than one.
    """

    def __init__(
        self, net: Network, texts: Any, *, window: int | None = None, every: int = 1
    ) -> None:
        from nissl.network.run.windows import windows_of

        if every < 1:
            raise NisslError(f"every={every} predicts nothing", do="give every=1 or more")
        self.net, self.every = net, every
        self.windows = windows_of(net, texts, window=window)
        self.keeps = "logits_to_keep" in inspect.signature(type(net.model).forward).parameters
        lengths = [len(ids) for ids in self.windows.ids]
        self.order = np.argsort(lengths, kind="stable")
        self.places = np.arange(0, max(lengths) - 1, every)
        self.n_texts = int(self.windows.document.max()) + 1
        row = to_predict(self.windows, self.order, self.places)[0]
        counts = np.bincount(self.windows.document[self.order[row]], minlength=self.n_texts)
        if (counts == 0).any():
            raise NisslError(
                "a text has no token that could be predicted",
                where=f"text {int(np.argmin(counts))}",
                do="give texts of at least two tokens",
            )
        self.counts = counts

    def losses(
        self,
        groups: Sequence[Sequence[str]] = ((),),
        *,
        batch_size: int = 16,
        advance: Callable[[int], None] = lambda n: None,
    ) -> NDArray[np.float64]:
        """Return the mean loss on each text under each group of units silenced.

        Parameters
        ----------
        groups : sequence of sequence of str
            Addresses of units; by default none are silenced.
        batch_size : int
            Rows in a call: windows times groups.
        advance : callable
            Told how many windows have been read under how many groups.

        Returns
        -------
        array of float64, shape (n_groups, n_texts)
            In nats.
        """
        import torch

        from nissl.network.edits.batched import edit_batch
        from nissl.network.edits.fixed import ablate

        total = np.zeros((len(groups), self.n_texts))
        # Other edits may act on one item of the batch, which must stay as it is.
        for chunk in chunked(len(groups), 1 if self.net.editing else batch_size):
            size = max(batch_size // len(chunk), 1)
            edits = [ablate(groups[g]) if len(groups[g]) else None for g in chunk]
            with torch.inference_mode(), edit_batch(self.net, edits):
                for at in range(0, len(self.order), size):
                    rows = self.order[at : at + size]
                    document, lost = self.read(rows, len(chunk))
                    for one, losses in zip(chunk, lost, strict=True):
                        np.add.at(total[one], document, losses)
                    advance(len(rows) * len(chunk))
        return np.asarray(total / self.counts)

    def read(
        self, rows: NDArray[np.int64], n_groups: int = 1
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Read some windows in one call, under the edits in force.

        Parameters
        ----------
        rows : array of int
            Which windows.
        n_groups : int
            How many copies of the batch there will be.

        Returns
        -------
        document : array of int, shape (n_places,)
            The text of each predicted place.
        losses : array of float64, shape (n_groups, n_places)
            In nats.
        """
        import torch

        from nissl.network.run.calls import call_model, sequence_call

        call = sequence_call(self.net, [self.windows.ids[r] for r in rows], padding="right")
        longest = max(len(self.windows.ids[r]) for r in rows)
        places = self.places[self.places < longest - 1]
        at = torch.from_numpy(places).to(self.net.device)
        if self.keeps:
            call.kwargs["logits_to_keep"] = at
        logits = call_model(self.net, call).logits
        logits = logits if self.keeps else logits[:, at]
        row, column, wanted = to_predict(self.windows, rows, places)
        # Rows of all groups, one group after the other.
        flat = np.arange(n_groups)[:, None] * logits[: len(rows), :, 0].numel()
        flat = flat + row * logits.shape[1] + column
        found, _ = log_probabilities(
            logits.flatten(0, 1), np.tile(wanted, n_groups), rows=flat.ravel()
        )
        lost = -found
        return self.windows.document[rows[row]], lost.reshape(n_groups, -1)


def to_predict(
    windows: Any, rows: NDArray[Any], places: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return row and column of the logits that predict a new token, and that token's id."""
    row, column, wanted = [], [], []
    for number, r in enumerate(rows):
        ids = windows.ids[r]
        last = len(ids) - int(windows.tail[r])
        first = max(int(windows.skip[r]) - 1, 0)  # what predicts the first new token
        use = np.flatnonzero((places >= first) & (places + 1 < last))
        row.append(np.full(len(use), number))
        column.append(use)
        wanted.append(ids[places[use] + 1])
    return np.concatenate(row), np.concatenate(column), np.concatenate(wanted)
