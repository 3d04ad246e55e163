"""An atlas on disk, opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.atlas.damage import readable
from nissl.atlas.tables import KINDS
from nissl.atlas.unit_notes import UnitNotes
from nissl.errors import NisslError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Atlas", "Unit", "open_atlas"]

TABLES = ("units.parquet", "atlas.json")
BEGUN = ("atlas.state", "atlas.partial")  # what `nissl atlas` leaves where it was stopped


def open_atlas(path: str | Path) -> Atlas:
    """Open an atlas.

    Parameters
    ----------
    path : str or Path
        Its folder.

    Returns
    -------
    Atlas
        Its tables are read when they are asked for.

    Raises
    ------
    NisslError
        The folder is not an atlas, or its making has not ended.

    Examples
    --------
    >>> open_atlas("nowhere")
    Traceback (most recent call last):
    nissl.errors.NisslError: this is not an atlas: units.parquet is missing
      where: nowhere
      do: make one with `nissl atlas NETWORK --text TEXT --out FOLDER`
    """
    folder = Path(path)
    for name in TABLES:
        if not (folder / name).exists():
            if any((folder / begun).exists() for begun in BEGUN):
                raise NisslError(
                    f"the making of this atlas has not ended: {name} is missing",
                    where=str(folder),
                    do="wait for it, or run the same `nissl atlas` again: it goes on where it was",
                )
            raise NisslError(
                f"this is not an atlas: {name} is missing",
                where=str(folder),
                do="make one with `nissl atlas NETWORK --text TEXT --out FOLDER`",
            )
    return Atlas(folder)


@dataclass(frozen=True)
class Atlas:
    """An atlas on disk; tables are read when they are asked for.

    Parameters
    ----------
    path : Path
        Its folder; `nissl.atlas.tables` says what is in it.

    Examples
    --------
    >>> Atlas(Path("out/smollm2")).page.name
    'index.html'
    """

    path: Path

    def __repr__(self) -> str:
        about = self.about
        name = about.get("network") or about.get("name") or self.path.name
        return f"Atlas({name}: {about.get('n_units', 0):,} units; {self.page})"

    def _repr_html_(self) -> str:
        from nissl.atlas.page.notebook import atlas_html

        return atlas_html(self.path, self.units, self.about)

    @property
    def page(self) -> Path:
        """The page to open in a browser."""
        return self.path / "index.html"

    @cached_property
    def about(self) -> dict[str, Any]:
        """Where it came from: settings, versions, counts, rules, seconds."""
        path = self.path / "atlas.json"
        with readable(path):
            return dict(json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def units(self) -> pd.DataFrame:
        """One row a unit: what the unit is."""
        return self._table("units")

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """The tokens each unit prefers, with effect and corrected p."""
        return self._table("tokens")

    @cached_property
    def bigrams(self) -> pd.DataFrame:
        """The pairs of neighbouring tokens each unit prefers."""
        return self._table("bigrams")

    @cached_property
    def tuning(self) -> pd.DataFrame:
        """What each unit of a recording is tuned to, with its null."""
        return self._table("tuning")

    @property
    def notes(self) -> UnitNotes:
        """Notes on units, and sets of them, as they are on disk now."""
        return UnitNotes.read(self.path)

    @property
    def arrays(self) -> Any:
        """Histograms and what every sample was, as a zarr group."""
        import zarr

        path = self.path / "arrays.zarr"
        with readable(path):
            return zarr.open_group(path, mode="r")

    def unit(self, unit: str) -> Unit:
        """Return one unit; a notebook shows its card.

        Parameters
        ----------
        unit : str
            Its address, such as ``blocks.3.mlp.neurons[812]``.

        Returns
        -------
        Unit
            What the page tells of it.

        Raises
        ------
        UnknownName
            The atlas has no such unit.
        """
        return Unit(self, self._row(unit))

    def examples(self, unit: str) -> pd.DataFrame:
        """Return the most extreme samples of one unit.

        Parameters
        ----------
        unit : str
            Its address, such as ``blocks.3.mlp.neurons[812]``.

        Returns
        -------
        DataFrame
            One row for each sign and rank.

        Raises
        ------
        UnknownName
            The atlas has no such unit.
        """
        return self._table("examples", filters=[("row", "==", self._row(unit))])

    def summary(self) -> pd.DataFrame:
        """Return how many units of each kind every site has.

        Returns
        -------
        DataFrame
            One row a site: its units, their median density, and one column for each kind.
        """
        import pandas as pd

        units = self.units
        grouped = units.groupby("site", sort=False)
        table = pd.DataFrame({"units": grouped.size()})
        table["density"] = grouped["density"].median().round(3)
        for kind in KINDS:
            here = units.loc[units["kind"] == kind, "site"].value_counts()
            if len(here):
                table[kind] = here.reindex(table.index, fill_value=0)
        return table.reset_index()

    def _row(self, unit: str) -> int:
        rows = self.units.index[self.units["unit"] == unit]
        if not len(rows):
            raise UnknownName("unit", unit, self.units["unit"], do="see the table `units`")
        return int(rows[0])

    def _table(self, name: str, **options: Any) -> pd.DataFrame:
        import pandas as pd

        path = self.path / f"{name}.parquet"
        if not path.exists():
            raise NisslError(f"this atlas has no table of {name}", where=str(path))
        with readable(path):
            return pd.read_parquet(path, **options)


@dataclass(frozen=True)
class Unit:
    """One unit of an atlas; a notebook shows its card, as the page does.

    Parameters
    ----------
    atlas : Atlas
        The atlas.
    row : int
        Its row in the table ``units``.

    Examples
    --------
    >>> Atlas(Path("out/smollm2")).unit("blocks.3.mlp.neurons[812]")  # doctest: +SKIP
    """

    atlas: Atlas
    row: int

    def __repr__(self) -> str:
        said = "".join(part if isinstance(part, str) else part[0] for part in self.card["reason"])
        return f"Unit({self.card['name']}: {said})"

    @cached_property
    def card(self) -> dict[str, Any]:
        """What the page tells of it, as plain data.

        Why it is of its kind, statistics, histogram, where it is highest and lowest, what it
        responds to with effect and q, curves with their null, what it writes, neighbours.
        """
        from nissl.atlas.page.notebook import unit_card

        held = self.atlas
        found: dict[str, Any] = unit_card(held.path, held.units, held.about, self.row)
        return found

    def _repr_html_(self) -> str:
        from nissl.atlas.page.notebook import unit_html

        return unit_html(self.atlas.path, self.atlas.about, self.card)
