"""Orders of the samples of one of two sides, as a null draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.statistics.design import column_of
from nissl.statistics.exchangeability import NotExchangeable, autocorrelation
from nissl.statistics.nulls import LabelNull, PermutedLabels
from nissl.statistics.test import Test

__all__ = ["sample_orders"]

SLOW = 0.1  # the product of both sides' lag-1 autocorrelations that a permutation may have


def sample_orders(
    x: Any, y: Any, test: Test, *, n: int, exchange: str | ArrayLike | None = None
) -> tuple[NDArray[np.int32], str]:
    """Return orders of samples under which two sides are alike by chance only.

    Parameters
    ----------
    x, y : Recording or array, shape (n_samples, n_units)
        Both sides.
    test : Test
        Draws, null (`PermutedLabels` or another of labels), seed.
    n : int
        Draws, where the test does not say.
    exchange : str or array, shape (n_samples,), optional
        Blocks that are moved together; a name is a sample coordinate of `x`.

    Returns
    -------
    array of int32, shape (n, n_samples)
        Indices.
    str
        What the null is called.

    Raises
    ------
    NotExchangeable
        Samples hang together in time on both sides, and no blocks were declared.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((9, 2))
    >>> orders, null = sample_orders(x, x, Test(), n=5)
    >>> orders.shape, null
    ((5, 9), 'PermutedLabels()')
    """
    null = test.null_or(PermutedLabels(), LabelNull)
    rec = x if hasattr(x, "coords") else None
    given = {
        "exchange": getattr(null, "exchange", None) if exchange is None else exchange,
        "within": getattr(null, "within", None),
    }
    blocks: dict[str, Any] = {
        name: None if one is None else column_of(name, one, len(x), rec)
        for name, one in given.items()
    }
    if blocks["exchange"] is None and isinstance(null, PermutedLabels):
        slow = [autocorrelation(np.asarray(getattr(z, "values", z))) for z in (x, y)]
        if min(slow) > 0 and slow[0] * slow[1] > SLOW:
            raise NotExchangeable(
                f"stimuli that follow each other are alike on both sides (lag-1 autocorrelation "
                f"{slow[0]:.2f} and {slow[1]:.2f})",
                where="exchange",
                do="of a time series declare blocks (runs, films) with exchange=, or use "
                "Test(null=CircularShift()); where stimuli are only sorted by kind, "
                "exchange=np.arange(n_stimuli)",
            )
    orders = null.draw(np.arange(len(x)), test.draws(n), **blocks, seed=test.seed, start=0)
    return orders, null.name
