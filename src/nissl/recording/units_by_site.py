"""The sites of recordings; where units of each, and samples of each text, stand in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.recording.labels import coordinate, word_codes
from nissl.recording.recording import Recording, check

__all__ = ["by_site", "samples_by", "units_by_site"]


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


def by_site(given: Any, name: str = "first", *, repeats: bool = False) -> dict[str, Any]:
    """Return sites by name, each a Recording or an array.

    Parameters
    ----------
    given : Recording, array, shape (n_samples, n_units), or mapping of str to either
        Of a Recording of several sites, each is one by itself.
    name : str
        What an array without a name is called.
    repeats : bool
        Arrays may be (n_stimuli, n_repeats, n_units).

    Returns
    -------
    dict of str to Recording or array
        In order of appearance.

    Raises
    ------
    NisslError
        There is nothing, an array holds no numbers in that shape, or two sites have one name.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((2, 3)), units={"site": list("aba"), "index": [0, 0, 1]})
    >>> {site: x.shape for site, x in by_site({"one": rec, "two": np.ones((2, 5))}).items()}
    {'a': (2, 2), 'b': (2, 1), 'two': (2, 5)}
    """
    if isinstance(given, Mapping):
        found: dict[str, Any] = {}
        for own, one in given.items():
            sites = by_site(one, str(own), repeats=repeats)
            if len(sites) == 1:
                sites = {str(own): next(iter(sites.values()))}
            if twice := [site for site in sites if site in found]:
                raise NisslError(
                    f"two recordings have a site '{twice[0]}'", do="give each site by its own name"
                )
            found |= sites
        if not found:
            raise NisslError("there is nothing to compare", do="give a recording of each side")
        return found
    if isinstance(given, Recording):
        units = units_by_site(given)
        if len(units) < 2:
            return {next(iter(units), "") or name: given}
        return {site: given[:, where] for site, where in units.items()}
    x = np.asarray(given)
    if x.ndim not in (2, 2 + repeats) or x.dtype.kind not in "fiub":
        raise NisslError(
            f"activity of shape {x.shape} and type {x.dtype}", do="give (n_stimuli, n_units)"
        )
    return {name: x}


def samples_by(rec: Recording, name: str) -> list[NDArray[np.integer[Any]]]:
    """Return the positions of the samples of each value of a coordinate, such as a text."""
    codes = word_codes(coordinate(check(rec), name))
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]
