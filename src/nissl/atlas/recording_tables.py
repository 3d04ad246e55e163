"""Tables of a recording's atlas: what each unit is like, and where it is at its extremes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.centred import CentredRecording
from nissl.atlas.nesting import innermost_groups
from nissl.recording import Recording, chunks, samples_table, units_table
from nissl.recording.labels import word_codes
from nissl.statistics import Extremes, Moments

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Q",
    "example_table",
    "histograms",
    "summary",
    "tuned_columns",
    "tuned_counts",
    "unit_table",
]

Array = NDArray[np.floating[Any]]
Q = 0.05  # the corrected p at which a unit counts as tuned
ACTIVE_SD = 2.0
SPIKES = "a unit is active in a sample with at least one spike"
ENOUGH = 20  # finite samples by which a unit that never changes is called dead
N_BINS = 40
CONTEXT = 12  # samples on either side of an extreme
NUMBERED = ("document", "position", "token")  # columns of examples that are whole numbers
DRAWN = 8  # ranks whose context is kept as activity


def summary(rec: Recording, *, k: int) -> tuple[dict[str, Array], Extremes, str]:
    """Gather moments and extremes, chunk by chunk.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy.
    k : int
        Extremes to keep at each end.

    Returns
    -------
    moments : dict of arrays, each of shape (n_units,)
        As `nissl.statistics.Moments.result`; density by the rule.
    extremes : Extremes
        The k highest and lowest values.
    rule : str
        When a unit counts as active.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> moments, _, rule = summary(as_recording(np.eye(4), quantity="spikes"), k=1)
    >>> moments["density"].tolist(), rule
    ([0.25, 0.25, 0.25, 0.25], 'a unit is active in a sample with at least one spike')
    """
    n_units = rec.sizes["unit"]
    spikes = rec.attrs.get("quantity") == "spikes"
    moments, extremes = Moments(n_units), Extremes(n_units, k)
    for chunk in chunks(rec):
        moments.update(chunk.values, chunk.start)
        extremes.update(chunk.values, chunk.start)
    found = moments.result()
    if spikes:
        return found, extremes, SPIKES
    centred = CentredRecording(rec)
    inside = Moments(n_units)
    for values in centred.chunks():
        inside.update(values)
    active = Moments(n_units, active_above=ACTIVE_SD * np.nan_to_num(inside.result()["sd"]))
    for values in centred.chunks():
        active.update(values)
    found["density"] = active.result()["density"]
    rule = f"a unit is active {ACTIVE_SD:g} standard deviations above its mean"
    within = f", both inside each {centred.inside}" if centred.inside else ""
    return found, extremes, rule + within


def histograms(rec: Recording, moments: dict[str, Array]) -> tuple[NDArray[np.int64], Array]:
    """Count every unit's values in bins of its own, from its lowest to its highest value.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy.
    moments : dict of arrays
        What `summary` returned.

    Returns
    -------
    counts : array of int, shape (n_units, 40)
        Finite values in each bin.
    edges : array, shape (n_units, 41)
        Of equal bins; of spike counts, bins hold whole numbers of spikes.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.array([[0], [1], [1]], np.float32), quantity="spikes")
    >>> counts, edges = histograms(rec, summary(rec, k=1)[0])
    >>> counts[0, :2].tolist(), edges[0, :3].tolist()
    ([1, 2], [-0.5, 0.5, 1.5])
    """
    low, high = np.nan_to_num(moments["min"]), np.nan_to_num(moments["max"])
    if rec.attrs.get("quantity") == "spikes":
        width = np.ceil((high - low + 1) / N_BINS)
        low = low - 0.5
    else:
        width = np.where(high > low, (high - low) / N_BINS, 1.0)
    edges = low[:, None] + width[:, None] * np.arange(N_BINS + 1)
    counts = np.zeros((rec.sizes["unit"], N_BINS), np.int64)
    for chunk in chunks(rec):
        with np.errstate(invalid="ignore"):
            place = np.clip((chunk.values - low) / width, 0, N_BINS - 1)
        finite = np.isfinite(chunk.values)
        unit = np.broadcast_to(np.arange(rec.sizes["unit"]), place.shape)[finite]
        np.add.at(counts, (unit, place[finite].astype(np.int64)), 1)
    return counts, edges


def unit_table(
    rec: Recording,
    moments: dict[str, Array],
    tuned: pd.DataFrame,
    neighbours: NDArray[np.int64],
    r: Array,
) -> pd.DataFrame:
    """Describe every unit in one row.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.
    moments : dict of arrays
        What `summary` returned.
    tuned : DataFrame
        The table of `tuning`.
    neighbours : array of int, shape (n_units, k)
        What `neighbours_of` returned.
    r : array, shape (n_units, k)
        The correlations.

    Returns
    -------
    DataFrame, n_units rows
        The columns of `tables.UNITS`, the unit coordinates of the recording, ``tuned_to``,
        ``tuning_effect`` and ``tuning_q`` of the coordinate with the smallest q, and for every
        coordinate ``NAME_eta2``, ``NAME_effect``, ``NAME_q`` and ``NAME_preferred``.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> from nissl.atlas.tuning import tuning
    >>> rec = as_recording(np.eye(4), samples={"time": range(4)})
    >>> none = np.full((4, 1), -1), np.full((4, 1), np.nan)
    >>> table = tuning(rec, progress=False).finding.table
    >>> unit_table(rec, summary(rec, k=1)[0], table, *none)["kind"].tolist()
    ['untested', 'untested', 'untested', 'untested']
    """
    from nissl.atlas.tables import UNITS, conform

    table = units_table(rec)
    n = len(table)
    names = table["unit"].to_numpy()
    if "site" not in table:
        few = "region" in table and table["region"].nunique() <= n / 2
        table["site"] = table["region"] if few else str(rec.attrs.get("specimen", "recording"))
    table["layer"] = table.get("layer", -1)
    if "index" not in table or table["index"].dtype.kind not in "iu":
        table["index"] = np.arange(n)
    for statistic, values in moments.items():
        table[statistic] = values
    table["dead"] = (moments["min"] == moments["max"]) & (moments["count"] >= ENOUGH)
    table["neighbours"] = [names[row[row >= 0]].tolist() for row in neighbours]
    table["neighbour_r"] = [v[row >= 0].tolist() for row, v in zip(neighbours, r, strict=True)]
    for column, values in tuned_columns(names, tuned).items():
        table[column] = values
    table.loc[table["dead"], "kind"] = "dead"
    return conform(table.drop(columns=["variance"]), UNITS)


def tuned_columns(names: NDArray[Any], tuned: pd.DataFrame) -> dict[str, Any]:
    """Say in one row a unit what it is tuned to.

    Parameters
    ----------
    names : array of str, shape (n_units,)
        The units.
    tuned : DataFrame
        The table of `tuning`.

    Returns
    -------
    dict of arrays, each of shape (n_units,)
        ``tuned_to``, ``tuning_effect``, ``tuning_q``, for every coordinate ``NAME_eta2``,
        ``NAME_effect``, ``NAME_q`` and ``NAME_preferred``; and ``kind``, which is ``tuned``,
        ``unexplained`` or ``untested``.
    """
    best = tuned.sort_values(["q", "effect"], ascending=[True, False]).drop_duplicates("unit")
    best = best.set_index("unit").reindex(names)
    found: dict[str, Any] = {
        "tuned_to": np.where(best["q"] <= Q, best["coordinate"].fillna(""), ""),
        "tuning_effect": best["effect"].to_numpy(float),
        "tuning_q": best["q"].to_numpy(float),
    }
    for name, part in tuned.groupby(tuned["coordinate"].astype(str), sort=False):
        part = part.set_index("unit").reindex(names)
        for column in ("eta2", "effect", "q"):
            found[f"{name}_{column}"] = part[column].to_numpy()
        categorical = part["kind"].iloc[0] == "categorical"
        column = "preferred_name" if categorical else "preferred"
        found[f"{name}_preferred"] = part[column].to_numpy()
    asked = tuned.loc[tuned["note"] == "", "unit"].tolist() if len(tuned) else []
    kind = np.where(np.isin(names, asked), "unexplained", "untested")
    found["kind"] = np.where(found["tuned_to"] != "", "tuned", kind)
    return found


def tuned_counts(tuned: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Count the units that are tuned to each coordinate, and say what was permuted.

    Parameters
    ----------
    tuned : DataFrame
        The table of `tuning`.

    Returns
    -------
    dict
        ``tuned`` and ``nulls``, by coordinate.
    """
    by_coordinate = tuned.groupby(tuned["coordinate"].astype(str), sort=False)
    return {
        "tuned": {c: int((part["q"] <= Q).sum()) for c, part in by_coordinate},
        "nulls": {c: str(part["null"].iloc[0]) for c, part in by_coordinate},
    }


def example_table(rec: Recording, extremes: Extremes) -> pd.DataFrame:
    """List the samples at which each unit is at its extremes, with what the samples are.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy; of a few units at a time all samples are read.
    extremes : Extremes
        What `summary` returned.

    Returns
    -------
    DataFrame
        The columns of `tables.EXAMPLES`, and one for each sample coordinate. The context is the
        samples around an extreme, inside its own trial, run or epoch.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.array([[0.0], [3.0], [1.0]]), samples={"trial": [7, 8, 9]})
    >>> example_table(rec, summary(rec, k=1)[1])[["sign", "value", "trial"]].values.tolist()
    [[1.0, 3.0, 8.0], [-1.0, 0.0, 7.0]]
    """
    import pandas as pd

    from nissl.atlas.tables import EXAMPLES, conform

    found = extremes.result()
    n_units, k = found["top"].shape
    value = np.stack([found["top"], found["bottom"]], axis=1)
    place = np.stack([found["top_places"], found["bottom_places"]], axis=1)
    row, side, rank = (a.ravel() for a in np.indices((n_units, 2, k)))
    kept = place.ravel() >= 0
    sample, row, side, rank = place.ravel()[kept], row[kept], side[kept], rank[kept]
    start, stop = _contexts(rec, sample)
    table = pd.DataFrame(
        {
            "unit": rec["unit"].values.astype(str)[row],
            "row": row,
            "sign": 1 - 2 * side,
            "rank": rank + 1,
            "value": value.ravel()[kept],
            "sample": sample,
            **dict.fromkeys(NUMBERED, -1),
            "start": start,
            "stop": stop,
            "activity": _activity(rec, row, rank, start, stop),
        }
    )
    for name, column in samples_table(rec).items():
        cells = column.to_numpy()
        table[name] = (word_codes(cells) if name in NUMBERED else cells)[sample]
    return conform(table, EXAMPLES)


def _contexts(
    rec: Recording, sample: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first sample of each context and the one after its last."""
    block = innermost_groups(rec)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [len(block)]])
    at = np.searchsorted(edges, sample, side="right")
    return np.maximum(edges[at - 1], sample - CONTEXT), np.minimum(edges[at], sample + CONTEXT + 1)


def _activity(
    rec: Recording,
    row: NDArray[np.int64],
    rank: NDArray[np.int64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
) -> list[list[float]]:
    activity: list[list[float]] = [[] for _ in row]
    step = max(1, int(64e6 / (8 * rec.sizes["sample"])))
    for first in range(0, rec.sizes["unit"], step):
        values = np.asarray(rec.variable[:, first : first + step].values)
        for i in np.flatnonzero((row >= first) & (row < first + step) & (rank < DRAWN)):
            activity[i] = values[start[i] : stop[i], row[i] - first].astype(float).tolist()
    return activity
