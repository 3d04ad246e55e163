"""A Recording made of what was computed at each site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.recording import Recording, as_recording

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.sites.base import BaseNetwork

__all__ = ["recording_of", "unit_table", "units_of"]

Array = np.ndarray[Any, Any]


def recording_of(
    net: BaseNetwork,
    values: Mapping[str, Array],
    *,
    samples: Any,
    quantity: str,
    attrs: Mapping[str, str | int | float | bool] | None = None,
) -> Recording:
    """Put what was computed at several sites side by side.

    Parameters
    ----------
    net : Network
        The network.
    values : mapping of str to array, each shape (n_samples, n_units)
        By full name of the site.
    samples, quantity, attrs
        As for `as_recording`.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Units carry ``site``, ``layer`` (-1 for none) and ``index``.

    Examples
    --------
    >>> import torch
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(3, 2)))
    >>> rec = recording_of(net, {"0": np.zeros((4, 2))}, samples=None, quantity="attribution")
    >>> rec["unit"].values.tolist(), rec["layer"].values.tolist()
    (['0[0]', '0[1]'], [-1, -1])
    """
    units = units_of(net, {name: x.shape[1] for name, x in values.items()})
    whole = np.concatenate(list(values.values()), axis=1)
    return as_recording(whole, samples=samples, units=units, quantity=quantity, attrs=attrs)


def units_of(net: BaseNetwork, widths: Mapping[str, int]) -> dict[str, Array]:
    """Return site, layer and index of the units of several sites, by how many each has."""
    layers = [net.find(name)[0].layer for name in widths]
    sizes = list(widths.values())
    return {
        "site": np.repeat(list(widths), sizes),
        "layer": np.repeat([-1 if layer is None else layer for layer in layers], sizes),
        "index": np.concatenate([np.arange(size) for size in sizes]),
    }


def unit_table(net: BaseNetwork, widths: Mapping[str, int]) -> pd.DataFrame:
    """Return the same as a table, with the units' addresses first."""
    import pandas as pd

    table = pd.DataFrame(units_of(net, widths))
    unit = [f"{site}[{i}]" for site, n in widths.items() for i in range(n)]
    table.insert(0, "unit", unit)
    return table
