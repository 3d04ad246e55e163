"""A task: pairs of prompts that a network answers rightly, in two halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.behaviour import Behaviour
from nissl.behaviour.metrics import answer_tensor, logit_difference, probability_difference
from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.behaviour.prompts import first_tokens, token_ids
from nissl.columns import require_columns
from nissl.errors import TooFewSamples, require_known

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.network import Network

__all__ = ["HALVES", "Task", "make_task"]

Metric = Literal["logit_difference", "probability_difference"]
METRICS = {
    "logit_difference": logit_difference,
    "probability_difference": probability_difference,
}
HALVES = ("first", "second")
COLUMNS = ("text", "corrupted", "answer", "wrong", "half")
LEAST = 4  # pairs of a half


@dataclass(frozen=True)
class Task:
    """Pairs of a clean and a corrupted prompt whose clean one a network answers rightly.

    Parameters
    ----------
    net : Network
        The language model that answers.
    name : str
        What the task is called.
    items : DataFrame
        A row for each pair: ``text`` and ``corrupted``, of as many tokens; ``answer`` and ``wrong``
        (with the space that begins them; a tuple where there are several); ``half`` ("first" or
        "second"); and labels.
    metric : str
        The metric of its behaviours, of `Behaviour`.

    Examples
    --------
    >>> task = indirect_object(net)  # doctest: +SKIP
    >>> found_on, tested_on = task.halves  # doctest: +SKIP
    >>> patching_grid(found_on.behaviour(), positions=range(-5, 0))  # doctest: +SKIP
    """

    net: Network
    name: str
    items: pd.DataFrame
    metric: Metric = "logit_difference"

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Task({self.name}: {len(self)} pairs that {self.net.name} answers rightly)"

    @property
    def halves(self) -> tuple[Task, Task]:
        """Two tasks that share no filler: find on the first, test on the second."""
        parts = [self.items[self.items["half"] == half] for half in HALVES]
        first, second = (
            Task(self.net, self.name, part.reset_index(drop=True), self.metric) for part in parts
        )
        return first, second

    def behaviour(self, **options: Any) -> Behaviour:
        """Return the pairs as a behaviour.

        Parameters
        ----------
        **options
            Of `Behaviour`: ``metric``, ``batch_size``.

        Returns
        -------
        Behaviour
            Measured without edits.
        """
        right, wrong = _tokens(self.net, self.items)
        texts = list(self.items["text"]), list(self.items["corrupted"])
        return Behaviour(
            self.net, *texts, right=right, wrong=wrong, **{"metric": self.metric, **options}
        )


def make_task(
    net: Network,
    pairs: pd.DataFrame,
    *,
    name: str,
    n: int = 64,
    metric: Metric = "logit_difference",
    batch_size: int = 64,
    progress: bool = True,
) -> Task:
    """Make a task of the pairs that align and that a network answers rightly.

    Parameters
    ----------
    net : Network
        A language model.
    pairs : DataFrame
        Columns as in `Task`; other columns are kept as labels.
    name : str
        What the task is called.
    n : int
        Pairs wanted, half of them of each half. So many are tried at a time, in the order given.
    metric : {"logit_difference", "probability_difference"}
        What is above zero for a right answer. By the first, a corrupted prompt has an answer of its
        own, which is to be right as well: its metric is below zero. By the second, it is to be
        lower than that of the clean prompt.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Task
        At most `n` pairs.

    Raises
    ------
    TooFewSamples
        Fewer than four pairs of a half are answered rightly.
    UnknownName
        A column is missing.

    Examples
    --------
    >>> make_task(net, pairs, name="gender")  # doctest: +SKIP
    Task(gender: 64 pairs that smollm2 answers rightly)
    """
    require_columns(pairs, COLUMNS)
    require_known("metric", metric, list(METRICS))
    given = pairs[_usable(net, pairs)].reset_index(drop=True)
    right = np.zeros(len(given), dtype=bool)
    items, tried = given[right], 0
    while tried < len(given) and len(items) < n // 2 * 2:
        rows = slice(tried, tried + n)
        right[rows] = _right(net, given.iloc[rows], metric, batch_size, progress)
        items = given[right].groupby("half", sort=False).head(n // 2).reset_index(drop=True)
        tried = min(tried + n, len(given))
    found = {half: int((items["half"] == half).sum()) for half in HALVES}
    if min(found.values()) < min(LEAST, n // 2):
        raise TooFewSamples(
            f"{net.name} answers too few pairs rightly: {found['first']} of the first half, "
            f"{found['second']} of the second",
            where=f"{name}: {len(pairs)} pairs were given, of {len(given)} both prompts are as "
            f"long and the answers begin with other tokens, {tried} of these were tried",
            do="use a network that can do the task, or try more pairs",
        )
    labels = [column for column in items.columns if column not in COLUMNS]
    return Task(net, name, items[[*COLUMNS, *labels]], metric)


def _usable(net: Network, pairs: pd.DataFrame) -> list[bool]:
    """Return of which pairs both prompts are as long, and the answers begin with other tokens."""
    clean, corrupted = (token_ids(net, pairs[column]) for column in ("text", "corrupted"))
    return [
        len(a) == len(b) and not set(r) & set(w)
        for a, b, r, w in zip(clean, corrupted, *_tokens(net, pairs), strict=True)
    ]


def _right(
    net: Network, pairs: pd.DataFrame, metric: Metric, batch_size: int, progress: bool
) -> NDArray[np.bool_]:
    """Return which pairs are answered rightly."""
    right, wrong = map(answer_tensor, _tokens(net, pairs))
    scores = np.zeros((2, len(pairs)))
    for score, column in zip(scores, ("text", "corrupted"), strict=True):
        scorer = PromptScorer(net, list(pairs[column]))
        for _, rows, logits in scorer.logits(batch_size=batch_size, progress=progress):
            score[rows] = METRICS[metric](logits, right[rows], wrong[rows]).cpu().numpy()
    limit = 0 if metric == "logit_difference" else scores[0]
    return np.asarray((scores[0] > 0) & (scores[1] < limit))


def _tokens(net: Network, items: pd.DataFrame) -> list[list[list[int]]]:
    """Return the first tokens of the right answers and of the wrong ones of each pair."""
    sides = [
        [list(given) if isinstance(given, tuple) else [given] for given in items[column]]
        for column in ("answer", "wrong")
    ]
    words = sorted({word for side in sides for words in side for word in words})
    token = dict(zip(words, first_tokens(net, words).tolist(), strict=True)) if words else {}
    return [[[token[word] for word in words] for words in side] for side in sides]
