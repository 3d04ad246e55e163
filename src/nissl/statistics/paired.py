"""A paired test: what a change does to a number of each unit, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.recording import as_recording
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import PermutedLabels
from nissl.statistics.permutation import permutation_test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["paired_test"]


def paired_test(
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    *,
    units: pd.DataFrame,
    block: ArrayLike | None = None,
    score: str = "fall",
    method: str = "paired_test",
    said: Mapping[str, str | int | float] | None = None,
    n_permutations: int = 999,
    alternative: str = "greater",
    tail: str = "permutation",
    correction: str | None = "max",
    seed: int = 0,
    progress: bool = True,
) -> Finding:
    """Test by how much each unit's number falls, against the two runs trading places.

    Parameters
    ----------
    before, after : array, shape (n_samples, n_units)
        The numbers without and with the change.
    units : DataFrame, n_units rows
        ``unit`` and what else is known of each.
    block : array, shape (n_samples,), optional
        Samples that share its value hang together: their mean is one sample.
    score : str
        What the fall is called.
    method : str
        The finding's method.
    said : mapping, optional
        For the provenance.
    n_permutations : int
        Draws of the null: each sample's two numbers trade places, or not.
    alternative : {"greater", "two-sided", "less"}
        What a fall is tested for.
    tail : {"permutation", "normal", "gpd"}
        How p goes below 1 / (n_permutations + 1).
    correction : {"max", "bh", "bonferroni"} or None
        Over units.
    seed : int
        The seed of the draws.
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
    sample = np.arange(len(before)) if block is None else np.asarray(block)
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
    null = PermutedLabels(block="pair", how="within")
    found = permutation_test(
        rec,
        "before",
        score="mean_difference",
        null=null,
        alternative=alternative,
        n_permutations=n_permutations,
        tail=tail,
        correction=correction,
        seed=seed,
        progress=progress,
    )
    table = found.table.rename(columns={"mean_difference": score})
    provenance = {**found.provenance, **(said or {}), "n_samples": len(before), "n_blocks": n}
    return Finding(table, method, null.name, provenance, score)
