"""Series: activity in the order of time, cut into runs, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.design import Design, column_of
from nissl.statistics.exchangeability import (
    NotExchangeable,
    require_exchangeable,
    require_stationary,
)
from nissl.statistics.nulls import LabelNull, PermutedLabels, codes
from nissl.statistics.phase_randomised import PhaseRandomised
from nissl.statistics.shift import CircularShift
from nissl.statistics.test import Test

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "bin_seconds",
    "centred",
    "gapless_windows",
    "labels_in_time",
    "lagged_counts",
    "moved_series",
    "null_of_series",
    "parts_of",
    "read_series",
    "require_movable",
    "require_varying",
    "run_starts",
    "some_units",
    "stretches",
    "units_of",
    "window_starts",
]

Array = NDArray[np.floating[Any]]
Index = NDArray[np.int64]
BATCH_BYTES = 64 * 2**20


def read_series(
    rec: Any, *, least_units: int = 2
) -> tuple[Array, pd.DataFrame, Index, float | None]:
    """Return series, units, the run of every sample (0, 1, ... in their order), and the rate."""
    given = np.asarray(getattr(rec, "values", rec))
    if given.dtype.kind not in "fiub":
        raise NisslError(f"series are {given.dtype}", do="give numbers that are real")
    x = given.astype(np.float64)
    if x.ndim != 2 or len(x) < 3 or x.shape[1] < least_units:
        raise NisslError(
            f"series have shape {x.shape}", do=f"give 3 samples and {least_units} units at least"
        )
    units, ends, rate = units_of(rec, x.shape[1]), np.zeros(len(x), bool), None
    if hasattr(rec, "coords"):
        for column in stretches(rec).values():
            if column.max() < len(x) - 1:
                ends[1:] |= column[1:] != column[:-1]
        time = rec.coords.get("time")
        if time is not None and time.dims == ("sample",) and time.dtype.kind in "fiu":
            apart = np.diff(time.values.astype(float))
            inside = apart[~ends[1:]]
            if not len(inside) or not (inside > 0).all():
                raise NisslError("times do not increase", where="time", do="sort samples by time")
            rate = float(1 / np.median(inside))
            ends[1:] |= apart * rate > 1.5
    bad = np.asarray(~np.isfinite(x).all(axis=0))
    if bad.any():
        raise NisslError(
            f"{bad.sum()} units hold NaN or infinity",
            where=some_units(units, bad),
            do="leave those units or samples out, or fill them",
        )
    return x, units, np.cumsum(ends), rate


def units_of(rec: Any, n_units: int) -> pd.DataFrame:
    """Return what a Recording tells of its units; of an array their numbers."""
    import pandas as pd

    from nissl.recording import check, units_table

    if hasattr(rec, "coords"):
        return units_table(check(rec)).reset_index(drop=True)
    return pd.DataFrame({"unit": [f"unit[{i}]" for i in range(n_units)]})


def stretches(rec: Any) -> dict[str, Index]:
    """Return the sample coordinates that tell trials, runs and intervals apart, as codes."""
    from nissl.recording.preprocess import ENDS

    there = [n for n in ENDS if n in rec.coords and rec[n].dims == ("sample",)]
    return {name: codes(rec[name].values) for name in there}


def bin_seconds(rec: Any) -> float:
    """Return the width of a bin of spikes in seconds, and refuse what is no count in time."""
    from nissl.recording import check
    from nissl.recording.labels import coordinate

    quantity = check(rec).attrs.get("quantity")
    if quantity != "spikes":
        raise NisslError(
            f"these are {quantity}, not counts of spikes",
            do="give what bin_spikes or a reader returns, or assign_attrs(quantity='spikes')",
        )
    width = rec.attrs.get("bin")
    if "time" in rec.coords:
        steps = np.diff(np.asarray(coordinate(rec, "time"), float))
        same = np.ones(len(steps), bool)  # another trial may begin before the last one ended
        for column in stretches(rec).values():
            same &= column[1:] == column[:-1]
        bad = np.flatnonzero(~(steps > 0) & (same | ~np.isfinite(steps))) + 1
        if len(bad):
            where = f"sample {bad[0]}"
            raise NisslError("the times do not increase", where=where, do="put samples in order")
        width = width or (float(np.median(steps)) if len(steps) else None)
    if not isinstance(width, (int, float)) or not width > 0:
        raise NisslError(
            "nothing says how long a bin is", do="rec.assign_attrs(bin=seconds), or give 'time'"
        )
    return float(width)


def run_starts(stretch: Index) -> Index:
    """Return the first sample of every run."""
    return np.flatnonzero(np.diff(stretch, prepend=-1) != 0)


def window_starts(stretch: Index, size: int, step: int) -> Index:
    """Return the first sample of windows that lie inside runs, from step to step."""
    ends = np.append(run_starts(stretch), len(stretch))
    windows = [np.arange(a, b - size + 1, step) for a, b in pairwise(ends)]
    return np.concatenate(windows)


def parts_of(
    rec: Any,
    stretch: Index,
    rate: float | None,
    *,
    by: str | None = None,
    window: float | None = None,
    step: float | None = None,
) -> tuple[list[Index], pd.DataFrame]:
    """Divide samples by a coordinate, or into windows inside runs.

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        The series.
    stretch : array of int, shape (n_samples,)
        The run of each sample.
    rate : float or None
        Samples a second, where they have times.
    by : str, optional
        Sample coordinate: a part for each value; of windows a column.
    window, step : float, optional
        Length, and from one to the next (by default half of it), in seconds, or samples.

    Returns
    -------
    parts : list of array of int
        Samples; all of them where nothing is given.
    about : DataFrame, n_parts rows
        The value of each; ``start``, ``stop``, ``time`` in the middle, ``run`` of windows.
    """
    import pandas as pd

    every = np.arange(len(stretch))
    label = None if by is None else column_of("by", by, len(stretch), rec)
    if window is None:
        if label is None:
            return [every], pd.DataFrame(index=[0])
        names = pd.unique(label)
        return [np.flatnonzero(label == name) for name in names], pd.DataFrame({by: names})
    scale = rate or 1.0
    size, hop = round(window * scale), round((window / 2 if step is None else step) * scale)
    if size < 3 or hop < 1:
        raise NisslError(f"windows of {size} samples every {hop}", do="give longer ones")
    first = window_starts(stretch, size, hop)
    if not len(first):
        raise TooFewSamples(f"no run holds a window of {size} samples", do="give a shorter one")
    time = every if rate is None else np.asarray(rec["time"].values, float)
    start, stop = time[first], time[first + size - 1]
    told = {"start": start, "stop": stop, "time": (start + stop) / 2, "run": stretch[first]}
    about = pd.DataFrame({} if label is None else {by: label[first]}).assign(**told)
    return [every[a : a + size] for a in first], about


def gapless_windows(rec: Any, window: float | None, seconds: float) -> tuple[int, Index, Array]:
    """Return how many bins a window has, and the first and the middle of windows without a gap.

    A window is a multiple of a bin, in seconds; None is one bin. Windows start a bin apart; middles
    are in seconds, or in samples where there is no ``time``.
    """
    k = 1 if window is None else max(1, round(window / seconds))
    if window is not None and abs(k * seconds - window) > 1e-6 * seconds:
        raise NisslError(
            f"a window of {window:g} s is no multiple of a bin of {seconds:g} s",
            do=f"give {k * seconds:g}",
        )
    starts = np.arange(rec.sizes["sample"] - k + 1)
    middle = starts + (k - 1) / 2
    if "time" in rec.coords:
        times = np.asarray(rec["time"].values, float)
        span = times[starts + k - 1] - times[starts]
        starts = starts[np.abs(span - (k - 1) * seconds) < seconds / 2]
        middle = (times[starts] + times[starts + k - 1]) / 2
    if not len(starts):
        raise NisslError(f"no {k} bins follow each other without a gap", do="give a shorter window")
    return k, starts, middle


def lagged_counts(at: Index, unit: Index, stretch: Index, n_units: int, n_delays: int) -> Any:
    """Return counts of every unit 0, 1, ... samples later, inside runs, as a sparse matrix.

    Spikes are given by sample and unit; shape (n_samples, n_units * n_delays), delays of a unit
    beside each other.

    Examples
    --------
    >>> at, unit, run = np.array([1, 2]), np.array([0, 0]), np.array([0, 0, 1])
    >>> lagged_counts(at, unit, run, 1, 2).toarray().tolist()
    [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    """
    from scipy import sparse

    delays = np.arange(n_delays)
    row = at[:, None] - delays
    kept = row >= run_starts(stretch)[stretch[at]][:, None]
    column = (unit[:, None] * n_delays + delays)[kept]
    shape = len(stretch), n_units * n_delays
    return sparse.csr_matrix((np.ones(len(column)), (row[kept], column)), shape=shape)


def centred(x: Array, stretch: Index) -> Array:
    """Return series less the mean of each run."""
    starts = run_starts(stretch)
    lengths = np.diff(starts, append=len(x))
    means = np.add.reduceat(x, starts, axis=0) / lengths[:, None]
    return np.asarray(x - np.repeat(means, lengths, axis=0))


def labels_in_time(
    rec: Any, labels: Index, test: Test | None
) -> tuple[int, Callable[[], Iterator[Index]], dict[str, Any]]:
    """Draw labels of a Recording's samples under the null that fits how they change in time.

    Labels that are constant in each trial, run or interval are permuted over those; others are
    shifted, inside them where there are several.

    Returns
    -------
    n : int
        How many draws there are: 1,000 unless the test says otherwise; none without a test.
    drawn : callable
        Yields them, the same at every call.
    about : dict
        Name and least p of the null, for `against_null`.
    """
    if test is None:
        return 0, lambda: iter(()), {}
    usual: LabelNull = CircularShift()
    columns = stretches(rec)
    finest = max(columns, key=lambda name: columns[name].max(initial=0), default="")
    if finest and columns[finest].max():
        first = np.unique(columns[finest], return_index=True)[1]
        held = np.array_equal(labels[first][columns[finest]], labels)
        usual = PermutedLabels(exchange=finest) if held else CircularShift(within=finest)
    null = test.null_or(usual, LabelNull)
    data = Design.of(rec, labels, None, null)
    data.require_exchangeable(null)
    where: Any = {"exchange": data.exchange, "within": data.within}
    count = float(np.exp(min(null.log_arrangements(labels, **where), 50.0)))
    if 1 / count > test.smallest_p:
        raise NotExchangeable(
            f"the null has {count:.0f} arrangements: no p can reach {test.smallest_p:g}",
            where=null.name,
            do="record more samples, trials or runs, or accept a larger smallest_p",
        )
    n, seed = min(test.draws(1000), max(2, round(count) - 1)), test.seed
    step = max(1, int(16e6 / len(labels)))

    def drawn() -> Iterator[Index]:
        for start in range(0, n, step):
            m = min(step, n - start)
            yield from labels[null.draw(labels, m, seed=seed, start=start, **where)]

    return n, drawn, {"null": data.null_name(null), "least_p": 1 / count}


def require_varying(x: Array, stretch: Index, units: pd.DataFrame, *, where: str = "") -> None:
    """Refuse units that are constant inside every run."""
    flat = (centred(x, stretch) ** 2).mean(axis=0) <= 1e-24 * (x**2).mean(axis=0)
    if flat.any():
        raise NisslError(
            f"{flat.sum()} units do not vary within runs",
            where=where + some_units(units, flat),
            do="leave them out, or give longer windows",
        )


def null_of_series(test: Test, rec: Any, stretch: Index) -> tuple[Any, Index, float]:
    """Return the null that moves series against each other, where inside, and its least p.

    By default `CircularShift` inside runs; else `PhaseRandomised`, or `PermutedLabels`.
    """
    null: Any = test.null_or(CircularShift(), (LabelNull, PhaseRandomised))
    if getattr(null, "within", None):
        column = codes(column_of("within", null.within, len(stretch), rec))
        stretch = codes(column * (stretch.max() + 1) + stretch)
    count = null.log_arrangements(np.arange(len(stretch)), exchange=None, within=stretch)
    return null, stretch, float(np.exp(-count))


def require_movable(x: Array, null: Any, within: Index, *, memory: float = 0.2) -> None:
    """Refuse a null that may not move these series, centred inside runs, against each other.

    Shifts and random phases may where series remember together over at most `memory` of a run.
    """
    if isinstance(null, PermutedLabels):
        labels = np.zeros(len(x))
        require_exchangeable(x, labels, coords={}, exchange=None, within=within)
        return
    slow = (x[1:] * x[:-1]).mean(axis=0) / (x**2).mean(axis=0)
    middle = int(np.argsort(slow)[len(slow) // 2])
    share = require_stationary(x, x[:, middle], exchange=within, where=null.name)
    if share > memory:
        raise NotExchangeable(
            f"runs are short for how slow series are: they remember over {share:.3f} of a run",
            where=null.name,
            do=f"record longer (at most {memory} holds the level), or give test=None",
        )


def moved_series(
    x: Array, null: Any, within: Index, n: int, *, seed: int, start: int = 0
) -> Iterator[Array]:
    """Yield n draws of the series, each unit moved in time by itself.

    The null is `CircularShift`, `PermutedLabels` or `PhaseRandomised`.
    """
    labels = np.arange(len(x))
    batch = max(1, BATCH_BYTES // (8 * x.size))
    for a in range(start, start + n, batch):
        m = min(batch, start + n - a)
        moved = np.empty((m, *x.shape[::-1]))  # a unit lies along memory
        for u, column in enumerate(x.T):
            how: Any = {"within": within, "seed": seed * x.shape[1] + u, "start": a}
            if isinstance(null, PhaseRandomised):
                moved[:, u] = null.draw_series(column, m, **how)
            else:
                moved[:, u] = column[null.draw(labels, m, exchange=None, **how)]
        yield from moved.swapaxes(1, 2)


def some_units(units: pd.DataFrame, which: NDArray[np.bool_]) -> str:
    """Name the first five of some units."""
    names = units["unit"].to_numpy()[which]
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
