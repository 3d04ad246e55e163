"""A Recording made of what was computed at each site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.network.record.site_samples import units_of
from nissl.recording import Recording, as_recording

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.sites.base import BaseNetwork

__all__ = ["recording_of", "unit_table"]

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
        Units carry ``site``, ``layer`` (-1 for none) and ``index``, as in `record`.

    Examples
    --------
    >>> import torch
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(3, 2)))
    >>> rec = recording_of(net, {"0": np.zeros((4, 2))}, samples=None, quantity="attribution")
    >>> rec["unit"].values.tolist(), rec["layer"].values.tolist()
    (['0[0]', '0[1]'], [-1, -1])
    """
    units = units_of((net.find(name)[0], x.shape[1]) for name, x in values.items())
    whole = np.concatenate(list(values.values()), axis=1)
    return as_recording(whole, samples=samples, units=units, quantity=quantity, attrs=attrs)


def unit_table(net: BaseNetwork, widths: Mapping[str, int]) -> pd.DataFrame:
    """Return the units of sites, of which each has so many: their addresses, then coordinates."""
    import pandas as pd

    table = pd.DataFrame(units_of((net.find(name)[0], n) for name, n in widths.items()))
    table.insert(0, "unit", [f"{site}[{i}]" for site, n in widths.items() for i in range(n)])
    return table
