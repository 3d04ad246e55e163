"""Align: two recordings whose samples are the same things, one for one, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.labels import coordinate, is_words
from nissl.recording.recording import Recording, check

__all__ = ["align", "require_aligned", "rows_of"]

Array = np.ndarray[Any, Any]


def align(
    a: Recording,
    b: Recording,
    *,
    on: str = "stimulus",
    missing: Literal["refuse", "drop"] = "refuse",
    order: Literal["refuse", "first"] = "refuse",
) -> tuple[Recording, Recording]:
    """Return two recordings whose samples agree row by row, or say why they do not.

    Numbers must be equal to the last bit.

    Parameters
    ----------
    a, b : Recording, shapes (n_a, n_units_a) and (n_b, n_units_b)
        The recordings; their values are not read.
    on : str
        The sample coordinate that says what a sample is; each value at most once in each.
    missing : {"refuse", "drop"}
        What to do with values that only one has.
    order : {"refuse", "first"}
        What to do where `b` has another order: refuse it, or put it into the order of `a`.

    Returns
    -------
    a, b : Recording, shapes (n, n_units_a) and (n, n_units_b)
        With the same values of `on` in every row.

    Raises
    ------
    UnknownName
        One of them has no such sample coordinate.
    NisslError
        A value occurs twice, is missing on one side, or comes in another order; or one side has
        words and the other numbers, or numbers of another table (another tokenizer).

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> a = as_recording([[1.0], [2.0]], samples={"stimulus": ["cat", "dog"]})
    >>> b = as_recording([[5.0], [4.0]], samples={"stimulus": ["dog", "cat"]})
    >>> _, b = align(a, b, order="first")
    >>> b.values.tolist()
    [[4.0], [5.0]]
    """
    for name, value, known in (
        ("missing", missing, ("refuse", "drop")),
        ("order", order, ("refuse", "first")),
    ):
        if value not in known:
            raise UnknownName(f"way for {name}=", value, known, do=f"{' or '.join(known)}")
    left, right = _labels(a, on, "first"), _labels(b, on, "second")
    if a[on].attrs != b[on].attrs:
        raise NisslError(
            f"the numbers of '{on}' do not mean the same: {a[on].attrs} and {b[on].attrs}",
            where=on,
            do="translate one into the other's numbers, or align on another coordinate",
        )
    if is_words(left) != is_words(right):
        raise NisslError(
            f"'{on}' is {_kind(left)} in the first recording and {_kind(right)} in the second",
            where=on,
            do="write it the same way in both",
        )
    rows_a, rows_b = _rows(left, right, on, missing)
    if order == "refuse":
        _same_order(left[rows_a], right[np.sort(rows_b)], on)
    return check(_taken(a, rows_a)), check(_taken(b, rows_b))


def require_aligned(*sides: Mapping[str, Any], on: str) -> None:
    """Refuse sites whose stimuli are not the same, row by row, and say why they are not.

    Parameters
    ----------
    *sides : mapping of str to Recording or array, shape (n_stimuli, n_units)
        Sites by name, as `by_site` returns them. Arrays must have as many rows as the others.
    on : str
        The sample coordinate that says which stimulus a sample is.
    """
    sites = [item for side in sides for item in side.items()]
    recordings = [(name, x) for name, x in sites if isinstance(x, Recording)]
    if len({len(x) for _, x in sites}) > 1 and len(recordings) < len(sites):
        said = ", ".join(f"{name}: {len(x)}" for name, x in sites[:6])
        raise NisslError(
            f"the sides have other numbers of stimuli ({said})",
            do="give one sample of each stimulus, in the same order",
        )
    for name, x in recordings:
        if on not in x.coords:
            raise NisslError(
                f"'{name}' has no sample coordinate '{on}'",
                do=f"give on= one of its own: {', '.join(map(str, x.coords))}",
            )
        align(recordings[0][1], x, on=on)


def _labels(rec: Recording, on: str, which: str) -> Array:
    check(rec)
    labels = coordinate(rec, on, of=f" of the {which} recording")
    if labels.dtype.kind in "fmM" and np.isnan(labels).any():
        raise NisslError(
            f"{int(np.isnan(labels).sum())} samples of the {which} recording have no '{on}'",
            where=f"sample {int(np.argmax(np.isnan(labels)))}",
            do="leave them out first, with select",
        )
    values, first, count = np.unique(labels, return_index=True, return_counts=True)
    repeated = np.flatnonzero(count > 1)
    if len(repeated):
        raise NisslError(
            f"{len(repeated)} values of '{on}' occur more than once in the {which} recording: "
            f"{_some(values[repeated])}",
            where=f"sample {int(first[repeated[0]])}",
            do=f"make one sample of each first: aggregate(rec, by='{on}')",
        )
    return labels


def rows_of(rec: Recording, on: str, wanted: Array) -> Array:
    """Return the sample that has each wanted value of a coordinate.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        One sample for each value: features of stimuli.
    on : str
        The sample coordinate.
    wanted : array, shape (n,)
        Values, any number of times.

    Returns
    -------
    array of int, shape (n,)
        Rows of `rec`.

    Raises
    ------
    NisslError
        A value occurs twice in the recording, or a wanted one never.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.eye(2), samples={"stimulus": ["dog", "cat"]})
    >>> rows_of(rec, "stimulus", np.array(["cat", "dog", "cat"])).tolist()
    [1, 0, 1]
    """
    names, row = np.unique(coordinate(rec, on), return_index=True)
    if len(names) < rec.sizes["sample"]:
        raise NisslError(f"features have several rows of one '{on}'", do=f"aggregate(by='{on}')")
    place = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    missing = names[place] != wanted
    if missing.any():
        some = ", ".join(map(str, np.unique(wanted[missing])[:5]))
        raise NisslError(f"these have no features: {some}", where=on, do="leave them out: select")
    return np.asarray(row[place])


def _rows(left: Array, right: Array, on: str, missing: str) -> tuple[Array, Array]:
    """Return the rows of both that have the values they share, in the order of the first."""
    for has, lacks, which in ((left, right, "second"), (right, left, "first")):
        gap = has[~np.isin(has, lacks)]
        if len(gap) and missing == "refuse":
            near = _nearness(gap, lacks)
            raise NisslError(
                f"{len(gap)} values of '{on}' are missing in the {which} recording: "
                f"{_some(gap)}{near}",
                where=on,
                do="leave out what only one has with missing='drop', or round times that jitter",
            )
    rows_a = np.flatnonzero(np.isin(left, right))
    by_value = np.argsort(right, kind="stable")
    place = np.searchsorted(right[by_value], left[rows_a])
    return rows_a, by_value[place]


def _same_order(left: Array, right: Array, on: str) -> None:
    other = np.flatnonzero(left != right)
    if len(other):
        i = int(other[0])
        raise NisslError(
            f"'{on}' comes in another order: sample {i} is {_some(left[i : i + 1])} in the first "
            f"recording and {_some(right[i : i + 1])} in the second",
            where=on,
            do="put the second into the order of the first with order='first'",
        )


def _taken(rec: Recording, rows: Array) -> Recording:
    whole = len(rows) == rec.sizes["sample"] and bool((rows == np.arange(len(rows))).all())
    return rec if whole else rec.isel(sample=rows)


def _nearness(gap: Array, others: Array) -> str:
    """Tell how near the nearest number is, where jitter could be why there is none equal."""
    if gap.dtype.kind != "f" or others.dtype.kind not in "fiu" or len(others) == 0:
        return ""
    off = np.abs(others - gap[0]).min()
    return f" (the nearest is {off:.2g} off)"


def _kind(labels: Array) -> str:
    return "words" if is_words(labels) else "numbers"


def _some(values: Array) -> str:
    shown = ", ".join(repr(v) for v in values[:3].tolist())
    return shown + (", ..." if len(values) > 3 else "")
