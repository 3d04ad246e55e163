"""The loss of a language model on each text, and what ablating units does to it by kind of text."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.selectivity.ablation import ablated_groups
from nissl.statistics import Finding, MatchedUnits

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["loss_damage", "losses"]

ROWS = 16  # positions whose logits are normalised together: more fall out of the cache


def loss_damage(
    net: Network,
    groups: Mapping[str, Sequence[str]],
    texts: pd.DataFrame,
    *,
    labels: str,
    units: pd.DataFrame,
    null: MatchedUnits = MatchedUnits(),  # noqa: B008
    n_draws: int = 19,
    correction: str | None = "max",
    window: int | None = None,
    every: int = 1,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Finding:
    """Ablate each group of units, and measure how much worse texts of each label are predicted.

    Parameters
    ----------
    net : Network
        A language model.
    groups : mapping of str to sequence of str
        Addresses of the units found for each label.
    texts : DataFrame
        Columns ``text`` and `labels`; texts that were not used to find the units.
    labels : str
        The column that names the kind of text, such as its language.
    units : DataFrame
        All units that may be drawn: ``unit``, ``layer`` and ``weight`` (`weighed`).
    null : MatchedUnits
        How random units are matched.
    n_draws : int
        How many random groups each is compared with; p cannot go below 1 / (n_draws + 1).
    correction : {"max", "bh", "bonferroni"} or None
        Over all groups and labels.
    window, every, batch_size
        As in `losses`.
    seed : int
        The seed of the draws.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each group and label, and one for each group against itself less the rest
        (``label`` is "own - others"): ``damage`` is the rise of the mean loss, in nats a token;
        effect, null mean, p and q against the matched units.

    Raises
    ------
    NisslError
        A group is empty, or names no label of the texts.

    Examples
    --------
    >>> loss_damage(net, {"french": found.units}, tested, labels="language",
    ...             units=units)  # doctest: +SKIP
    """
    for column in ("text", labels):
        if column not in texts:
            raise NisslError(f"the table of texts has no column '{column}'", do="name it so")
    given = list(texts["text"])

    def ask() -> NDArray[np.float64]:
        return -losses(
            net, given, window=window, every=every, batch_size=batch_size, progress=False
        )

    return ablated_groups(
        net, groups, ask, texts[labels], units=units, null=null, n_draws=n_draws,
        correction=correction, seed=seed, progress=progress, method="loss_damage", item="text",
    )  # fmt: skip


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
    import torch

    from nissl.network.calls import call_model, sequence_call
    from nissl.network.windows import windows_of

    if every < 1:
        raise NisslError(f"every={every} predicts nothing", do="give every=1 or more")
    windows = windows_of(net, texts, window=window)
    n_texts = int(windows.document.max()) + 1
    total, count = np.zeros(n_texts), np.zeros(n_texts, dtype=np.int64)
    keeps = "logits_to_keep" in inspect.signature(type(net.model).forward).parameters
    order = np.argsort([len(ids) for ids in windows.ids], kind="stable")
    with progress_bar(
        f"Predicting with {net.name}", total=len(order), unit="windows", progress=progress
    ) as advance:
        for at in range(0, len(order), batch_size):
            rows = order[at : at + batch_size]
            call = sequence_call(net, [windows.ids[r] for r in rows], padding="right")
            longest = max(len(windows.ids[r]) for r in rows)
            places = torch.arange(0, longest - 1, every, device=net.device)
            if keeps:
                call.kwargs["logits_to_keep"] = places
            with torch.inference_mode():
                logits = call_model(net, call).logits
                logits = logits if keeps else logits[:, places]
                row, column, wanted = _to_predict(windows, rows, places.cpu().numpy())
                lost = _cross_entropy(logits, row, column, wanted)
            np.add.at(total, windows.document[rows[row]], lost)
            np.add.at(count, windows.document[rows[row]], 1)
            advance(len(rows))
    if (count == 0).any():
        raise NisslError(
            "a text has no token that could be predicted",
            where=f"text {int(np.argmin(count))}",
            do="leave it out, or give a smaller `every`",
        )
    return total / count


def _to_predict(
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


def _cross_entropy(
    logits: Any, row: NDArray[Any], column: NDArray[Any], wanted: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the loss at each place, a few places at a time, in float32."""
    import torch

    lost = np.zeros(len(wanted))
    for at in range(0, len(wanted), ROWS):
        part = slice(at, at + ROWS)
        numbers = logits[row[part], column[part]].float()
        ids = torch.from_numpy(wanted[part]).to(numbers.device)
        chosen = numbers.gather(-1, ids[:, None])[:, 0]
        lost[part] = (numbers.logsumexp(-1) - chosen).double().cpu().numpy()
    return lost
