"""Layers: the units of a recording by site."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.recording.recording import Recording

__all__ = ["layers"]


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
    >>> from nissl.recording import as_recording
    >>> layers(as_recording(np.zeros((2, 3)), units={"site": ["a", "b", "a"], "index": [0, 0, 1]}))
    {'a': array([0, 2]), 'b': array([1])}
    """
    if "site" not in rec.coords:
        return {"": np.arange(rec.sizes["unit"])}
    sites = rec["site"].values.astype(str)
    return {str(site): np.flatnonzero(sites == site) for site in dict.fromkeys(sites)}
