"""Some rows of a table on disk, read from the groups of rows that may hold them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["table_rows"]


def table_rows(path: Path, column: str, values: Sequence[Any]) -> pd.DataFrame:
    """Read the rows of a table that have one of some values in a column.

    One group of rows is held at a time, and of one value no threads are started, so that memory
    stays that of a group.

    Parameters
    ----------
    path : Path
        A parquet file.
    column : str
        The column.
    values : sequence
        What it may be.

    Returns
    -------
    DataFrame
        In the order of the file.

    Examples
    --------
    >>> import pandas as pd
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "table.parquet"
    ...     pd.DataFrame({"row": [0, 0, 1, 2], "rank": [1, 2, 1, 1]}).to_parquet(path)
    ...     table_rows(path, "row", [0, 2])["rank"].tolist()
    [1, 2, 1]
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = np.unique(np.asarray(list(values)))
    threads, parts = len(wanted) > 1, []
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            if not _may_hold(file.metadata.row_group(group), column, wanted):
                continue
            held = file.read_row_group(group, use_threads=threads)
            found = held[column].to_pandas().isin(wanted).to_numpy(bool)
            if found.any():
                parts.append(held.filter(pa.array(found)))
        empty = file.schema_arrow.empty_table()
    table: pd.DataFrame = pa.concat_tables(parts or [empty]).to_pandas()
    return table


def _may_hold(group: Any, column: str, wanted: np.ndarray[Any, Any]) -> bool:
    """Say whether the least and the largest value of a group leave room for one of some."""
    names = [group.column(i).path_in_schema for i in range(group.num_columns)]
    known = group.column(names.index(column)).statistics
    if known is None or not known.has_min_max:
        return True
    first = np.searchsorted(wanted, known.min)
    return bool(first < len(wanted) and wanted[first] <= known.max)
