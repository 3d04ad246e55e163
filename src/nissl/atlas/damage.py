"""Files of an atlas that cannot be read: said as errors, or noted, so that the rest is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nissl.errors import NisslError, first_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AGAIN", "note", "part", "readable", "table_of"]

AGAIN = "make the atlas again"
T = TypeVar("T")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into words.

    Parameters
    ----------
    path : Path
        What is read.

    Raises
    ------
    NisslError
        It cannot be read.

    Examples
    --------
    >>> with readable(Path("units.parquet")):
    ...     raise OSError("unexpected end")
    Traceback (most recent call last):
    nissl.errors.NisslError: units.parquet cannot be read: unexpected end
      where: units.parquet
      do: make the atlas again
    """
    try:
        yield
    except NisslError:
        raise
    except Exception as error:  # readers of parquet, zarr and JSON have no kind in common
        what = f"{path.name} cannot be read: {first_line(error)}"
        raise NisslError(what, where=str(path), do=AGAIN) from error


def part(broken: list[str] | None, path: Path, read: Callable[[], T], otherwise: Any) -> T:
    """Read a part of an atlas; where it cannot be read, note why and do without.

    Parameters
    ----------
    broken : list of str, or None
        Where it is noted; None for an error instead.
    path : Path
        What is read.
    read : callable
        Reads it.
    otherwise
        What takes its place.

    Returns
    -------
    object
        What was read, or what takes its place.

    Examples
    --------
    >>> broken: list[str] = []
    >>> part(broken, Path("arrays.zarr"), lambda: {}["histogram"], None), broken
    (None, ["arrays.zarr cannot be read: 'histogram'; make the atlas again"])
    """
    try:
        with readable(path):
            return read()
    except NisslError as error:
        if broken is None:
            raise
        note(broken, error.what)
        return otherwise  # type: ignore[no-any-return]


def note(broken: list[str] | None, what: str) -> None:
    """Note what is missing, once.

    Parameters
    ----------
    broken : list of str, or None
        Where; nowhere if None.
    what : str
        In words.

    Examples
    --------
    >>> broken: list[str] = []
    >>> note(broken, "examples.parquet is missing"), broken
    (None, ['examples.parquet is missing; make the atlas again'])
    """
    said = f"{what}; {AGAIN}"
    if broken is not None and said not in broken:
        broken.append(said)


def table_of(
    path: Path, columns: Sequence[str], *, needed: Sequence[str], broken: list[str] | None = None
) -> pd.DataFrame:
    """Read columns of a table, those that are damaged left out.

    Parameters
    ----------
    path : Path
        A parquet file.
    columns : sequence of str
        Which of them.
    needed : sequence of str
        Those without which there is no table.
    broken : list of str, or None
        Where it is noted which were left out; None for an error instead.

    Returns
    -------
    DataFrame
        Rows are counted from zero.

    Raises
    ------
    NisslError
        One that is needed is missing or damaged.

    Examples
    --------
    >>> table_of(Path("units.parquet"), ["unit"], needed=["unit"])  # doctest: +SKIP
    """
    import pandas as pd
    import pyarrow.parquet as pq

    missing = [name for name in needed if name not in columns]
    if missing:
        raise NisslError(
            f"{path.name} lacks the columns {', '.join(missing)}: it is of another version",
            where=str(path),
            do=AGAIN,
        )
    whole: pd.DataFrame | None = part(
        None if broken is None else [],
        path,
        lambda: pq.read_table(path, columns=list(columns)).to_pandas(),
        None,
    )
    if whole is not None:
        return whole.reset_index(drop=True)
    kept = {}
    for name in columns:
        try:
            with readable(path):
                kept[name] = pq.read_table(path, columns=[name]).to_pandas()[name]
        except NisslError:
            if name in needed:
                raise
            note(broken, f"the column {name} of {path.name} cannot be read")
    return pd.DataFrame(kept).reset_index(drop=True)
