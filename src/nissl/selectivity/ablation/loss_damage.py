"""Damage to texts: what ablating units does to the loss of a language model, by kind of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.losses import Predicted
from nissl.columns import require_columns
from nissl.selectivity.ablation.groups import ablated_groups
from nissl.statistics import Finding, Test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["loss_damage"]


def loss_damage(
    net: Network,
    groups: Mapping[str, Sequence[str]],
    texts: pd.DataFrame,
    *,
    labels: str,
    units: pd.DataFrame,
    test: Test = Test(),
    window: int | None = None,
    every: int = 1,
    batch_size: int = 16,
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
    test : Test
        Null (`MatchedUnits`), draws (19 random groups for each), tail, correction over all groups
        and labels, seed.
    window, every, batch_size
        As in `losses`.
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
    require_columns(texts, ("text", labels))
    read = Predicted(net, list(texts["text"]), window=window, every=every)

    def ask(groups: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        return -read.losses(groups, batch_size=batch_size)

    return ablated_groups(
        net,
        groups,
        ask,
        texts[labels],
        units=units,
        test=test,
        progress=progress,
        method="loss_damage",
        item="text",
    )
