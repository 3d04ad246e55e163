"""The two orders in which the rotary dimensions of queries and keys are written."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["rotary_halves"]


def rotary_halves(weight: np.ndarray[Any, Any], n_heads: int) -> np.ndarray[Any, Any]:
    """Reorder the rows of a query or key matrix from rotary pairs to rotary halves.

    Rotary embedding turns dimensions two by two. Llama's own code and what follows it (GGUF,
    llama2.c) keep the two side by side; transformers keeps them half a head apart.

    Parameters
    ----------
    weight : array, shape (n_heads * d_head, d_model)
        Rows in pairs.
    n_heads : int
        Query heads, or key heads.

    Returns
    -------
    array, shape (n_heads * d_head, d_model)
        Rows in halves.

    Examples
    --------
    >>> rotary_halves(np.arange(4)[:, None], 1).ravel().tolist()
    [0, 2, 1, 3]

    Source: Su et al. 2021, RoFormer.
    """
    n_out, n_in = weight.shape
    pairs = weight.reshape(n_heads, n_out // n_heads // 2, 2, n_in)
    return pairs.swapaxes(1, 2).reshape(n_out, n_in)
