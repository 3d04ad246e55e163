"""Which sample coordinates a unit may be tuned to, and what may be permuted to find out.

A coordinate becomes **levels**: the labels of a category, or bins of an angle or a quantity. What
is permuted under the null follows from which samples depend on each other:

- the coordinate does not vary inside a block (the label of a trial): blocks are averaged, and
  their labels permuted, inside whatever larger block they lie in;
- it varies inside the smallest block (the angle of a head, the picture in a run): it is shifted
  circularly inside each block, which keeps the autocorrelation of both sides;
- there are no blocks: one circular shift of the whole recording. Samples are never permuted freely
  unless a coordinate says that each is a block of its own (a trial, a stimulus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.nesting import nested_groups, nesting_coordinates
from nissl.errors import NisslError, UnknownName
from nissl.recording import Recording
from nissl.recording.labels import coordinate, is_words, word_codes
from nissl.statistics import CircularShift, PermutedLabels

__all__ = ["TuningPlan", "plan_tuning"]

TIME = ("time", "time_in_interval", "sample")
MOST_CATEGORIES = 20  # a column of numbers with more values is a quantity
SMALLEST_P = 0.05  # a null with fewer arrangements than this needs is not worth drawing
N_BINS = {"circular": 24, "continuous": 12}
PER_BIN = 8  # observations that a bin of a quantity should have


@dataclass(frozen=True)
class TuningPlan:
    """How tuning to one coordinate is tested.

    Parameters
    ----------
    name : str
        The coordinate.
    kind : str
        ``categorical``, ``circular`` or ``continuous``.
    rows : array of int, shape (n_rows,)
        Samples that have a value, blocks together and in order of time.
    observation : array of int, shape (n_rows,)
        The observation a row is averaged into; 0, 1, 2, ... where each is its own.
    codes : array of int, shape (n_observations,)
        The level of each observation.
    levels : array, shape (n_levels,)
        Code of the category, or centre of the bin.
    names : list of str
        What the levels are called.
    null : CircularShift or PermutedLabels
        What is permuted.
    within : array of int, shape (n_observations,)
        The group inside which it is permuted.
    period : float
        Of a circular coordinate; 0 otherwise.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((8, 1)), samples={"trial": range(8), "side": ["l", "r"] * 4})
    >>> plans, skipped = plan_tuning(rec)
    >>> plans[0].name, plans[0].null.name, list(skipped)
    ('side', "PermutedLabels(exchange='trial')", ['trial'])
    """

    name: str
    kind: str
    rows: NDArray[np.int64]
    observation: NDArray[np.int64]
    codes: NDArray[np.int64]
    levels: NDArray[np.float64]
    names: list[str]
    null: CircularShift | PermutedLabels
    within: NDArray[np.int64]
    period: float = 0.0


class _Unsuitable(Exception):
    """A coordinate cannot be tested; the message says why."""


def plan_tuning(
    rec: Recording,
    *,
    labels: Sequence[str] | None = None,
    exchange: str | Sequence[str] | None = None,
    n_bins: int | None = None,
) -> tuple[list[TuningPlan], dict[str, str]]:
    """Decide for every sample coordinate how tuning to it is tested, or why it cannot be.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read. A coordinate with an attribute ``period`` is
        circular.
    labels : sequence of str, optional
        The coordinates; all where not given. Time, and coordinates of blocks, are tested only
        where they are asked for.
    exchange : str or sequence of str, optional
        The coordinates of exchangeability blocks, from large to small; found by name where not
        given (`nissl.atlas.nesting.nesting_coordinates`).
    n_bins : int, optional
        Bins of circular and continuous coordinates; by default 24 and 12.

    Returns
    -------
    plans : list of TuningPlan
        One for each coordinate that can be tested.
    skipped : dict of str to str
        The other coordinates, and why.

    Raises
    ------
    UnknownName
        There is no such sample coordinate.
    NisslError
        Fewer than three bins.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> time = np.arange(90)
    >>> rec = as_recording(np.zeros((90, 1)), samples={"time": time, "speed": time % 9})
    >>> plans, skipped = plan_tuning(rec)
    >>> plans[0].null.name, skipped["time"]
    ('CircularShift(min_shift=1)', 'time itself')
    """
    known = [str(name) for name, c in rec.coords.items() if c.dims == ("sample",)]
    asked = known if labels is None else list(labels)
    given = [exchange] if isinstance(exchange, str) else exchange
    nesting = nesting_coordinates(rec) if given is None else given
    for name in (*asked, *nesting):
        if name not in known:
            raise UnknownName("sample coordinate", name, known)
    if n_bins is not None and n_bins < 3:
        raise NisslError(f"{n_bins} bins cannot hold a tuning curve", do="give three or more")
    keys = nested_groups(rec, list(nesting))
    plans, skipped = [], {}
    for name in asked:
        try:
            if labels is None and name in TIME:
                raise _Unsuitable("time itself")
            if labels is None and name in nesting:
                raise _Unsuitable("its values are exchangeability blocks")
            plans.append(_plan(rec, name, list(nesting), keys, n_bins))
        except _Unsuitable as why:
            skipped[name] = str(why)
    return plans, skipped


def _plan(
    rec: Recording, name: str, nesting: list[str], keys: list[NDArray[np.int64]], n_bins: int | None
) -> TuningPlan:
    given = coordinate(rec, name)
    words = list(dict.fromkeys(given.tolist())) if is_words(given) else None
    column = word_codes(given)
    valid = np.isfinite(column) if column.dtype.kind == "f" else np.ones(len(column), bool)
    if not valid.any() or len(np.unique(column[valid])) < 2:
        raise _Unsuitable("it does not vary")
    smallest = keys[-1] if keys else np.zeros(len(column), np.int64)
    clock = next((rec[t].values for t in TIME if t in rec.coords), np.arange(len(column)))
    rows = np.lexsort((clock, smallest))
    rows = rows[valid[rows]]
    # The largest block in which the coordinate does not vary is what is permuted.
    depth = next((d for d, key in enumerate(keys) if _constant(column[rows], key[rows])), None)
    if depth is None:
        rows = _long_enough(rows, smallest)
        observation = np.arange(len(rows))
        first, within = observation, smallest[rows]
        null: CircularShift | PermutedLabels = CircularShift(
            # Every shift but none at all: with the +1 rule the p-value is then exact for a
            # stationary unit, which leaving out near shifts would make too small.
            within=nesting[-1] if nesting else None,
            min_shift=1,
        )
    else:
        rows = rows[np.argsort(keys[depth][rows], kind="stable")]
        _, first, observation = np.unique(keys[depth][rows], return_index=True, return_inverse=True)
        above = keys[depth - 1] if depth else np.zeros(len(column), np.int64)
        within = above[rows][first]
        null = PermutedLabels(exchange=nesting[depth], within=nesting[depth - 1] if depth else None)
    period = float(rec[name].attrs.get("period", 0.0))
    kind, codes, levels, names = _levels(column[rows][first], words, period, n_bins)
    if (codes < 0).any():  # levels too rare to be tested
        kept = codes[observation] >= 0
        rows, observation = rows[kept], np.unique(observation[kept], return_inverse=True)[1]
        codes, within = codes[codes >= 0], within[codes >= 0]
    if kind == "categorical" and depth is not None and len(levels) == len(codes):
        raise _Unsuitable(f"every level is one {nesting[depth]}, so that nothing can be exchanged")
    if null.log_arrangements(codes, exchange=None, within=within) < np.log(1 / SMALLEST_P):
        what = nesting[depth] if depth is not None else "sample"
        raise _Unsuitable(f"too few {what}s to exchange: no p-value could reach {SMALLEST_P}")
    return TuningPlan(name, kind, rows, observation, codes, levels, names, null, within, period)


def _levels(
    column: NDArray[Any], words: list[str] | None, period: float, n_bins: int | None
) -> tuple[str, NDArray[np.int64], NDArray[np.float64], list[str]]:
    """Return kind, the level of each observation (-1: too rare), the levels and their names."""
    values, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
    codes = codes.astype(np.int64)
    if period:
        n = _fitting(n_bins or N_BINS["circular"], len(column))
        codes = np.minimum((column % period / period * n).astype(np.int64), n - 1)
        centres = (np.arange(n) + 0.5) * period / n
        return "circular", codes, centres, [f"{c:.3g}" for c in centres]
    if words is not None or len(values) <= MOST_CATEGORIES:
        usual = counts >= 2
        if usual.sum() < 2:
            raise _Unsuitable("almost every observation has a level of its own")
        renumber = np.where(usual, np.cumsum(usual) - 1, -1)
        found = values[usual].tolist()
        names = [_named(value) if words is None else words[value] for value in found]
        return "categorical", renumber[codes], values[usual].astype(np.float64), names
    n = _fitting(n_bins or N_BINS["continuous"], len(column))
    edges = np.unique(np.quantile(column, np.linspace(0, 1, n + 1)[1:-1]))
    codes = np.searchsorted(edges, column, side="right")
    _, codes = np.unique(codes, return_inverse=True)  # ties can leave a bin empty
    centres = np.bincount(codes, weights=column) / np.bincount(codes)
    return "continuous", codes.astype(np.int64), centres, [f"{c:.3g}" for c in centres]


def _named(value: float) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def _fitting(n_bins: int, n: int) -> int:
    fitting = min(n_bins, n // PER_BIN)
    if fitting < 3:
        raise _Unsuitable(f"{n} observations are too few for a tuning curve")
    return fitting


def _constant(column: NDArray[Any], key: NDArray[np.int64]) -> bool:
    _, first, block = np.unique(key, return_index=True, return_inverse=True)
    return bool(np.array_equal(column[first][block], column))


def _long_enough(rows: NDArray[np.int64], block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Leave out blocks of a single row, which cannot be shifted."""
    _, owner, lengths = np.unique(block[rows], return_inverse=True, return_counts=True)
    kept = rows[lengths[owner] >= 2]
    if not len(kept):
        raise _Unsuitable("no block has two samples to shift")
    return kept
