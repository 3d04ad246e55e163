"""Dead-salmon control: a finding must stand against permuted labels and against random networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.statistics.calibration import rate
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import LabelNull, PermutedLabels
from nissl.statistics.permutation import permutation_test
from nissl.statistics.pvalues import against_null
from nissl.statistics.reinitialise import ReinitialisedNetwork
from nissl.statistics.test import CORRECTIONS, Test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["dead_salmon"]


@method(system=51)
def dead_salmon(
    activity: Callable[[Any], Recording | ArrayLike],
    network: Any,
    labels: str | ArrayLike,
    *,
    score: str = "auroc",
    exchange: str | ArrayLike | None = None,
    test: Test = Test(),
    training: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Test each unit of a network against permuted labels and against networks never trained.

    Two questions, both of which a finding must answer. *Does the unit respond to the label?* is
    asked by permuting labels. A unit of a random network may do so too, since it sees the input; so
    *did training make this?* asks whether the unit's effect exceeds that of the same place in
    networks with fresh weights, and after correction that of all their units. A row's p is the
    larger of the two (an intersection-union test, which holds the level of each).

    Parameters
    ----------
    activity : callable
        ``activity(network)``: a Recording or array (n_samples, n_units), of the same samples in
        the same order for every network.
    network : nn.Module or callable
        The trained network.
    labels : str or array, shape (n_samples,)
        One test a unit: True and False, 1 and 0, or numbers with score "correlation".
    score : str
        As for `permutation_test`.
    exchange : str or array, shape (n_samples,), optional
        The exchangeability block of each sample.
    test : Test
        Of labels, as for `permutation_test`: for the trained and for each random network.
    training : Test
        Of training: null (`ReinitialisedNetwork`), draws (19 networks), tail, correction over
        units, seed. No p can be below 1 / (draws + 1).
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: score, effect, ``p_labels``, ``p_training`` and their q, and p and q
        as the larger of both. Provenance: ``random_share``, the mean share of units that a random
        network shows as responding (q <= 0.05); ``random_rate``, how many random networks show
        any; and ``dead_rate`` with ``dead_low`` and ``dead_high``: how many still do when labels
        are permuted once before the test, the salmon itself, with the exact 99% interval.

    Raises
    ------
    NisslError
        Several tests a unit, no correction, or networks whose units differ in number.

    Notes
    -----
    Source: "The Dead Salmons of AI Interpretability"; the intersection of both nulls is ours.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    >>> found = dead_salmon(lambda net: net(x).detach().numpy(), torch.nn.Linear(4, 3),
    ...                     x[:, 0].numpy() > 0, test=Test(n_permutations=99),
    ...                     training=Test(n_permutations=3), progress=False)
    >>> found.provenance["n_networks"], bool((found.table["p"] >= 0.25).all())
    (3, True)
    """
    test, training = test.own(), training.own()
    test.require(correction=CORRECTIONS)
    training.require(correction=CORRECTIONS)
    networks = training.null_or(ReinitialisedNetwork())
    n_networks = training.draws(19)

    def tested(values: Any, y: Any, exchange: Any = exchange) -> Finding:
        return permutation_test(
            values,
            y,
            score=score,
            exchange=exchange,
            test=test,
            method="dead_salmon",
            progress=False,
        )

    trained = tested(activity(network), labels)
    if "label" in trained.table:
        raise NisslError("several labels make several tests a unit", do="give one label: y == name")
    table = trained.table.rename(columns={"p": "p_labels", "q": "q_labels"})
    effects = np.zeros((n_networks, len(table)))
    shares, smallest = np.zeros(n_networks), np.ones(n_networks)
    with progress_bar(
        "Drawing networks", total=n_networks, unit="networks", progress=progress
    ) as advance:
        for i, drawn in enumerate(networks.draw(network, n_networks, seed=training.seed)):
            values = activity(drawn)
            found = tested(values, labels).table
            if len(found) != len(table):
                raise NisslError(
                    f"a random network has {len(found)} units and the trained {len(table)}",
                    do="record the same sites of both",
                )
            effects[i] = found["effect"]
            shares[i] = np.mean(found["q"] <= 0.05)
            permuted = _permuted(values, labels, exchange, test, i)
            smallest[i] = tested(values, *permuted).table["q"].min()
            advance(1)
    of_training = against_null(
        np.abs(np.asarray(table["effect"])),
        np.abs(effects),
        units=list(table["unit"]),
        score=score,
        method="dead_salmon",
        null=networks.name,
        alternative="greater",
        test=training,
    ).table
    return _both(trained, table, of_training, shares, smallest, networks.name)


def _permuted(
    values: Any, labels: Any, exchange: Any, test: Test, draw: int
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return labels permuted once as the null does, apart from the draws of the test."""
    from nissl.statistics.design import Design

    usual: LabelNull = PermutedLabels()
    null = test.null_or(usual, LabelNull)
    design = Design.of(values, labels, exchange, null)
    index = null.draw(
        design.labels,
        1,
        exchange=design.exchange,
        within=design.within,
        seed=test.seed + 1_000_003,
        start=draw,
    )
    return design.labels[index[0]], design.exchange


def _both(
    trained: Finding,
    table: Any,
    training: Any,
    shares: NDArray[Any],
    smallest: NDArray[Any],
    name: str,
) -> Finding:
    """Put both tests into one table; a row stands where both do."""
    table["p_training"], table["q_training"] = training["p"], training["q"]
    tested = np.asarray(table["note"] == "")
    for kind in ("p", "q"):
        larger = np.maximum(table[f"{kind}_labels"], table[f"{kind}_training"])
        table[kind] = np.where(tested, larger, 1.0)
    dead = rate(smallest, alpha=0.05)
    said = {
        **trained.provenance,
        "n_networks": len(shares),
        "random_share": float(shares.mean()),
        "random_rate": float((shares > 0).mean()),
        "dead_rate": dead.rate,
        "dead_low": dead.low,
        "dead_high": dead.high,
    }
    return Finding(table, "dead_salmon", f"{trained.null} and {name}", said, trained.score)
