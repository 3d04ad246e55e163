"""A paired test: what a change does to a number of each unit, sample by sample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.recording import as_recording
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import PermutedLabels
from nissl.statistics.permutation import permutation_test
from nissl.statistics.test import Test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["paired_test"]


def paired_test(
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    *,
    units: pd.DataFrame,
    exchange: ArrayLike | None = None,
    score: str = "fall",
    method: str = "paired_test",
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Test by how much each unit's number falls, against the two runs swapped at random.

    Parameters
    ----------
    before, after : array, shape (n_samples, n_units)
        The numbers without and with the change.
    units : DataFrame, n_units rows
        ``unit`` and what else is known of each.
    exchange : array, shape (n_samples,), optional
        The exchangeability block of each sample: the mean of a block is one sample.
    score : str
        What the fall is called.
    method : str
        The finding's method.
    test : Test
        Draws (999), tail, correction over units, alternative ("greater": it falls), seed. The null
        is that the two numbers of each sample are swapped, or not.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: the mean fall, effect, null mean, p, q. A unit that the
        change does not reach has p = 1 and a note.

    Raises
    ------
    NotExchangeable
        There are fewer than five samples.

    Examples
    --------
    >>> import pandas as pd
    >>> before = np.random.default_rng(0).standard_normal((12, 2))
    >>> after = before - [1.0, 0.0]
    >>> paired_test(before, after, units=pd.DataFrame({"unit": ["a", "b"]}),
    ...             progress=False).significant().units
    ['a']
    """
    test.require(null=(None,))
    sample = np.arange(len(before)) if exchange is None else np.asarray(exchange)
    names, code = np.unique(sample.astype(str), return_inverse=True)
    share = (code == np.arange(len(names))[:, None]) / np.bincount(code)[:, None]
    n = len(names)
    # Half of the fall up and down, without the level: what does not change is zero, not rounding.
    half = share @ (before - after) / 2
    both = np.concatenate([half, -half])
    columns = {str(c): np.asarray(units[c]) for c in units if c != "unit"}
    rec = as_recording(
        both,
        samples={"pair": np.tile(np.arange(n), 2), "before": np.repeat([True, False], n)},
        units={"unit": np.asarray(units["unit"]).astype(str), **columns},
    )
    found = permutation_test(
        rec,
        "before",
        score="mean_difference",
        test=replace(
            test,
            null=PermutedLabels(exchange="pair", how="within"),
            n_permutations=test.draws(999),
            alternative=test.alternative or "greater",
        ),
        method=method,
        progress=progress,
    )
    return found.renamed(score).assign({"n_samples": len(before), "n_blocks": n})
