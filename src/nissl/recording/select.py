"""Select: samples and units of a recording, by either table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.labels import coordinate, is_words
from nissl.recording.recording import Recording, check

__all__ = ["select"]

Array = np.ndarray[Any, Any]


def select(rec: Recording, *, samples: Any = None, units: Any = None) -> Recording:
    """Return the samples and units that are asked for.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy; a lazy recording stays lazy.
    samples : mapping, array of bool, or positions, optional
        A mapping of coordinates to the value, the values or a predicate they must have, all of
        them at once: ``{"stimulus": ["cat", "dog"], "time": lambda t: t > 0.5}``; a predicate
        takes the whole column and returns as many booleans. Or a mask of shape
        (n_samples,); or a position, positions or a slice.
    units : mapping, array of bool, positions, or addresses, optional
        Likewise; or the addresses of units: ``"blocks.3.mlp.neurons[5]"``, a site for all of its
        units, or a list of them. ``*`` stands for anything: ``"blocks.*.mlp.neurons[5]"``.

    Returns
    -------
    Recording, shape (n_selected_samples, n_selected_units)
        In the recording's order for mappings and masks, in the order asked for with positions and
        addresses (each once). Attributes are kept.

    Raises
    ------
    UnknownName
        There is no such coordinate, name or address; with the nearest that there are.
    NisslError
        A mask or a predicate's answer has the wrong shape, a position lies outside, or a number
        that is asked for never occurs.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(
    ...     np.arange(6).reshape(3, 2),
    ...     samples={"stimulus": ["cat", "dog", "cat"]},
    ...     units={"site": ["blocks.0.mlp.neurons", "blocks.1.mlp.neurons"], "index": [5, 5]},
    ... )
    >>> select(rec, samples={"stimulus": "cat"}, units="blocks.*.mlp.neurons[5]").values.tolist()
    [[0, 1], [4, 5]]
    >>> select(rec, units={"index": lambda i: i > 5}).shape
    (3, 0)
    """
    check(rec)
    chosen = {}
    if samples is not None:
        chosen["sample"] = _rows(rec, samples, "sample")
    if units is not None:
        by_address = _addressed(units)
        chosen["unit"] = _addresses(rec, by_address) if by_address else _rows(rec, units, "unit")
    return check(rec.isel(chosen))


def _rows(rec: Recording, wanted: Any, side: str) -> Array | slice:
    n = rec.sizes[side]
    if isinstance(wanted, Mapping):
        mask = np.ones(n, dtype=bool)
        for name, condition in wanted.items():
            mask &= _holds(rec, str(name), condition, side)
        return np.flatnonzero(mask)
    if isinstance(wanted, slice):
        return wanted
    array = np.asarray(wanted)
    if array.dtype.kind == "b":
        if array.shape != (n,):
            raise NisslError(
                f"a mask of shape {array.shape} does not fit {n} {side}s",
                do=f"give one boolean for each {side}",
            )
        return np.flatnonzero(array)
    array = np.atleast_1d(array)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise NisslError(
            f"{side}s cannot be selected by {array.dtype} of shape {array.shape}",
            do="give a mapping of coordinates to values, a mask, or positions"
            + (", or addresses" if side == "unit" else ""),
        )
    outside = array[(array < -n) | (array >= n)]
    if len(outside):
        raise NisslError(f"there is no {side} {outside[0]}", do=f"positions go from 0 to {n - 1}")
    return array


def _holds(rec: Recording, name: str, condition: Any, side: str) -> Array:
    """Return which samples or units have what is asked of one coordinate."""
    column = coordinate(rec, name, side)
    if callable(condition):
        return _answer(condition, column, name)
    values = _listed(condition)
    if is_words(column):
        present = set(column.tolist())
        for value in values:
            if value not in present:
                raise UnknownName(name, str(value), sorted(present))
        return np.fromiter(map(set(values).__contains__, column.tolist()), bool, len(column))
    for value in values:
        if isinstance(value, str) or not (column == value).any():
            span = f", from {column.min()} to {column.max()}" if len(column) else ""
            raise NisslError(
                f"no {side} has {name} {value!r}",
                where=name,
                do=f"it holds {len(np.unique(column))} different numbers{span}",
            )
    return np.isin(column, np.asarray(values)) if values else np.zeros(len(column), dtype=bool)


def _answer(predicate: Callable[[Array], Any], column: Array, name: str) -> Array:
    answer = np.asarray(predicate(column))
    if answer.dtype.kind != "b" or answer.shape != column.shape:
        raise NisslError(
            f"the predicate of '{name}' returned {answer.dtype} of shape {answer.shape}",
            do=f"let it take the whole column and return {len(column)} booleans",
        )
    return answer


def _listed(condition: Any) -> list[Any]:
    if isinstance(condition, str) or not isinstance(condition, Iterable):
        return [condition]
    return list(condition)


def _addressed(units: Any) -> list[str]:
    """Return the addresses that are asked for; none where units are selected otherwise."""
    if isinstance(units, str):
        return [units]
    if isinstance(units, (Mapping, slice)) or not isinstance(units, Iterable):
        return []
    listed = list(units)
    return [str(u) for u in listed] if listed and all(isinstance(u, str) for u in listed) else []


def _addresses(rec: Recording, asked: list[str]) -> Array:
    """Return the positions of addresses, sites or patterns, in the order asked for."""
    units = np.asarray(rec["unit"].values)
    place = {address: i for i, address in enumerate(units.tolist())}
    sites = np.asarray(rec["site"].values).astype(str) if "site" in rec.coords else None
    found: dict[int, None] = {}
    for address in asked:
        if address in place:
            found[place[address]] = None
            continue
        pattern = re.compile(re.escape(address).replace(r"\*", ".*"))
        matches = _matching(pattern, units)
        if sites is not None and len(matches) == 0:
            matches = _matching(pattern, sites)
        if len(matches) == 0:
            known = [*place, *(dict.fromkeys(sites.tolist()) if sites is not None else ())]
            raise UnknownName("unit", address, known, do="units_table(rec) lists them")
        found |= dict.fromkeys(matches.tolist())
    return np.fromiter(found, dtype=np.int64, count=len(found))


def _matching(pattern: re.Pattern[str], names: Array) -> Array:
    # Few sites and many units: each name is matched once.
    different, which = np.unique(names, return_inverse=True)
    hits = np.array([pattern.fullmatch(n) is not None for n in different.tolist()], dtype=bool)
    return np.flatnonzero(hits[which]) if len(different) else np.zeros(0, dtype=np.int64)
