"""A second atlas beside the first: its units in pairs with those of the first, and against what."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nissl.atlas import Atlas, compare_atlases
from nissl.atlas.page.statistic import measure_of
from nissl.atlas.thumbnails import FOLDER as PICTURES
from nissl.errors import NisslError
from nissl.web.index import Index
from nissl.web.inside import inside
from nissl.web.memory import release
from nissl.web.pairs import Pairs

if TYPE_CHECKING:
    import pandas as pd
    from fastapi import FastAPI

    from nissl.statistics import Finding

__all__ = ["Beside", "add_beside"]


class Beside:
    """A second atlas, which is matched to the first when it is first asked for.

    Parameters
    ----------
    index : Index
        Of the first atlas.
    atlas : Atlas
        The second.
    matches : Finding, DataFrame, path, "addresses" or "places", optional
        As `nissl.atlas.compare_atlases` takes them.

    Attributes
    ----------
    index : Index
        Of the second atlas.

    Examples
    --------
    >>> Beside(Index(before), after).state()  # doctest: +SKIP
    {'ready': False, 'says': 'Reading where units are highest'}
    """

    def __init__(self, index: Index, atlas: Atlas, matches: Any = None) -> None:
        self.first, self.index, self.matches = index, Index(atlas), matches
        self.says, self.error = "Matching the units of the two atlases", ""
        self._made: Pairs | None = None
        self._lock, self._started = threading.Lock(), False

    @cached_property
    def names(self) -> tuple[str, str]:
        """What the two atlases are called, so that they can be told apart."""
        atlases = self.first.atlas, self.index.atlas
        said = [str(x.about.get("network") or x.about.get("name") or x.path.name) for x in atlases]
        if said[0] == said[1]:
            said = [
                f"{name} ({x.path.resolve().name})" for name, x in zip(said, atlases, strict=True)
            ]
        if said[0] == said[1]:
            said = [str(x.path.resolve()) for x in atlases]
        return said[0], said[1]

    def state(self) -> dict[str, Any]:
        """Say how far the matching is; begin it if nobody has.

        Returns
        -------
        dict
            ``ready`` and ``says``; once it is ready also what the page draws at first.

        Raises
        ------
        NisslError
            The units could not be matched.
        """
        with self._lock:
            if not self._started:
                threading.Thread(target=self._match, name="beside", daemon=True).start()
            self._started = True
        if self.error:
            raise NisslError(self.error)
        if self._made is None:
            return {"ready": False, "says": f"{self.says} …"}
        pairs = self._made
        return {
            "ready": True,
            "says": self._head(),
            "against": against(pairs.found),
            "names": self.names,
            "n": len(pairs.table),
            "order": {"by": pairs.found.score, "up": _by_address(pairs.found)},
            "columns": pairs.columns(),
            "numbers": pairs.changing(),
            "kinds": pairs.kinds(),
        }

    @property
    def pairs(self) -> Pairs:
        """The pairs.

        Raises
        ------
        NisslError
            They are not matched yet.
        """
        if self._made is None:
            raise NisslError(self.error or "the units are being matched", do="ask again")
        return self._made

    def pair(self, row: int) -> dict[str, Any]:
        """Tell one pair, with the rows of its units and the places both are highest at.

        Parameters
        ----------
        row : int
            Its row in the table of pairs.

        Returns
        -------
        dict
            As `Pairs.pair` returns it, with ``rows``, ``samples``, ``measures`` and ``suffix`` of
            the second atlas's pictures.
        """
        told = self.pairs.pair(row)
        sides = (self.first, told["unit"]), (self.index, told["partner"])
        rows = [int((x.table["unit"] == unit).to_numpy().argmax()) for x, unit in sides]
        samples: list[int] = []
        if "shared" in self.pairs.table:
            high = [_samples(x.atlas, at) for (x, _), at in zip(sides, rows, strict=True)]
            samples = sorted(high[0] & high[1])
        return told | {
            "rows": rows,
            "samples": samples,
            "measures": [measure_of(x.atlas.about) for x, _ in sides],
            "suffix": self.index.atlas.about.get("pictures"),
            "folder": f"beside/{PICTURES}",
        }

    def _match(self) -> None:
        def tell(text: str) -> None:
            self.says = text

        try:
            found = compare_atlases(self.first.atlas, self.index.atlas, self.matches, tell=tell)
            self._made = Pairs(self.first.atlas, self.index.atlas, found)
            release()
        except NisslError as error:
            self.error = str(error)
        except Exception as error:  # whoever waits is told
            self.error = f"the atlases cannot be compared: {error}"
            raise

    def _head(self) -> str:
        about, (a, b) = self.pairs.found.provenance, self.names
        return (
            f"{a}, the first, beside {b}, the second. Matched {about['matched']}. "
            f"{about['n_paired_a']:,} of {about['n_a']:,} units of the first and "
            f"{about['n_paired_b']:,} of {about['n_b']:,} of the second have a partner."
        )


def add_beside(app: FastAPI, beside: Beside) -> None:
    """Answer ``/api/beside`` and what is under it, and the pictures of the second atlas.

    Parameters
    ----------
    app : FastAPI
        The server.
    beside : Beside
        The second atlas.
    """
    from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

    @app.get("/api/beside")
    def state() -> Any:
        return beside.state()

    @app.get("/api/beside/pairs")
    def pairs(
        where: str = "", sort: str = "", descending: bool = True, offset: int = 0, limit: int = 50
    ) -> Any:
        how: Any = {"sort": sort, "descending": descending, "offset": offset, "limit": limit}
        return beside.pairs.units(where, **how)

    @app.get("/api/beside/pairs.csv")
    def listed(where: str = "", sort: str = "", descending: bool = True) -> Any:
        text = beside.pairs.csv(where, sort=sort, descending=descending)
        return PlainTextResponse(text, media_type="text/csv")

    @app.get("/api/beside/points")
    def points(column: str, where: str = "") -> Any:
        return beside.pairs.points(column, where)

    @app.get("/api/beside/pair/{row}")
    def pair(row: int) -> Any:
        return beside.pair(row)

    @app.get("/api/beside/unit/{row}")
    def unit(row: int) -> Any:
        return beside.index.unit(row)

    @app.get(f"/beside/{PICTURES}/{{name}}")
    def picture(name: str) -> Any:
        path = inside(beside.index.atlas.path / PICTURES, name)
        return FileResponse(path) if path else JSONResponse({"error": "no such picture"}, 404)


def against(found: Finding) -> str:
    """Say in words what the pairs are held against.

    Parameters
    ----------
    found : Finding
        What `nissl.atlas.compare_atlases` returns.

    Returns
    -------
    str
        Sentences.
    """
    table, about, n = found.table, found.provenance, len(found)
    by_address = _by_address(found)
    said = []
    if "q" in table:
        sure = int((table["q"] <= 0.05).sum())
        if "paired_by_chance" in about:
            index = table["jaccard"][table["jaccard"] > 0]
            does = "share a place with their partner" if by_address else "find a partner"
            share, drawn = (float(about[f"{x}_by_chance"]) for x in ("paired", "jaccard"))
            units = n if by_address else int(about["n_searched"])
            said.append(
                f"{len(index) / units:.0%} of units {does}, at a mean Jaccard index of "
                f"{index.mean():.2g}; by chance, with the units of the second exchanged anew in "
                f"every document, {share:.0%} do, at {drawn:.2g}."
            )
        else:
            said.append(f"Null of the matches: {found.null}.")
        said.append(f"{sure:,} of {n:,} pairs are alike beyond chance (q at most 0.05).")
        if by_address and sure < 0.1 * n:
            said.append(
                "Few are: one address may not be one unit here. Match by places to find those "
                "that are alike (--matches places)."
            )
    else:
        said.append("No null is known of these pairs: nothing says which would match at random.")
    if by_address:
        said.append(
            "A change is a difference of two numbers. How much two runs of one training would "
            "differ by its noise alone is not known without a third atlas."
        )
    return " ".join(said)


def _by_address(found: Finding) -> bool:
    return str(found.provenance["matched"]).startswith("unit by unit")


def _samples(atlas: Atlas, row: int) -> set[int]:
    """Return the samples at which a unit is highest."""
    import pandas as pd

    path = atlas.path / "examples.parquet"
    table: pd.DataFrame = pd.read_parquet(
        path, columns=["sample", "sign"], filters=[("row", "==", row)]
    )
    return {int(sample) for sample in table.loc[table["sign"] > 0, "sample"]}
