"""Measures: how well items go, one number each, under groups of units ablated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.losses import Predicted
from nissl.behaviour.pairs import check_pairs, pair_scores
from nissl.behaviour.prompt_scorer import PromptScorer, ablations
from nissl.behaviour.ranking import reciprocal_ranks
from nissl.columns import require_columns
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.behaviour.behaviour import Behaviour
    from nissl.network import Network

__all__ = [
    "MEASURES",
    "AnswerMeasure",
    "BehaviourMeasure",
    "LossMeasure",
    "Measure",
    "RankingMeasure",
]

Scores = Callable[[Sequence[Sequence[str]]], NDArray[np.float64]]


class Measure(Protocol):
    """How well items go, one number each; larger is better.

    Examples
    --------
    >>> isinstance(AnswerMeasure().item, str)
    True
    """

    @property
    def item(self) -> str:
        """What an item is called."""

    @property
    def items(self) -> str:
        """What several are called."""

    def bind(self, net: Network, on: pd.DataFrame, labels: str) -> tuple[Scores, Any]:
        """Return what measures the items under each of several groups, and each item's label.

        Parameters
        ----------
        net : Network
            The network.
        on : DataFrame
            The items.
        labels : str
            The column that names their kind.

        Returns
        -------
        scores : callable
            Given groups of addresses, returns shape (n_groups, n_items).
        kind : array of str, shape (n_items,)
            The label of each item.
        """


@dataclass(frozen=True)
class AnswerMeasure:
    """The log probability of the first token of each answer, in nats.

    Parameters
    ----------
    batch_size : int
        Rows in a call: prompts times the groups that are ablated in one batch.
    """

    batch_size: int = 64
    item = "fact"
    items = "facts"

    def bind(self, net: Network, on: pd.DataFrame, labels: str) -> tuple[Scores, Any]:
        """Read ``text`` and ``answer``: see `Measure`."""
        require_columns(on, ("text", "answer"))
        scorer = PromptScorer(net, list(on["text"]), list(on["answer"]))

        def scores(groups: Sequence[Sequence[str]]) -> NDArray[np.float64]:
            edits = ablations(groups)
            return scorer.answers(edits, batch_size=self.batch_size, progress=False)[0]

        return scores, on[labels]


@dataclass(frozen=True)
class LossMeasure:
    """The mean loss of each text, in nats a token, turned so that larger is better.

    Parameters
    ----------
    window : int, optional
        Tokens that are read at once, as in `losses`.
    every : int
        Score every so many tokens, as in `losses`.
    batch_size : int
        Rows in a call: texts times the groups that are ablated in one batch.
    """

    window: int | None = None
    every: int = 1
    batch_size: int = 16
    item = "text"
    items = "texts"

    def bind(self, net: Network, on: pd.DataFrame, labels: str) -> tuple[Scores, Any]:
        """Read ``text``: see `Measure`."""
        require_columns(on, ("text",))
        read = Predicted(net, list(on["text"]), window=self.window, every=self.every)
        return lambda groups: -read.losses(groups, batch_size=self.batch_size), on[labels]


@dataclass(frozen=True)
class RankingMeasure:
    """One over the rank that a cross-encoder gives the relevant passage of each query.

    Parameters
    ----------
    score : callable, optional
        Makes a score of the network's output, as in `pair_scores`.
    at : int
        Ranks beyond count as zero, as in `reciprocal_ranks`.
    window : int, optional
        As in `pair_scores`.
    batch_size : int
        Pairs in a call.
    """

    score: Callable[[Tensor], Tensor] | None = None
    at: int = 10
    window: int | None = None
    batch_size: int = 64
    item = "query"
    items = "queries"

    def bind(self, net: Network, on: pd.DataFrame, labels: str) -> tuple[Scores, Any]:
        """Read ``query``, ``passage`` and ``relevant``, a row for each pair: see `Measure`."""
        check_pairs(on)
        of_query = on.groupby("query", sort=False)[labels]
        if (of_query.nunique() > 1).any():
            raise NisslError(f"a query has two values of '{labels}'", do="name its queries apart")

        def ranks(edit: Any) -> NDArray[np.float64]:
            with net.edit(*([] if edit is None else [edit])):
                got = pair_scores(
                    net,
                    on,
                    score=self.score,
                    window=self.window,
                    batch_size=self.batch_size,
                    progress=False,
                )
            return np.asarray(reciprocal_ranks(on, got, at=self.at), dtype=np.float64)

        return lambda groups: np.stack(
            [ranks(edit) for edit in ablations(groups)]
        ), of_query.first()


@dataclass(frozen=True)
class BehaviourMeasure:
    """How much is left of the behaviour of each pair, from 0 as corrupted to 1 as clean.

    Parameters
    ----------
    pairs : mapping of str to Behaviour
        Of one network. The items are the pairs of all, one behaviour after the other.
    """

    pairs: Mapping[str, Behaviour]
    item = "pair"
    items = "pairs"

    def bind(
        self, net: Network, on: pd.DataFrame | None = None, labels: str = "behaviour"
    ) -> tuple[Scores, Any]:
        """Read nothing of the items but their label: see `Measure`."""

        def left(one: Behaviour) -> NDArray[np.float64]:
            # Of the mean, so that single pairs which differ little do not decide.
            size = one.clean_value.mean() - one.corrupted_value.mean()
            return ((one.clean() - one.corrupted_value.mean()) / size).double().cpu().numpy()

        def scores(groups: Sequence[Sequence[str]]) -> NDArray[np.float64]:
            rows = []
            for edit in ablations(groups):
                with net.edit(*([] if edit is None else [edit])):
                    rows.append(np.concatenate([left(one) for one in self.pairs.values()]))
            return np.stack(rows)

        return scores, None if on is None else on[labels]


MEASURES: dict[str, Callable[[], Measure]] = {
    "answer": AnswerMeasure,
    "loss": LossMeasure,
    "ranking": RankingMeasure,
}
