"""Activity over the whole of a recording: a row a trial, or a stretch of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.nesting import PRESENTED, nested_groups, nesting_coordinates
from nissl.recording import Recording, chunks
from nissl.recording.labels import coordinate, is_words

__all__ = ["Raster", "raster"]

Array = NDArray[Any]
N_ROWS, N_COLUMNS = 40, 160  # at most
FEWEST = 3  # blocks, below which rows are stretches of time
FULL = 254  # levels above the lowest
MOST = 64_000_000  # bytes of all units together
AT_ONCE = 128_000_000  # bytes of sums that are held


@dataclass(frozen=True)
class Raster:
    """Activity of units in bins of time, in rows of equal span.

    Parameters
    ----------
    rows : str
        The coordinate whose blocks are the rows, such as ``trial``; empty where rows are
        successive stretches of the recording.
    n, each : int
        How many blocks (or stretches) there are, and how many of them a row holds; the last row
        may hold fewer.
    starts : array of float, shape (n_rows,)
        Of the first block of each row its own number, or the how many-th it is where blocks have
        no number each; of stretches the time (or sample) at which they begin.
    edges : array of float, shape (n_columns + 1,)
        Of the bins, from the first sample of each row.
    measure : str
        ``s``, or ``samples`` where there is no time: of the edges, and where stretches begin.
    levels : array of uint8, shape (n_units, n_rows, n_columns)
        0 where there is no sample; else 1 for the lower end of the range to 255 for the upper.
    ranges : array of float32, shape (n_units, 2)
        Both ends; 0 and 254 where levels less one are counts of spikes; NaN without any sample.
    mean : array of float32, shape (n_units, n_columns)
        Of blocks: mean activity of all samples of a column, NaN where fewer than half of what
        the blocks could hold is there. Of stretches: shape (n_units, 0).
    """

    rows: str
    n: int
    each: int
    starts: Array
    edges: Array
    measure: str
    levels: NDArray[np.uint8]
    ranges: NDArray[np.float32]
    mean: NDArray[np.float32]


def raster(rec: Recording, *, most: int = MOST) -> Raster | str:
    """Put the samples of every unit into rows and columns; nothing is tested.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy. Rows are the smallest exchangeability blocks
        (`nissl.atlas.nesting.nesting_coordinates`; no pictures) of which there are three or more,
        aligned at their first sample. Samples without a block (NaN, -1, no word) are left out.
        Otherwise rows are successive stretches.
    most : int
        Bytes of the levels of all units, above which none are made.

    Returns
    -------
    Raster or str
        At most 40 rows in the order of time and 160 columns; or in words why there is none.

    Notes
    -----
    A column sums spikes, and takes the mean of other activity. Time is used where it rises in
    even steps, fewer than half of which lack a sample; otherwise samples are counted.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> trial, when = np.repeat(range(5), 20), np.tile(range(20), 5)
    >>> rec = as_recording((when == 7)[:, None], samples={"trial": trial}, quantity="spikes")
    >>> drawn = raster(rec)
    >>> drawn.rows, drawn.levels.shape, np.flatnonzero(drawn.levels[0, 3] > 1).tolist()
    ('trial', (1, 5, 20), [7])
    """
    n_samples, n_units = rec.shape
    if n_samples < 2:
        return "one sample makes no row"
    plan = _blocks(rec) or _stretches(rec)
    shape = len(plan.starts), len(plan.edges) - 1
    size = n_units * shape[0] * shape[1]
    if size > most:
        return (
            f"{shape[0]} rows of {shape[1]} columns for {n_units:,} units would take "
            f"{size / 1e6:.3g} MB, more than {most / 1e6:.3g}"
        )
    counts = rec.attrs.get("quantity") == "spikes"
    levels = np.zeros((n_units, *shape), np.uint8)
    ranges = np.full((n_units, 2), np.nan, np.float32)
    mean = np.zeros((n_units, shape[1] if plan.rows else 0), np.float32)
    for units, total, n in _sums(rec, plan.cell, shape):
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(n > 0, total if counts else total / n, np.nan)
            if plan.rows:
                many = n.sum(axis=1)
                mean[units] = np.where(many >= plan.enough, total.sum(axis=1) / many, np.nan)
        levels[units], ranges[units] = _levels(values, counts)
    return Raster(
        plan.rows, plan.n, plan.each, plan.starts, plan.edges, plan.measure, levels, ranges, mean
    )


@dataclass(frozen=True)
class _Plan:
    """As of Raster; the cell of each sample, or -1; how many a column needs to have a mean."""

    rows: str
    n: int
    each: int
    starts: Array
    edges: Array
    measure: str
    cell: NDArray[np.int64]
    enough: Array


def _blocks(rec: Recording) -> _Plan | None:
    """Align blocks at their first sample: the smallest of which there are enough."""
    nesting = [name for name in nesting_coordinates(rec) if name not in PRESENTED]
    keys = nested_groups(rec, nesting)
    for depth in reversed(range(len(nesting))):
        there = np.logical_and.reduce([_given(rec, name) for name in nesting[: depth + 1]])
        kept = np.flatnonzero(there)
        names, block = np.unique(keys[depth][kept], return_inverse=True)
        if len(names) < FEWEST:
            continue
        seconds = _seconds(rec)
        seconds = None if seconds is None else seconds[kept]
        position, step = _positions(block, seconds)
        longest = int(position.max()) + 1
        if longest < 2:
            continue
        rank, start = _order(block, seconds, step)
        each = -(-len(names) // N_ROWS)
        width = -(-longest // N_COLUMNS)
        n_columns = -(-longest // width)
        cell = np.full(rec.sizes["sample"], -1)
        cell[kept] = rank[block] // each * n_columns + position // width
        start -= _half_bin(rec) if start else 0.0
        edges = start + np.arange(n_columns + 1) * width * (step or 1.0)
        starts = _numbers(coordinate(rec, nesting[depth])[kept], block, rank)[::each]
        measure = "s" if step else "samples"
        held = np.minimum(width, longest - np.arange(n_columns) * width)
        enough = len(names) * held / 2
        return _Plan(nesting[depth], len(names), each, starts, edges, measure, cell, enough)
    return None


def _stretches(rec: Recording) -> _Plan:
    """Cut a recording into equal stretches, each about four times as long as there are rows."""
    seconds = _seconds(rec)
    position, step = _positions(np.zeros(rec.sizes["sample"], np.int64), seconds)
    n = int(position.max()) + 1
    length = -(-n // min(N_ROWS, int(np.ceil(np.sqrt(n / 4)))))
    width = -(-length // N_COLUMNS)
    n_columns = -(-length // width)
    length = n_columns * width  # columns are equal
    n_rows = -(-n // length)
    first = float(seconds[0]) - _half_bin(rec) if seconds is not None and step else 0.0
    starts = first + np.arange(n_rows) * length * (step or 1.0)
    edges = np.arange(n_columns + 1) * width * (step or 1.0)
    cell = position // length * n_columns + position % length // width
    measure = "s" if step else "samples"
    return _Plan("", n_rows, 1, starts, edges, measure, cell, np.zeros(n_columns))


def _positions(block: Array, seconds: Array | None) -> tuple[NDArray[np.int64], float]:
    """Return steps from the first sample of each block, and how long one is; 0 of samples."""
    order = np.argsort(block, kind="stable")
    first = np.r_[True, np.diff(block[order]) > 0]
    n_each = np.diff(np.r_[np.flatnonzero(first), len(block)])
    start = np.repeat(np.flatnonzero(first), n_each)
    position = np.empty(len(block), np.int64)
    position[order] = np.arange(len(block)) - start
    if seconds is None or first.all():
        return position, 0.0
    sorted_seconds = seconds[order]
    gaps = np.diff(sorted_seconds)[~first[1:]]
    if gaps.min() <= 0:
        return position, 0.0
    step = float(gaps[gaps < 1.5 * np.median(gaps)].mean())
    uneven = np.abs(gaps / step - np.maximum(np.rint(gaps / step), 1)) > 0.25
    if uneven.mean() > 0.1:  # columns would be empty between samples
        return position, 0.0
    steps = np.rint((sorted_seconds - sorted_seconds[start]) / step)
    if (steps[np.r_[first[1:], True]] + 1).sum() > 2 * len(block):  # mostly gaps
        return position, 0.0
    position[order] = steps.astype(np.int64)
    return position, step


def _order(block: Array, seconds: Array | None, step: float) -> tuple[NDArray[np.int64], float]:
    """Return the rank of each block in time, and where the first sample of all of them lies."""
    _, appears = np.unique(block, return_index=True)
    order, start = np.argsort(appears), 0.0
    if seconds is not None and step:
        first = seconds[appears]
        last = np.full(len(first), -np.inf)
        np.maximum.at(last, block, seconds)
        by_time = np.argsort(first, kind="stable")
        if np.ptp(first) < step / 100:  # time is told from an event in each of them
            start = float(first[0])
        elif (first[by_time][1:] >= last[by_time][:-1]).all():
            order = by_time
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank, start


def _numbers(column: Array, block: Array, rank: Array) -> Array:
    """Return the number of each block, in the order of time: its own if it is short, or from 1."""
    own = column[np.unique(block, return_index=True)[1]][np.argsort(rank)]
    if own.dtype.kind in "iuf" and len(np.unique(own)) == len(own):
        own = own.astype(float)
        if ((own % 1 == 0) & (np.abs(own) < 1e5)).all():
            return own
    return 1.0 + np.arange(len(own))


def _given(rec: Recording, name: str) -> NDArray[np.bool_]:
    """Whether each sample lies in a block: as `nissl.recording` marks what is missing."""
    column = coordinate(rec, name)
    if is_words(column):
        return np.asarray(column != "", bool)
    if column.dtype.kind in "mM":
        return ~np.isnat(column)
    return np.asarray(column != -1) if column.dtype.kind in "iu" else np.isfinite(column)


def _half_bin(rec: Recording) -> float:
    """Return how long before its time a sample begins: that of a bin of spikes is its centre."""
    return float(rec.attrs.get("bin") or 0) / 2 if rec.attrs.get("quantity") == "spikes" else 0.0


def _seconds(rec: Recording) -> Array | None:
    """Return the time of every sample; None where it is not known of all."""
    if "time" not in rec.coords or rec["time"].dims != ("sample",):
        return None
    time = np.asarray(rec["time"].values)
    if time.dtype.kind in "mM":
        time = (time - time.min()) / np.timedelta64(1, "s")
    if time.dtype.kind not in "fiu" or not np.isfinite(time).all():
        return None
    return time.astype(np.float64)


def _sums(
    rec: Recording, cell: NDArray[np.int64], shape: tuple[int, int]
) -> Iterator[tuple[slice, Array, Array]]:
    """Yield some units, the sum of their finite values in every cell, and how many there are."""
    n_cells = shape[0] * shape[1]
    batch = max(1, AT_ONCE // (16 * n_cells))
    for start in range(0, rec.sizes["unit"], batch):
        units = slice(start, min(start + batch, rec.sizes["unit"]))
        total = np.zeros((n_cells, units.stop - units.start))
        count = np.zeros_like(total)
        for chunk in chunks(rec[:, units]):
            here = cell[chunk.start : chunk.start + len(chunk.values)]
            at = np.flatnonzero(np.r_[True, np.diff(here) != 0])  # samples of a cell lie together
            finite = np.isfinite(chunk.values)
            values = np.where(finite, chunk.values, 0.0)
            into = here[at] >= 0
            for sums, part in ((total, values), (count, finite)):
                np.add.at(sums, here[at][into], np.add.reduceat(part, at, dtype=float)[into])
        yield units, total.T.reshape(-1, *shape), count.T.reshape(-1, *shape)


def _levels(values: Array, counts: bool) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return values as 1 to 255 between the ends of each unit, 0 for NaN, and these ends."""
    there = np.isfinite(values)
    low = np.where(there, values, np.inf).min(axis=(1, 2))
    high = np.where(there, values, -np.inf).max(axis=(1, 2))
    if counts:
        whole = (np.where(there, values, 0.0) % 1 == 0).all(axis=(1, 2))
        exact = whole & (low >= 0) & (high <= FULL)
        low, high = np.where(low >= 0, 0.0, low), np.where(exact, FULL, high)
    span = np.where(high > low, high - low, 1.0)[:, None, None]
    part = np.where(there, (values - low[:, None, None]) / span, 0.0)
    levels = np.where(there, 1 + np.rint(FULL * part), 0).astype(np.uint8)
    ends = np.stack([low, high], axis=1)
    ends[~there.any(axis=(1, 2))] = np.nan
    return levels, ends.astype(np.float32)
