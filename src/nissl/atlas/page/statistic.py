"""Columns of an atlas as its page draws them: what they are called, their scale, their bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Statistic", "as_base64", "float24", "measure_of", "rates", "statistics_of"]


@dataclass(frozen=True)
class Statistic:
    """A column of numbers that the page colours and lists units by.

    Parameters
    ----------
    name : str
        The column.
    label : str
        What the page calls it.
    unit : str
        Its unit of measurement; ``share`` is shown as a percentage, empty where it has none.
    scale : str
        ``linear``, ``log``, ``diverging`` around zero, or ``significance``: logarithmic, and the
        smallest is the darkest.
    meaning : str
        What it says, in half a sentence.

    Examples
    --------
    >>> Statistic("sd", "deviation", "", "log", "standard deviation of activity").scale
    'log'
    """

    name: str
    label: str
    unit: str
    scale: str
    meaning: str


KNOWN = (
    Statistic(
        "tuning_effect",
        "tuning",
        "",
        "diverging",
        "share of variance explained by what it is most tuned to, less that of its null",
    ),
    Statistic("density", "density", "share", "log", "share of samples at which the unit is active"),
    Statistic("mean", "mean", "", "diverging", "mean activity"),
    Statistic("sd", "deviation", "", "log", "standard deviation of activity"),
    Statistic("skew", "skewness", "", "diverging", "skewness of activity, 0 where symmetric"),
    Statistic("kurtosis", "kurtosis", "", "log", "excess kurtosis; high where activity is rare"),
    Statistic("max", "highest", "", "diverging", "highest activity"),
    Statistic("min", "lowest", "", "diverging", "lowest activity"),
    Statistic(
        "token_effect",
        "token effect",
        "sd",
        "diverging",
        "effect of the token it prefers most, in sd",
    ),
    Statistic("token_q", "token q", "", "significance", "corrected p of the token it prefers most"),
    Statistic(
        "bigram_effect",
        "pair effect",
        "sd",
        "diverging",
        "effect of the pair it prefers most, in sd",
    ),
    Statistic("bigram_q", "pair q", "", "significance", "corrected p of the pair it prefers most"),
    Statistic(
        "language_effect",
        "document effect",
        "sd",
        "diverging",
        "effect of the kind of document it prefers",
    ),
    Statistic("language_q", "document q", "", "significance", "corrected p of these documents"),
    Statistic(
        "position_share",
        "position",
        "share",
        "linear",
        "share of variance explained by position in the window",
    ),
    Statistic(
        "token_share",
        "token share",
        "share",
        "linear",
        "share of its most extreme samples that are the token it prefers most",
    ),
    Statistic("first_position", "at first", "", "diverging", "mean at the first place of a window"),
    Statistic("rate", "rate", "Hz", "linear", "mean rate of spikes"),
    Statistic("output_norm", "output norm", "", "linear", "norm of the output weights"),
    Statistic(
        "cos_in_out", "cos in–out", "", "diverging", "cosine of its input and output weights"
    ),
    Statistic(
        "cos_gate_out", "cos gate–out", "", "diverging", "cosine of its gate and output weights"
    ),
    Statistic("cos_in_gate", "cos in–gate", "", "diverging", "cosine of input and gate weights"),
)
# Bookkeeping, and numbers that a colour says nothing about.
UNLISTED = (
    "count",
    "nonfinite",
    "first_nonfinite",
    "layer",
    "index",
    "active_above",
    "token_id",
    "bigram_share",
)


def measure_of(about: Mapping[str, Any]) -> str:
    """Return what activity is counted in, as far as the atlas says.

    Parameters
    ----------
    about : mapping
        What ``atlas.json`` holds.

    Returns
    -------
    str
        Of spikes, how long a sample is; else the unit the recording names, or nothing.

    Examples
    --------
    >>> measure_of({"quantity": "spikes", "bin": 0.1}), measure_of({"units": "µV"})
    ('spikes per 0.1 s', 'µV')
    """
    if about.get("quantity") != "spikes":
        return str(about.get("units", ""))
    return f"spikes per {about['bin']:g} s" if about.get("bin") else "spikes"


def rates(about: Mapping[str, Any]) -> tuple[float, str]:
    """Return by what counts of spikes become rates.

    Parameters
    ----------
    about : mapping
        What ``atlas.json`` holds.

    Returns
    -------
    scale : float
        1 of other activity.
    measure : str
        The unit of rates; empty of other activity.

    Examples
    --------
    >>> rates({"quantity": "spikes", "bin": 0.1}), rates({})
    ((10.0, 'Hz'), (1.0, ''))
    """
    if about.get("quantity") != "spikes":
        return 1.0, ""
    width = float(about.get("bin") or 0)
    return (1 / width, "Hz") if width > 0 else (1.0, "spikes per sample")


def statistics_of(units: pd.DataFrame) -> list[Statistic]:
    """Return the statistics that an atlas's units have, known ones first.

    Parameters
    ----------
    units : DataFrame, n_units rows
        The table ``units.parquet``.

    Returns
    -------
    list of Statistic
        Columns of floats of which at least one is finite; others than the known ones are called
        by their column.

    Examples
    --------
    >>> import pandas as pd
    >>> [s.label for s in statistics_of(pd.DataFrame({"sd": [1.0], "head_angle": [0.2]}))]
    ['deviation', 'head angle']
    """

    def is_drawn(name: str) -> bool:
        column = units[name]
        return column.dtype.kind == "f" and bool(np.isfinite(column.to_numpy()).any())

    known = {s.name for s in KNOWN}
    drawn = [s for s in KNOWN if s.name in units and is_drawn(s.name)]
    for name in map(str, units.columns):
        if name in known or name in UNLISTED or name.endswith("_p") or not is_drawn(name):
            continue
        label = name.replace("_eta2", " eta²").replace("_", " ")
        scale = "significance" if name.endswith("_q") else "linear"
        if float(np.nanmin(units[name])) < 0 < float(np.nanmax(units[name])):
            scale = "diverging"
        drawn.append(Statistic(name, label, "", scale, label))
    return drawn


def float24(values: Any) -> np.ndarray[Any, Any]:
    """Return the upper three bytes of float32 numbers, rounded to nearest.

    Parameters
    ----------
    values : array, shape (n,)
        Any numbers.

    Returns
    -------
    array of uint8, shape (3 n,)
        Little-endian: the whole range of float32 at a relative error of at most 1 in 65,536, so
        that four figures are right; NaN stays NaN.

    Examples
    --------
    >>> float24([1.0, -2.0]).tolist()
    [0, 128, 63, 0, 0, 192]
    """
    whole = np.ascontiguousarray(values, dtype=np.float32)
    bits = whole.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7F + ((bits >> 8) & 1)) >> 8
    # Rounding up a NaN with few bits could carry it into infinity.
    kept = np.where(np.isnan(whole), 0x7FC000, rounded).astype("<u4")
    return np.ascontiguousarray(kept).view(np.uint8).reshape(-1, 4)[:, :3].ravel()


def as_base64(values: np.ndarray[Any, Any]) -> str:
    """Return an array's bytes as text.

    Parameters
    ----------
    values : array
        Little-endian numbers.

    Returns
    -------
    str
        Base64.

    Examples
    --------
    >>> as_base64(np.array([1, 2], dtype="<u2"))
    'AQACAA=='
    """
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
