"""The design of a test: activity in batches of units, labels, exchangeability blocks, strata."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.statistics import pvalues
from nissl.statistics.exchangeability import (
    require_apart,
    require_exchangeable,
    require_stationary,
)
from nissl.statistics.nulls import LabelNull, PermutedLabels, codes
from nissl.statistics.phase_randomised import PhaseRandomised
from nissl.statistics.shift import CircularShift
from nissl.statistics.test import Test

__all__ = ["CONSTANT", "NOT_FINITE", "Design", "column_of"]

Array = NDArray[np.floating[Any]]
DRAWN_BYTES = 2 * 2**30  # the most that drawn labellings may take
NOT_FINITE = "not tested: holds NaN or infinity"
CONSTANT = "not tested: does not vary"


@dataclass
class Design:
    """The design of a test, read from a Recording or from bare arrays.

    Parameters
    ----------
    values : Recording or array, shape (n_samples, n_units)
        Activity.
    labels : array, shape (n_samples,)
        The labels.
    exchange, within : array, shape (n_samples,), optional
        The exchangeability block of every sample, and the stratum within which labels are permuted.
    coords : dict of str to array
        The other sample coordinates.
    about : dict of str to array
        Columns of the units, ``unit`` first.
    tested : list
        The code of each label tested against the rest; ``[None]`` where labels are numbers.
    single : bool
        One test a unit.
    aggregated : bool
        Labels of whole blocks are permuted, and constant in each: sums by block are enough.
    named : str
        The coordinate of the blocks, where they were given by name.

    Examples
    --------
    >>> Design.of(np.eye(4), [0, 0, 1, 1], None, PermutedLabels()).tested
    [1]
    """

    values: Any
    labels: NDArray[Any]
    exchange: NDArray[Any] | None
    within: NDArray[Any] | None
    coords: dict[str, NDArray[Any]]
    about: dict[str, NDArray[Any]]
    tested: list[Any]
    single: bool
    aggregated: bool = False
    named: str = ""

    @classmethod
    def of(
        cls, values: Any, labels: Any, exchange: Any, null: LabelNull | PhaseRandomised
    ) -> Design:
        """Read a design from what a user gives; strings name sample coordinates of a Recording."""
        rec = values if hasattr(values, "coords") else None
        coords, about = _sides(rec)
        values = np.asarray(values) if rec is None else rec
        if values.ndim != 2:
            raise NisslError(f"values have shape {values.shape}", do="give (n_samples, n_units)")
        n, n_units = values.shape
        if rec is None:
            about = {"unit": np.asarray([f"unit[{i}]" for i in range(n_units)])}
        exchange = getattr(null, "exchange", None) if exchange is None else exchange
        y = column_of("labels", labels, n, rec)
        b = None if exchange is None else column_of("exchange", exchange, n, rec)
        within = getattr(null, "within", None)
        strata = None if within is None else column_of("within", within, n, rec)
        named = exchange if isinstance(exchange, str) else ""
        design = cls(values, y, b, strata, coords, about, *_contrasts(y), named=named)
        if b is not None and isinstance(null, PermutedLabels) and null.permutes_blocks(y, b):
            design.aggregated = bool(np.array_equal(y[design.first][design.group], y))
        return design

    @property
    def group(self) -> NDArray[np.int64]:
        """The block of every sample as 0, 1, ...; each sample its own where there is none."""
        return np.arange(len(self.labels)) if self.exchange is None else codes(self.exchange)

    @property
    def first(self) -> NDArray[np.int64]:
        """The first sample of every block."""
        return np.unique(self.group, return_index=True)[1].astype(np.int64)

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return len(self.first)

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return int(self.values.shape[1])

    def symmetric(self, null: LabelNull | PhaseRandomised) -> bool:
        """Say whether every labelling has a mirror image: two labels swapped, numbers reversed."""
        if not isinstance(null, PermutedLabels):
            return False
        numbers = self.tested == [None]
        y = np.asarray(self.labels, dtype=float) if numbers else codes(self.labels)
        strata = np.zeros(len(y), np.int64) if self.within is None else codes(self.within)
        if self.aggregated:
            y, strata = y[self.first], strata[self.first]
        elif self.exchange is not None:
            if null.permutes_blocks(self.labels, self.exchange):
                return False  # sequences of labels are permuted
            strata = codes(self.group * (strata.max() + 1) + strata)
        if not numbers and y.max() != 1:
            return False
        up = np.lexsort((y, strata))
        down = np.lexsort((-y, strata))
        return bool(np.ptp(y[up] + y[down]) <= 1e-12 * np.ptp(y))

    def centred(self, null: LabelNull | PhaseRandomised, *, linear: bool) -> bool:
        """Say whether a score without effect has a mean of exactly 0 over all labellings.

        A score that is linear in the labels has, where every sample is as likely to have any label;
        one that only changes its sign with them, where every labelling has a mirror image.
        """
        even = self.exchange is None or (
            self.aggregated and len(np.unique(np.bincount(self.group))) == 1
        )
        free = isinstance(null, PermutedLabels) and even and self.within is None
        return self.symmetric(null) or (linear and free)

    def null_name(self, null: LabelNull | PhaseRandomised) -> str:
        """Return what the null is called, the blocks that it was given included."""
        blocks = self.named or "(given)"
        if self.exchange is None:
            return null.name
        if isinstance(null, PermutedLabels) and null.exchange is None:
            return replace(null, exchange=blocks).name
        if isinstance(null, CircularShift | PhaseRandomised) and null.within is None:
            return replace(null, within=blocks).name
        return null.name

    def rank_labels(self) -> None:
        """Put middle ranks in place of labels that are numbers."""
        from scipy.stats import rankdata

        self.labels = np.asarray(rankdata(self.labels), dtype=float)

    def read(self, a: int, b: int) -> tuple[Array, NDArray[np.str_]]:
        """Return units a to b in float64, and why some cannot be tested."""
        part = self.values[:, a:b]
        x = np.array(getattr(part, "values", part), dtype=float)
        note = np.full(x.shape[1], "", dtype="<U40")
        finite = np.isfinite(x).all(axis=0)
        x[:, ~finite] = 0.0
        note[np.ptp(x, axis=0) == 0] = CONSTANT
        note[~finite] = NOT_FINITE
        return x, note

    def require_exchangeable(self, null: LabelNull | PhaseRandomised) -> None:
        """Refuse to permute dependent samples one by one."""
        # Four stretches of 64 neighbouring units: on disk these are few chunks.
        starts = np.linspace(0, max(self.n_units - 64, 0), 4).astype(int)
        some = np.unique(starts[:, None] + np.arange(64))
        some = some[some < self.n_units]
        part = self.values[:, some]
        x = np.asarray(getattr(part, "values", part), dtype=float)
        if isinstance(null, CircularShift | PhaseRandomised):
            stretch = self.exchange if self.within is None else self.within
            require_stationary(x, self.labels, exchange=stretch, where=null.name)
        elif not isinstance(null, PermutedLabels):
            return
        elif self.exchange is not None and null.permutes_blocks(self.labels, self.exchange):
            require_apart(x, self.labels, self.exchange, name=self.named)
        else:
            require_exchangeable(
                x, self.labels, coords=self.coords, exchange=self.exchange, within=self.within
            )

    def draw(
        self, null: LabelNull | PhaseRandomised, n: int, seed: int, *, every: bool = False
    ) -> NDArray[Any]:
        """Return the labels and n (or all) labellings, one a row; of blocks where whole."""
        labels, exchange, within = self.labels, self.exchange, self.within
        if self.aggregated:
            labels, exchange = labels[self.first], None
            within = None if within is None else within[self.first]
        y = labels if self.tested == [None] else codes(labels).astype(np.int16)
        if isinstance(null, PhaseRandomised):
            if self.tested != [None]:
                raise NisslError(
                    "labels name groups, and phases are of numbers",
                    where=null.name,
                    do="use score='correlation' or 'spearman' of numbers, or CircularShift",
                )
            y = labels.astype(float)
        need = (n + 1) * len(y) * y.dtype.itemsize
        if need > DRAWN_BYTES:
            raise NisslError(
                f"{n:,} labellings of {len(y):,} samples take {need / 2**30:.1f} GB",
                do="aggregate to one sample a block, or use fewer permutations",
            )
        drawn = np.empty((n + 1, len(y)), dtype=y.dtype)
        drawn[0] = y
        if every and isinstance(null, PermutedLabels):
            drawn[1:] = y[null.every(labels, exchange=exchange, within=within)]
            return drawn
        for a in range(0, n, 256):
            m = min(256, n - a)
            where: dict[str, Any] = {
                "exchange": exchange,
                "within": within,
                "seed": seed,
                "start": a,
            }
            drawn[a + 1 : a + 1 + m] = (
                null.draw_series(y, m, **where)
                if isinstance(null, PhaseRandomised)
                else y[null.draw(labels, m, **where)]
            )
        return drawn

    def of_samples(self, drawn: NDArray[Any]) -> NDArray[Any]:
        """Return labellings of blocks as labellings of samples."""
        return np.asarray(drawn[:, self.group]) if self.aggregated else drawn

    def table(
        self,
        rows: list[list[dict[str, NDArray[Any]]]],
        maxima: Array,
        test: Test | None,
    ) -> Any:
        """Put the parts together, corrected over all that was tested."""
        import pandas as pd

        parts = []
        for label, made in zip(self.tested, rows, strict=True):
            columns = {c: np.concatenate([m[c] for m in made]) for c in made[0]}
            about = dict(self.about)
            if not self.single:
                about["label"] = np.unique(self.labels)[label]
            parts.append(pd.DataFrame({**about, **columns}))
        table = pd.concat(parts, ignore_index=True)
        far, tie = (np.asarray(table.pop(name)) for name in ("far", "tie"))
        rank = np.empty(len(table), np.int64)
        rank[np.lexsort((-tie, -np.round(far, 9)))] = np.arange(1, len(table) + 1)
        table["rank"] = rank
        if test is None:
            return table
        extremity = np.asarray(table.pop("extremity"))
        if test.correction is not None:
            tested = np.asarray(table["note"] == "")
            q = np.ones(len(table))
            q[tested] = pvalues.corrected(
                np.asarray(table["p"])[tested],
                extremity[tested],
                maxima,
                test,
            )
            table.insert(list(table.columns).index("p") + 1, "q", q)
        return table


def _sides(rec: Any) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the sample coordinates and the unit columns of a Recording, empty without one."""
    if rec is None:
        return {}, {}
    from nissl.recording import check, units_table

    check(rec)
    names = [str(n) for n, c in rec.coords.items() if c.dims == ("sample",)]
    table = units_table(rec)
    return (
        {n: np.asarray(rec[n].values) for n in names},
        {str(c): np.asarray(table[c]) for c in table.columns},
    )


def column_of(name: str, given: Any, n: int, rec: Any) -> NDArray[Any]:
    """Return a column of one value a sample or unit.

    Parameters
    ----------
    name : str
        What the column is for, told where it does not fit.
    given : str or array, shape (n,)
        The column; a string names a sample coordinate.
    n : int
        How long it must be.
    rec : Recording or None
        Where the coordinate is.

    Returns
    -------
    array, shape (n,)
        The column, names put back.

    Raises
    ------
    NisslError
        Another length, or a name without a Recording.

    Examples
    --------
    >>> column_of("labels", [1, 0], 2, None).tolist()
    [1, 0]
    """
    if isinstance(given, str):
        if rec is None:
            raise NisslError(
                f"'{given}' names a sample coordinate, but a bare array has none",
                where=name,
                do="give the column itself, or a Recording",
            )
        from nissl.recording.labels import coordinate

        given = coordinate(rec, given)
    column = np.asarray(given)
    if column.dtype.kind == "O":
        column = _plain(column, name)
    if column.shape != (n,):
        raise NisslError(
            f"{name} has shape {column.shape}, but ({n},) is needed", where=name, do="one for each"
        )
    return column


def _plain(column: NDArray[Any], name: str) -> NDArray[Any]:
    """Return Python's objects (those of a table) as truths, numbers or words."""
    plain = np.asarray(column.tolist())
    kinds = {str if isinstance(v, str) else type(v) for v in column.tolist()}
    if plain.dtype.kind == "O" or (str in kinds and len(kinds) > 1):
        raise NisslError(
            f"{name} holds {' and '.join(sorted(k.__name__ for k in kinds))}",
            where=name,
            do="give values of one kind, and leave out samples without one",
        )
    return plain


def _contrasts(y: NDArray[Any]) -> tuple[list[Any], bool]:
    """Return the codes of the labels that are tested, and whether it is one test a unit."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise NisslError("labels hold NaN or infinity", do="leave those samples out")
    found = np.unique(y)
    if len(found) < 2:
        raise NisslError("all samples have the same label", do="give labels that differ")
    if y.dtype.kind in "biuf" and len(found) == 2 and set(found.tolist()) == {0, 1}:
        return [1], True
    return ([None], True) if y.dtype.kind == "f" else (list(range(len(found))), False)
