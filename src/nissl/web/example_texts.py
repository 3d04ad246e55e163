"""Which units are high where a text ends: the texts at the places of an atlas."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.atlas.damage import AGAIN, readable
from nissl.errors import NisslError
from nissl.web.memory import release

if TYPE_CHECKING:
    from nissl.atlas import Atlas

__all__ = ["ExampleTexts"]

Array = np.ndarray[Any, Any]


class ExampleTexts:
    """The texts that units of an atlas are high at.

    Parameters
    ----------
    atlas : Atlas
        Whose ``examples.parquet`` is read once, a group of its rows at a time: of every place at
        the upper end the sample is held, four bytes each.
    n_units : int
        Its units.

    Examples
    --------
    >>> ExampleTexts(open_atlas("out/smollm2"), 46080).shares("paris").max()  # doctest: +SKIP
    1.0
    """

    def __init__(self, atlas: Atlas, n_units: int) -> None:
        self.atlas, self.n_units = atlas, n_units

    @property
    def missing(self) -> bool:
        """Whether the atlas has no texts."""
        return not (self.atlas.path / "vocabulary.json").exists()

    def shares(self, text: str) -> Array:
        """Return of every unit the part of its highest samples at which a text ends.

        Parameters
        ----------
        text : str
            A part of a word, or several words; small and large letters are one.

        Returns
        -------
        array, shape (n_units,)
            Zero where it ends at none of them.

        Raises
        ------
        NisslError
            The text is empty, or the atlas has no texts.
        """
        inside = self._samples_of(text)
        units, starts, samples = self._highest
        if not len(samples):
            return np.zeros(self.n_units)
        if samples.max() >= len(inside):
            raise NisslError("the texts in arrays.zarr are not those of examples.parquet", do=AGAIN)
        hits = np.add.reduceat(inside[samples], starts, dtype=np.int32)
        many = np.diff(starts, append=len(samples))
        of_unit = np.bincount(units, many, minlength=self.n_units)
        found: Array = np.bincount(units, hits, minlength=self.n_units) / np.maximum(of_unit, 1)
        return found

    @cached_property
    def _text(self) -> tuple[str, Array]:
        """All that was read, in small letters, and where each sample's token ends in it."""
        path = self.atlas.path / "vocabulary.json"
        if self.missing:
            raise NisslError("this atlas has no texts", do="search for an address or a label")
        with readable(path):
            words = json.loads(path.read_text(encoding="utf-8"))
            texts = {int(number): str(word).lower() for number, word in words.items()}
        with readable(self.atlas.path / "arrays.zarr"):
            told = [texts.get(int(token), "") for token in np.asarray(self.atlas.arrays["token"])]
        return "".join(told), np.cumsum([len(word) for word in told])

    @cached_property
    def _highest(self) -> tuple[Array, Array, Array]:
        """Runs of places at the upper end: the unit of each, where it starts, and all samples."""
        with readable(self.atlas.path / "examples.parquet"):
            return self._places()

    def _places(self) -> tuple[Array, Array, Array]:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self.atlas.path / "examples.parquet")
        # What is not written is not held.
        samples, n = np.empty(file.metadata.num_rows, np.int32), 0
        units, starts = [np.empty(0, int)], [np.empty(0, int)]
        for group in range(file.num_row_groups):
            part = file.read_row_group(group, columns=["row", "sign", "sample"], use_threads=False)
            high = part["sign"].to_numpy() > 0
            rows = part["row"].to_numpy()[high]
            begins = np.flatnonzero(np.diff(rows, prepend=-1))
            units.append(rows[begins])
            starts.append(n + begins)
            samples[n : n + len(rows)] = part["sample"].to_numpy()[high]
            n += len(rows)
        release()
        return np.concatenate(units), np.concatenate(starts), samples[:n]

    def _samples_of(self, text: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return at which samples the text ends."""
        wanted = text.lower().strip()
        if not wanted:
            raise NisslError("there is nothing to look for", where="text")
        whole, ends = self._text
        found = [match.end() for match in re.finditer(re.escape(wanted), whole)]
        inside = np.zeros(len(ends), dtype=bool)
        inside[np.searchsorted(ends, np.array(found, dtype=int))] = True
        return inside
