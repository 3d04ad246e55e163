"""Topographic map: a value at each sensor, drawn on the head as seen from above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.statistics.figure import colours_of, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["topography"]

Array = NDArray[np.floating[Any]]
TEN_FIVE = ("colin27_1005", "standard_1005")  # its name in MNE, since 1.13 and before
LEAST = 4  # sensors between which a map can be drawn, and a sphere laid through


def topography(
    values: ArrayLike,
    units: Any,
    *,
    montage: str | None = None,
    found: ArrayLike | None = None,
    label: str = "",
    limit: float | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw values of EEG or MEG sensors as a map of the head, nose up, by MNE.

    Parameters
    ----------
    values : array, shape (n_units,)
        A value for each sensor: its mean, effect, coefficient.
    units : Recording, DataFrame, or sequence of str
        The sensors: with ``x``, ``y`` (to the nose) and ``z`` (up) in any unit of length, as
        readers of EEG give them in mm; or the names of channels, looked up in a montage.
    montage : str, optional
        A standard montage of MNE, as "biosemi64": then places are those of the names. By default
        the international 10-5 system, where there are no ``x``, ``y``, ``z``.
    found : array of bool, shape (n_units,), optional
        Sensors that are marked.
    label : str
        What the values are, said at the colour bar.
    limit : float, optional
        Of the colours; by default the largest absolute value. Red is above zero and blue below.
    axes : matplotlib Axes, optional
        Where; by default a new figure.

    Returns
    -------
    matplotlib Axes
        The axes; a colour bar stands beside them.

    Raises
    ------
    NisslError
        A sensor has no place or no finite value, or there are fewer than four.

    Notes
    -----
    Sensors are turned out from the top of a sphere through them, so that those on its equator lie
    on the circle (azimuthal equidistant projection); MNE interpolates in between.

    Examples
    --------
    >>> axes = topography([0.1, 0.2, 0.9, 0.3, 0.1], ["Fz", "C3", "Cz", "C4", "Pz"], label="r")
    >>> axes.get_figure().axes[1].get_ylabel()
    'r'
    """
    try:
        from mne.viz import plot_topomap
    except ImportError as error:
        raise NisslError(
            f"a map of sensors needs MNE, which does not import: {error}",
            do="pip install 'nissl[brain]'",
        ) from error
    shown = np.asarray(values, dtype=np.float64)
    names, place = _places(units, montage)
    if shown.shape != (len(names),) or len(names) < LEAST:
        raise NisslError(
            f"values of shape {shown.shape} at {len(names)} sensors",
            where="values",
            do=f"give one for each sensor, and {LEAST} sensors or more",
        )
    lost = ~(np.isfinite(place).all(axis=1) & np.isfinite(shown))
    if lost.any():
        raise NisslError(
            f"{lost.sum()} sensors have no place, or no finite value",
            where=", ".join(names[lost][:10]),
            do="leave them out, as nissl.recording.select(rec, units=...) does",
        )
    flat, radius = _projected(place)
    axes = panels(1)[1][0] if axes is None else axes
    cmap, low, high = colours_of(shown, limit)
    marks: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markersize": 7}
    image, _ = plot_topomap(
        shown,
        flat,
        sphere=(0, 0, 0, radius),
        vlim=(low, high),
        cmap=cmap,
        mask=None if found is None else np.asarray(found, dtype=bool),
        mask_params=marks,
        axes=axes,
        show=False,
    )
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.7)
    return axes


def _places(units: Any, montage: str | None) -> tuple[NDArray[np.str_], Array]:
    """Return the names of sensors and where they are, (n_units, 3)."""
    from mne.channels import get_builtin_montages, make_standard_montage

    table: Any = _table(units)
    if montage is None and {"x", "y", "z"} <= set(table):
        return table["unit"].to_numpy(str), table[["x", "y", "z"]].to_numpy(float)
    montages = get_builtin_montages()
    montage = montage or next(name for name in TEN_FIVE if name in montages)
    require_known("montage", montage, montages)
    known = make_standard_montage(montage).get_positions()["ch_pos"]
    at = {name.casefold(): place for name, place in known.items()}
    names = table["channel" if "channel" in table else "unit"].to_numpy(str)
    nowhere = np.full(3, np.nan)
    return names, np.array([at.get(name.casefold(), nowhere) for name in names]).reshape(-1, 3)


def _table(units: Any) -> pd.DataFrame:
    """Return what is known of the sensors."""
    import pandas as pd

    from nissl.recording import Recording, units_table

    if isinstance(units, pd.DataFrame):
        return units
    return units_table(units) if isinstance(units, Recording) else pd.DataFrame({"unit": units})


def _projected(place: Array) -> tuple[Array, float]:
    """Return places in the plane, (n_sensors, 2), and the radius of the head."""
    design = np.column_stack([2 * place, np.ones(len(place))])
    (*centre, rest), _, rank, _ = np.linalg.lstsq(design, (place**2).sum(axis=1), rcond=1e-6)
    if rank < LEAST:
        raise NisslError("sensors lie in one plane, or in one place", where="x, y, z")
    radius = float(np.sqrt(rest + np.dot(centre, centre)))
    x, y, z = ((place - centre) / np.linalg.norm(place - centre, axis=1, keepdims=True)).T
    out = radius * np.arccos(np.clip(z, -1, 1)) / (np.pi / 2)
    away = np.hypot(x, y)
    return np.column_stack([x, y]) * (out / np.where(away > 0, away, 1))[:, None], radius
