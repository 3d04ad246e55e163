"""Aggregate: one sample for each value of a coordinate, such as a stimulus or a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.chunks import chunks
from nissl.recording.labels import coordinate, word_codes
from nissl.recording.recording import Recording, check

__all__ = ["aggregate"]

Array = np.ndarray[Any, Any]


def aggregate(
    rec: Recording,
    *,
    by: str | Sequence[str] = "stimulus",
    how: Literal["mean", "last", "max"] = "mean",
) -> Recording:
    """Make one sample of all samples that share a value of a coordinate.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy; it is read once, in chunks.
    by : str or sequence of str
        The sample coordinate whose values become the samples: ``stimulus``, ``trial``, ...; of
        several, every combination that occurs (``["run", "trial"]``).
    how : {"mean", "last", "max"}
        The mean over a value's samples (summed in float64), the last of them in the recording's
        order, or the largest of each unit. Not a number stays not a number.

    Returns
    -------
    Recording, shape (n_values, n_units)
        In memory, in the order in which the values first appear. Sample coordinates that do not
        change within any value are kept, the others dropped; unit coordinates and attributes are
        kept, and ``aggregated`` says what was done. The mean of integers is float64; otherwise
        the type is kept.

    Raises
    ------
    UnknownName
        There is no such sample coordinate, or no such way.
    NisslError
        Some samples have no value of `by`: not a number, no time, or -1 for a trial, epoch,
        interval or event.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[1.0], [5.0], [3.0]], samples={"stimulus": ["cat", "dog", "cat"]})
    >>> aggregate(rec).values.tolist(), aggregate(rec, how="last").values.tolist()
    ([[2.0], [5.0]], [[3.0], [5.0]])
    """
    check(rec)
    if how not in FOLDS:
        raise UnknownName("way of aggregating", how, FOLDS, do=f"how= is one of {', '.join(FOLDS)}")
    names = [by] if isinstance(by, str) else list(by)
    group, first = _groups(rec, names)
    # isel drops nothing: the first sample of each value stands for it, in order of appearance.
    kept = rec.isel(sample=first).drop_vars(_changing(rec, group, first))
    values = FOLDS[how](rec, group, len(first))
    dtype = np.float64 if how == "mean" and rec.dtype.kind != "f" else rec.dtype
    result = kept.copy(data=values.astype(dtype, copy=False))
    return check(result.assign_attrs(aggregated=f"{how} by {', '.join(names)}"))


def _groups(rec: Recording, by: list[str]) -> tuple[Array, Array]:
    """Return the group of every sample, and the first sample of every group, by appearance."""
    if not by:
        raise NisslError("nothing is named in by=", do="by='stimulus', for one")
    combined = np.zeros(rec.sizes["sample"], dtype=np.int64)
    for name in by:
        column = word_codes(coordinate(rec, name))
        lacking = _lacking(column, name)
        if lacking.any():
            keep = "v >= 0" if column.dtype.kind in "iu" else "v == v"
            raise NisslError(
                f"{lacking.sum()} samples have no '{name}'",
                where=f"sample {int(np.argmax(lacking))}",
                do=f"leave them out: select(rec, samples={{'{name}': lambda v: {keep}}})",
            )
        values, code = np.unique(column, return_inverse=True)
        # Numbered anew at each step, so that many columns cannot overflow.
        combined = np.unique(combined * len(values) + code, return_inverse=True)[1]
    _, first, group = np.unique(combined, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[group], first[order]


def _lacking(column: Array, name: str) -> Array:
    """Return which samples have no value: not a number, no time, or outside of every trial."""
    if column.dtype.kind in "iu" and name in ("trial", "epoch", "interval", "event"):
        return np.asarray(column == -1)
    return np.asarray(column != column)


def _changing(rec: Recording, group: Array, first: Array) -> list[str]:
    """Return the sample coordinates that differ between samples of one group."""
    changing = []
    for name, coord in rec.coords.items():
        if coord.dims != ("sample",):
            continue
        column = np.asarray(coord.values)
        standing = column[first][group]
        same = column == standing
        if column.dtype.kind in "fmM":
            same |= np.isnan(column) & np.isnan(standing)
        if not same.all():
            changing.append(str(name))
    return changing


def _mean(rec: Recording, group: Array, n: int) -> Array:
    total = np.zeros((n, rec.sizes["unit"]))
    _fold(rec, group, np.add, total)
    total /= np.bincount(group, minlength=n)[:, None]
    return total


def _max(rec: Recording, group: Array, n: int) -> Array:
    largest = np.full((n, rec.sizes["unit"]), -np.inf, np.result_type(rec.dtype, np.float32))
    _fold(rec, group, np.maximum, largest)
    return largest


def _last(rec: Recording, group: Array, n: int) -> Array:
    last = np.zeros(n, dtype=np.int64)
    np.maximum.at(last, group, np.arange(len(group)))
    return np.asarray(rec.isel(sample=last).values)


def _fold(rec: Recording, group: Array, ufunc: np.ufunc, into: Array) -> None:
    """Fold the samples of each group into its row, chunk by chunk."""
    for chunk in chunks(rec):
        here = group[chunk.start : chunk.start + len(chunk.values)]
        values = chunk.values
        if (np.diff(here) < 0).any():
            order = np.argsort(here, kind="stable")
            here, values = here[order], values[order]
        starts = np.flatnonzero(np.diff(here, prepend=-1))
        stops = np.append(starts[1:], len(here))
        single = stops - starts == 1
        alone = here[starts[single]]
        into[alone] = ufunc(into[alone], values[starts[single]])
        # A reduction a run: reduceat is twelve times slower on many units.
        for start, stop in zip(starts[~single], stops[~single], strict=True):
            row = into[here[start]]
            ufunc(row, ufunc.reduce(values[start:stop], axis=0, dtype=into.dtype), out=row)


FOLDS: dict[str, Callable[[Recording, Array, int], Array]] = {
    "mean": _mean,
    "last": _last,
    "max": _max,
}
