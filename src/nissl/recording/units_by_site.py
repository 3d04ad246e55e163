"""Where the units of each site, and the samples of each text, stand in a recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.recording.labels import coordinate, word_codes
from nissl.recording.recording import Recording, check

__all__ = ["samples_by", "units_by_site"]


def units_by_site(rec: Recording) -> dict[str, NDArray[np.integer[Any]]]:
    """Return the positions of each site's units, by the unit coordinate ``site``.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Without the coordinate all units are of one site, called "".

    Returns
    -------
    dict of str to array of int
        In order of first appearance.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((2, 3)), units={"site": list("aba"), "index": [0, 0, 1]})
    >>> units_by_site(rec)
    {'a': array([0, 2]), 'b': array([1])}
    """
    if "site" not in rec.coords:
        return {"": np.arange(rec.sizes["unit"])}
    sites = rec["site"].values.astype(str)
    return {str(site): np.flatnonzero(sites == site) for site in dict.fromkeys(sites)}


def samples_by(rec: Recording, name: str) -> list[NDArray[np.integer[Any]]]:
    """Return the positions of the samples of each value of a coordinate, such as a text."""
    codes = word_codes(coordinate(check(rec), name))
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]
