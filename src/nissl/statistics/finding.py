"""The Finding: scores for units (or heads, layers, edges) with their null, effect, p and q."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.address import read
from nissl.errors import NisslError, UnknownName

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Finding", "load_finding"]

_METADATA = b"nissl.finding"
_NOT_SCORES = {
    "unit",
    "site",
    "layer",
    "index",
    "region",
    "x",
    "y",
    "z",
    "label",
    "effect",
    "null_mean",
    "null_sd",
    "z_score",
    "p",
    "q",
    "low",
    "high",
    "tail",
    "note",
    "rank",
}


@dataclass(frozen=True, repr=False)
class Finding:
    """Scores for units with their null, and where they came from.

    Parameters
    ----------
    table : DataFrame
        One row for each thing scored (a unit; a unit and a label), best first or in the order of
        the units. Columns: ``unit`` (addresses), a score named by what it is, ``effect`` (by how
        much the score exceeds its null, in the score's units) and, where there is a null,
        ``null_mean``, ``p``, and ``q`` (p corrected over every axis searched). ``note`` says why a
        row could not be tested; its p and q are 1.
    method : str
        The name of the method.
    null : str
        The name of the null, or "none" where the caller chose to have none.
    provenance : mapping of str to str, int or float
        Seed, number of draws, tail, correction, axes searched, data.
    score : str, optional
        The column of the score; the first column that is not one of the shared names if empty.

    Raises
    ------
    NisslError
        The table has no ``unit`` column or no score, or holds a p or q that is not between 0 and 1.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a", "b"], "auroc": [0.9, 0.5], "effect": [0.4, 0.0],
    ...                       "p": [0.001, 0.7], "q": [0.002, 0.7]})
    >>> found = Finding(table, method="tuning", null="PermutedLabels()")
    >>> found.significant(q=0.05).units
    ['a']
    >>> found
    Finding of tuning: auroc of 2 rows, 1 with q <= 0.05 (null: PermutedLabels())
    """

    table: pd.DataFrame
    method: str
    null: str
    provenance: Mapping[str, str | int | float] = field(default_factory=dict)
    score: str = ""

    def __post_init__(self) -> None:
        columns = [str(c) for c in self.table.columns]
        if "unit" not in columns:
            raise NisslError("a finding's table needs a column `unit`", do="name what was scored")
        scores = [c for c in columns if c not in _NOT_SCORES]
        if not self.score and not scores and "effect" not in columns:
            raise NisslError(
                "a finding's table needs a score", do="add a column named by the score"
            )
        object.__setattr__(self, "score", self.score or (scores[0] if scores else "effect"))
        if self.score not in columns:
            raise UnknownName("column", self.score, columns)
        for name in ("p", "q"):
            if name in columns:
                column = np.asarray(self.table[name], dtype=float)
                if not np.all((column >= 0) & (column <= 1)):
                    raise NisslError(
                        f"column '{name}' has values that are not between 0 and 1",
                        where=str(
                            self.table["unit"].iloc[int(np.argmin((column >= 0) & (column <= 1)))]
                        ),
                        do="rows that could not be tested have p = 1 and a `note` that says why",
                    )

    @property
    def units(self) -> list[str]:
        """Addresses of the units in the table, each once, in its order."""
        return [str(u) for u in self.table["unit"].unique()]

    @property
    def layers(self) -> list[Any]:
        """The layer of each row: what a column says, or else the address; None for neither."""
        if "layer" in self.table:
            return self.table["layer"].tolist()
        return [None if address is None else address.layer for address in read(self.table["unit"])]

    def significant(self, q: float = 0.05) -> Finding:
        """Return the rows whose corrected p is at most `q`, most significant first.

        Parameters
        ----------
        q : float
            The rate of false discoveries, or of any false one, that is accepted.

        Returns
        -------
        Finding
            The same columns, fewer rows.

        Raises
        ------
        NisslError
            The finding has no corrected p-values.
        """
        if "q" not in self.table:
            why = "has no null" if "p" not in self.table else "was not corrected"
            raise NisslError(
                f"this finding {why}, so that nothing in it is significant",
                where=self.method,
                do="give the method a test with a correction",
            )
        found = self.table[self.table["q"] <= q]
        return self._with(found.sort_values(["q", *self._rank()], kind="stable"))

    def top(self, n: int, by: str | None = None) -> Finding:
        """Return the `n` rows that rank highest.

        Parameters
        ----------
        n : int
            How many rows at most.
        by : str, optional
            A numeric column, largest first. By default the column ``rank``, which does not depend
            on draws; where there is none, the size of the effect whatever its sign, or the score.

        Returns
        -------
        Finding
            The same columns, at most `n` rows, best first.

        Raises
        ------
        UnknownName
            There is no such column.
        """
        if by is not None and by not in self.table:
            raise UnknownName("column", by, [str(c) for c in self.table.columns])
        if by is None and self._rank():
            key = np.asarray(self.table["rank"], dtype=float)
        elif by is None:
            column = self.table["effect" if "effect" in self.table else self.score]
            key = -np.abs(np.asarray(column, dtype=float))
        else:
            key = -np.asarray(self.table[by], dtype=float)
        return self._with(self.table.iloc[np.argsort(key, kind="stable")[:n]])

    def assign(
        self, provenance: Mapping[str, str | int | float] | None = None, /, **columns: Any
    ) -> Finding:
        """Return the finding with more columns, and more said of where it came from.

        Parameters
        ----------
        provenance : mapping of str to str, int or float, optional
            More provenance.
        **columns : array, shape (n_rows,), or one value
            More columns, or others of the same name.

        Returns
        -------
        Finding
            The same rows, in the same order.

        Examples
        --------
        >>> import pandas as pd
        >>> found = Finding(pd.DataFrame({"unit": ["a"], "r": [0.5]}), method="m", null="none")
        >>> found.assign({"n_texts": 3}, kind="sharp").table["kind"].tolist()
        ['sharp']
        """
        about = {**self.provenance, **(provenance or {})}
        return Finding(self.table.assign(**columns), self.method, self.null, about, self.score)

    def renamed(self, score: str) -> Finding:
        """Return the finding with its score called something else.

        Parameters
        ----------
        score : str
            The name.

        Returns
        -------
        Finding
            The same numbers.
        """
        table = self.table.rename(columns={self.score: score})
        return Finding(table, self.method, self.null, self.provenance, score)

    def plot(
        self,
        kind: str = "effects",
        *,
        by: str | tuple[str, str] | None = None,
        value: str | None = None,
        q: float = 0.05,
        axes: Axes | None = None,
    ) -> Figure:
        """Draw the finding beside its null.

        Parameters
        ----------
        kind : {"effects", "layers", "bars", "curve", "heatmap", "topography"}
            Ranked effects over the band of the null, with a second panel by layer where a column or
            the addresses say layers; effects by layer alone; a bar for each row, beside the mean
            and two deviations of its null; the mean score over layers or positions; a matrix in
            colours, where what is found has a frame; or a map of EEG or MEG sensors on the head.
        by : str or tuple of str, optional
            Columns: whose values bars stand for, and those side by side; what a curve goes over,
            and its lines; rows and columns of a heatmap. By default units and labels; layers (or
            positions) and labels; heads and layers, layers and positions, or units and labels.
        value : str, optional
            The column that is drawn: by default the effect, or the score where bars and curves have
            the null beside them.
        q : float
            Rows with a corrected p (or p, where none is corrected) of at most this are marked.
        axes : matplotlib Axes, optional
            Where; by default a figure of its own, on no screen until shown.

        Returns
        -------
        matplotlib Figure
            That of the axes, or the new one.

        Raises
        ------
        UnknownName
            There is no such kind or column.
        NisslError
            The table has no columns that the kind could be drawn over.
        """
        from nissl.statistics.finding_figure import finding_figure

        options: dict[str, Any] = {"kind": kind, "by": by, "value": value, "q": q, "axes": axes}
        return finding_figure(self.table, self.score, **options, title=repr(self))

    def save(self, path: str | Path) -> Path:
        """Write the table and its provenance as one parquet file.

        Parameters
        ----------
        path : path
            Where to; ``.parquet`` is added where there is no suffix. The provenance is JSON in the
            file's metadata under ``nissl.finding``. The file is whole or absent.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        NisslError
            The file cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        path = path if path.suffix else path.with_suffix(".parquet")
        about = {
            "method": self.method,
            "null": self.null,
            "score": self.score,
            "provenance": {k: _plain(v) for k, v in self.provenance.items()},
        }
        arrow = pa.Table.from_pandas(self.table, preserve_index=False)
        arrow = arrow.replace_schema_metadata(
            {**(arrow.schema.metadata or {}), _METADATA: json.dumps(about).encode()}
        )
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)  # were it a link, it would be followed
            pq.write_table(arrow, partial)
            partial.replace(path)
        except OSError as error:
            raise NisslError(
                f"the finding cannot be written: {error.strerror or error}",
                where=str(path),
                do="give a path in a folder that you may write, on a disk with room",
            ) from error
        return path

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        found = ""
        if "q" in self.table:
            found = f", {int((self.table['q'] <= 0.05).sum()):,} with q <= 0.05"
        rows = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        return f"Finding of {self.method}: {self.score} of {rows}{found} (null: {self.null})"

    def _repr_html_(self) -> str:
        from nissl.statistics.finding_html import finding_html

        top = self.top(10).table
        return finding_html(
            top,
            self.score,
            title=repr(self),
            n_rows=len(self),
            about=self.provenance,
            one_a_unit="unit" in self.table and self.table["unit"].is_unique,
        )

    def _rank(self) -> list[str]:
        """Return the column of ranks, where there is one and it is of the whole table."""
        return ["rank"] if "rank" in self.table and self.table["rank"].is_unique else []

    def _with(self, table: pd.DataFrame) -> Finding:
        return Finding(
            table.reset_index(drop=True), self.method, self.null, self.provenance, self.score
        )


def load_finding(path: str | Path) -> Finding:
    """Read a Finding that was saved.

    Parameters
    ----------
    path : path
        A file written by ``Finding.save``.

    Returns
    -------
    Finding
        Equal to the one saved.

    Raises
    ------
    NisslError
        The file is missing, is not parquet, or holds no finding.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> found = Finding(pd.DataFrame({"unit": ["a"], "r": [0.5]}), method="m", null="none")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_finding(found.save(folder + "/found")).units
    ['a']
    """
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        arrow = pq.read_table(path)
    except FileNotFoundError as error:
        raise NisslError("there is no such file", where=str(path), do="check the path") from error
    except (OSError, ValueError) as error:
        raise NisslError(
            "this is not a whole parquet file", where=str(path), do="save the finding again"
        ) from error
    about = (arrow.schema.metadata or {}).get(_METADATA)
    if about is None:
        raise NisslError(
            "this parquet file holds no finding", where=str(path), do="read it with pandas"
        )
    told: dict[str, Any] = json.loads(about)
    return Finding(arrow.to_pandas(), **told)


def _plain(value: Any) -> str | int | float:
    """Make NumPy's scalars Python's own, which JSON can hold."""
    plain: str | int | float = value.item() if isinstance(value, np.generic) else value
    return plain
