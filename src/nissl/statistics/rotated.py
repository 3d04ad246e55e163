"""The rotated basis, a null of methods that hold units to be special."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["rotation"]


def rotation(width: int, seed: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw an orthogonal matrix, evenly over all of them.

    Parameters
    ----------
    width : int
        Units of the layer.
    seed : tuple of int
        The seed, and what it is drawn for.

    Returns
    -------
    array of float32, shape (width, width)
        ``values @ rotation`` is the layer in another basis.

    Examples
    --------
    >>> turn = rotation(3, (0,))
    >>> np.allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    True
    """
    rng = np.random.default_rng(seed)
    q, r = np.linalg.qr(rng.standard_normal((width, width), dtype=np.float32))
    turned: NDArray[np.float32] = q * np.sign(np.diagonal(r))
    return turned
