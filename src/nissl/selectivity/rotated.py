"""The rotated basis, a null of methods that hold units to be special: layers, and turns of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["layers", "rotation"]


def layers(rec: Recording) -> dict[str, NDArray[np.integer[Any]]]:
    """Return the columns of each layer of a recording, by the unit coordinate ``site``.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Without the coordinate all units are one layer, called "".

    Returns
    -------
    dict of str to array of int
        In order of first appearance.

    Examples
    --------
    >>> from nissl.recording import recording
    >>> layers(recording(np.zeros((2, 3)), units={"site": ["a", "b", "a"], "index": [0, 0, 1]}))
    {'a': array([0, 2]), 'b': array([1])}
    """
    if "site" not in rec.coords:
        return {"": np.arange(rec.sizes["unit"])}
    sites = rec["site"].values.astype(str)
    return {str(site): np.flatnonzero(sites == site) for site in dict.fromkeys(sites)}


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
