"""Write an atlas beside what is there, and put it in place when it is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.corpus import BEFORE
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

    from nissl.atlas.accumulators import Accumulators, SiteAccumulators
    from nissl.atlas.corpus import Corpus
    from nissl.atlas.vocabulary import Vocabulary

__all__ = ["AtlasWriter", "versions"]

Array = NDArray[Any]


#: All that an atlas of any kind may have in its folder.
FILES = (
    "atlas.json",
    "index.html",
    "units",
    "images",
    "units.parquet",
    "examples.parquet",
    "tokens.parquet",
    "bigrams.parquet",
    "tuning.parquet",
    "vocabulary.json",
    "arrays.zarr",
)


class AtlasWriter:
    """A folder that becomes an atlas when everything is in it.

    Parameters
    ----------
    out : Path
        The folder.

    Raises
    ------
    NisslError
        It cannot be written.
    """

    def __init__(self, out: Path):
        self.out = out
        self.partial = out / "atlas.partial"
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> AtlasWriter:
        try:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        if isinstance(error, OSError):
            raise self._failed(error) from error
        if error is None:
            self._put_in_place()

    def examples(
        self, at_site: SiteAccumulators, addresses: Array, *, row: int, labels: Mapping[str, Array]
    ) -> None:
        """Write the extremes of one site.

        Parameters
        ----------
        at_site : SiteAccumulators
            The site.
        addresses : array of str, shape (n_units,)
            Its units.
        row : int
            The first unit's row in ``units.parquet``.
        labels : mapping of str to array, each of shape (n_images,)
            Labels of the images.
        """
        import pyarrow as pa

        images = at_site.images
        found = at_site.summary.extremes.result() if images is None else images.result()
        for sign, end in ((1, "top"), (-1, "bottom")):
            places = found[f"{end}_places"]
            unit, rank = np.nonzero(places >= 0)
            sample = places[unit, rank]
            about = _where(at_site.corpus, sample)
            activity = at_site.contexts.activity(end)
            columns = {
                "unit": pa.array(addresses[unit], pa.string()),
                "row": (row + unit).astype(np.int32),
                "sign": np.full(len(unit), sign, np.int8),
                "rank": (rank + 1).astype(np.int16),
                "value": found[end][unit, rank].astype(np.float32),
                "sample": sample,
                **about,
                "activity": _lists(activity, unit, rank, about["start"] - sample, about),
            }
            if images is not None:
                placed = images.where(sample)
                columns |= placed | {k: v[placed["stimulus"]] for k, v in labels.items()}
            self._write("examples", pa.table(columns))

    def preferences(
        self, name: str, found: Mapping[str, Array], addresses: Array, *, row: int
    ) -> None:
        """Write the preferred tokens or pairs of one site.

        Parameters
        ----------
        name : str
            ``tokens`` or ``bigrams``.
        found : mapping of arrays, each of shape (n_units, k)
            What `Preference.result` returned, with the columns of the table that name the label.
        addresses : array of str, shape (n_units,)
            The units.
        row : int
            The first unit's row in ``units.parquet``.
        """
        import pyarrow as pa

        # The first is kept whatever its p, so that every unit can be looked up.
        unit, rank = np.nonzero((found["label"] >= 0) & ((found["p"] < 0.05) | _first(found["p"])))
        keys = ("token", "token_id", "bigram", "first", "second")
        columns = {
            "unit": pa.array(addresses[unit], pa.string()),
            "row": (row + unit).astype(np.int32),
            "rank": (rank + 1).astype(np.int16),
            **{k: _narrow(found[k][unit, rank]) for k in keys if k in found},
            "n_documents": found["documents"][unit, rank].astype(np.int32),
            "effect": found["effect"][unit, rank].astype(np.float32),
            "p": found["p"][unit, rank],
            "q": found["q"][unit, rank],
        }
        self._write(name, pa.table(columns))

    def tuning(self, table: pd.DataFrame) -> None:
        """Write the table of what units are tuned to.

        Parameters
        ----------
        table : DataFrame
            ``tuning.parquet``.
        """
        table.to_parquet(self.partial / "tuning.parquet", index=False)

    def units(self, table: pd.DataFrame) -> None:
        """Write the table of units.

        Parameters
        ----------
        table : DataFrame, n_units rows
            ``units.parquet``.
        """
        # Groups of few rows, so that the lists of one unit are read without those of all.
        how: Any = {"index": False, "compression": "zstd", "row_group_size": 4096}
        table.to_parquet(self.partial / "units.parquet", **how)

    def arrays(self, accumulators: Accumulators) -> None:
        """Write histograms, and what every sample was.

        Parameters
        ----------
        accumulators : Accumulators
            What was accumulated.
        """
        import zarr

        group = zarr.open_group(self.partial / "arrays.zarr", mode="w")
        histograms = [g.summary.histogram for g in accumulators.sites.values()]
        counts = np.concatenate([h.counts for h in histograms])
        small = counts.max(initial=0) < 2**32
        group.create_array("histogram", data=counts.astype("uint32") if small else counts)
        group.create_array("edges", data=histograms[0].edges)
        if accumulators.corpus is not None:
            for name in ("token", "document", "position"):
                data = getattr(accumulators.corpus, name).astype("int32")
                group.create_array(name, data=data)

    def vocabulary(self, words: Vocabulary, corpus: Corpus | None) -> None:
        """Write the texts of the tokens that occur.

        Parameters
        ----------
        words : Vocabulary
            The texts.
        corpus : Corpus or None
            What was read.
        """
        if corpus is not None:
            words.save(self.partial / "vocabulary.json", corpus.token)

    def about(self, about: Mapping[str, Any]) -> None:
        """Write where the atlas came from.

        Parameters
        ----------
        about : mapping
            ``atlas.json``.
        """
        text = json.dumps(about, indent=1, ensure_ascii=False, default=str)
        (self.partial / "atlas.json").write_text(text, encoding="utf-8")

    def _write(self, name: str, table: Any) -> None:
        """Add rows to a table on disk: one site after another, so that memory stays bounded."""
        import pyarrow.parquet as pq

        if name not in self._writers:
            path = self.partial / f"{name}.parquet"
            self._writers[name] = pq.ParquetWriter(path, table.schema, compression="zstd")
        self._writers[name].write_table(table)

    def _put_in_place(self) -> None:
        try:
            put_in_place(self.partial, self.out)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> NisslError:
        return NisslError(
            f"the atlas cannot be written: {error.strerror or error}",
            where=str(self.out),
            do="make room, or give --out a folder that you may write",
        )


def put_in_place(partial: Path, out: Path) -> None:
    """Make a folder the atlas that was written into another one, and nothing of an older atlas.

    Parameters
    ----------
    partial : Path
        What was written; it is gone afterwards.
    out : Path
        The folder. An older atlas may be of another kind, with tables that this one has not.
    """
    # A folder without atlas.json is no atlas: it goes first and comes last.
    (out / "atlas.json").unlink(missing_ok=True)
    for name in FILES:
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for made in sorted(partial.iterdir(), key=lambda path: path.name == "atlas.json"):
        made.replace(out / made.name)
    partial.rmdir()


def versions() -> dict[str, str]:
    """Return the versions that an atlas rests on.

    Returns
    -------
    dict of str
        By library.

    Examples
    --------
    >>> sorted(versions())
    ['numba', 'numpy', 'pandas', 'version']
    """
    import numba
    import pandas as pd

    from nissl._version import __version__

    return {
        "version": __version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "numba": numba.__version__,
    }


def _where(corpus: Corpus | None, sample: Array) -> dict[str, Array]:
    """What each sample was, and where its context lies."""
    if corpus is None:
        none = np.full(len(sample), -1, np.int32)
        return {
            "document": none,
            "position": none,
            "token": none,
            "start": sample,
            "stop": sample + 1,
        }
    return {
        "document": corpus.document[sample].astype(np.int32),
        "position": corpus.position[sample].astype(np.int32),
        "token": corpus.token[sample].astype(np.int32),
        "start": corpus.first_row[sample],
        "stop": corpus.end_row[sample],
    }


def _lists(
    activity: Array, unit: Array, rank: Array, offset: Array, about: Mapping[str, Array]
) -> Any:
    """Return the activity in each context as lists, empty beyond the first ranks."""
    import pyarrow as pa

    width = activity.shape[2]
    length = about["stop"] - about["start"]
    length = np.where((rank < activity.shape[1]) & (about["token"] >= 0), length, 0)
    ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
    item = np.repeat(np.arange(len(unit)), length)
    within = np.arange(ends[-1]) - np.repeat(ends[:-1], length)
    flat = (unit * activity.shape[1] + rank) * width + BEFORE + offset
    values = activity.reshape(-1)[flat[item] + within]
    # Three digits are enough for shading, and compress to half.
    rough = (values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF8000)).view(np.float32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(rough))


def _first(p: Array) -> Array:
    first: Array = np.arange(p.shape[1])[None, :] == 0
    return first


def _narrow(column: Array) -> Array:
    return column.astype(np.int32) if column.dtype.kind == "i" else column
