"""Preferred angles in degrees, and what every figure is counted in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nissl.atlas.page.statistic import Statistic

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["in_degrees", "unit_of"]


def in_degrees(folder: Path, units: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the units with preferred angles in degrees.

    Parameters
    ----------
    folder : Path
        The atlas.
    units : DataFrame, n_units rows
        Its table ``units.parquet``.

    Returns
    -------
    units : DataFrame
        The same with other numbers in columns of preferred angles.
    names : list of str
        The columns that were radians.
    """
    import pandas as pd

    path = folder / "tuning.parquet"
    if not path.exists():
        return units, []
    kinds = pd.read_parquet(path, columns=["coordinate", "kind"]).astype(str).drop_duplicates()
    names = []
    for name in kinds.loc[kinds["kind"] == "circular", "coordinate"]:
        first = pd.read_parquet(path, columns=["levels"], filters=[("coordinate", "==", name)])
        levels = first["levels"].iloc[0]
        # Bins of a circle start at zero, so that the first centre tells its circumference.
        if np.isclose(2 * len(levels) * float(levels[0]), 2 * np.pi):
            names.append(f"{name}_preferred")
    names = [name for name in names if name in units]
    return units.assign(**{name: np.degrees(units[name]) for name in names}), names


def unit_of(statistic: Statistic, degrees: Sequence[str], measure: str) -> str:
    """Return the unit of measurement of a statistic.

    Parameters
    ----------
    statistic : Statistic
        The statistic.
    degrees : sequence of str
        Those in degrees.
    measure : str
        What activity is counted in.

    Returns
    -------
    str
        The unit; empty where it has none.
    """
    if statistic.name in degrees:
        return "°"
    return measure if statistic.name in ("mean", "sd", "max", "min") else statistic.unit
