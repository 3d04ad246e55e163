"""A test of numbers that each pair of a behaviour has, against prompts that trade places."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour.behaviour import Behaviour
from nissl.behaviour.task import Task
from nissl.errors import TooFewSamples
from nissl.statistics import Finding, Test, paired_test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["pair_test", "pairs_of"]

LEAST = 8  # pairs: two in 2 ** 8 arrangements are as extreme as all of one sign


def pair_test(
    pairs: Behaviour,
    each: np.ndarray[Any, Any],
    *,
    units: pd.DataFrame,
    method: str,
    score: str = "indirect_effect",
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Test means over pairs against prompts of a pair that trade places.

    Parameters
    ----------
    pairs : Behaviour
        The pairs; those of one group in ``pairs.exchange`` trade places together.
    each : array, shape (n_pairs, n_rows)
        The number of every pair.
    units : DataFrame, n_rows rows
        ``unit``, each there once, and what else is known.
    method, score : str
        What the method and the mean are called.
    test : Test or None
        Draws (999), tail, correction over rows, alternative ("two-sided"), seed. None asks for no
        null.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        The mean over pairs, in the order of the rows.
    """
    said: dict[str, str | int | float] = {"network": pairs.net.name, "pairs": len(pairs)}
    if test is None:
        mean = each.mean(0, dtype=np.float64)
        table = units.assign(**{score: mean, "effect": mean})
        return Finding(table, method, "none", said, score)
    found = paired_test(
        each,
        np.zeros_like(each),
        units=units,
        exchange=pairs.exchange,
        score=score,
        method=method,
        test=replace(test, alternative=test.alternative or "two-sided"),
        progress=progress,
    )
    return found.assign(said)


def pairs_of(behaviour: Behaviour | Task, tested_by: Test | None = None) -> Behaviour:
    """Return the pairs of a task or behaviour, of which a test needs at least eight.

    Parameters
    ----------
    behaviour : Behaviour or Task
        The pairs.
    tested_by : Test, optional
        The test.

    Returns
    -------
    Behaviour
        That of a task.

    Raises
    ------
    TooFewSamples
        They are fewer.
    """
    pairs = behaviour.behaviour() if isinstance(behaviour, Task) else behaviour
    if tested_by is not None and len(pairs) < LEAST:
        raise TooFewSamples(
            f"{len(pairs)} pairs can be exchanged in {2 ** len(pairs)} ways",
            do=f"give at least {LEAST} pairs, or test=None",
        )
    return pairs
