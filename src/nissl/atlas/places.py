"""Where the units of an atlas of a text are highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nissl.atlas.reader import Atlas

__all__ = ["Places", "places_of", "without_common"]

Array = NDArray[Any]

RANKS = 32  # the highest places of each unit that are counted
MOST = 5 * 10**7  # coincidences of places that one search goes through


@dataclass(frozen=True)
class Places:
    """Where each unit of an atlas is highest.

    Parameters
    ----------
    starts : array of int64, shape (n_units + 1,)
        Where the places of each unit begin in `samples`.
    samples : array of int32, shape (n_places,)
        Samples of the text, ascending for each unit.

    Examples
    --------
    >>> Places(np.array([0, 2, 3]), np.array([4, 9, 4])).sizes.tolist()
    [2, 1]
    """

    starts: Array
    samples: Array

    @property
    def sizes(self) -> Array:
        """How many places each unit has."""
        return np.diff(self.starts)

    @property
    def unit(self) -> Array:
        """The unit of each place."""
        return np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)


def places_of(atlas: Atlas, *, ranks: int = RANKS) -> Places:
    """Read where each unit is highest.

    Parameters
    ----------
    atlas : Atlas
        Of a text.
    ranks : int
        How many places of each unit.

    Returns
    -------
    Places
        None of units that are dead.
    """
    import pyarrow.parquet as pq

    kind = pq.read_table(atlas.path / "units.parquet", columns=["kind"])["kind"]
    alive = np.asarray(kind.to_pandas().astype(str) != "dead")
    rows, samples = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    with pq.ParquetFile(atlas.path / "examples.parquet", memory_map=True) as file:
        for group in range(file.num_row_groups):  # one at a time: there are millions
            part = file.read_row_group(group, columns=["row", "sign", "rank", "sample"])
            row = part["row"].to_numpy().astype(np.int32)
            kept = (part["sign"].to_numpy() > 0) & (part["rank"].to_numpy() <= ranks) & alive[row]
            rows.append(row[kept])
            samples.append(part["sample"].to_numpy()[kept].astype(np.int32))
    row, sample = np.concatenate(rows), np.concatenate(samples)
    order = np.lexsort((sample, row))
    row, sample = row[order], sample[order]
    new = np.r_[True, (np.diff(row) != 0) | (np.diff(sample) != 0)][: len(row)]
    row, sample = row[new], sample[new]
    starts = np.r_[0, np.cumsum(np.bincount(row, minlength=len(alive)))]
    return Places(starts.astype(np.int64), sample)


def without_common(a: Places, b: Places, n_samples: int) -> tuple[Places, Places, int]:
    """Leave out the samples at which the most units are high, where there is too much to count.

    Parameters
    ----------
    a, b : Places
        Of the same text.
    n_samples : int
        Its length.

    Returns
    -------
    a, b : Places
        Of which at most 5 * 10^7 pairs coincide.
    n_left_out : int
        How many samples were left out.
    """
    first, second = (np.bincount(x.samples, minlength=n_samples) for x in (a, b))
    many = first.astype(np.int64) * second
    order = np.argsort(many, kind="stable")
    rare = np.zeros(n_samples, dtype=bool)
    rare[order[np.cumsum(many[order]) <= MOST]] = True
    if rare.all():
        return a, b, 0
    return _only(a, rare), _only(b, rare), int((~rare).sum())


def _only(a: Places, rare: Array) -> Places:
    kept = rare[a.samples]
    sizes = np.bincount(a.unit[kept], minlength=len(a.sizes))
    return Places(np.r_[0, np.cumsum(sizes)], a.samples[kept])
