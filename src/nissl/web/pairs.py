"""Queries of pairs of units: lists, numbers of both, kinds, one pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.atlas import Atlas
from nissl.atlas.damage import part
from nissl.atlas.page.degrees import in_degrees
from nissl.atlas.page.statistic import as_base64, float24, statistics_of
from nissl.errors import NisslError, require_known
from nissl.web.index import Index

if TYPE_CHECKING:
    from nissl.statistics import Finding

__all__ = ["Pairs"]

WORDS = ("kind", "token", "bigram", "language")  # that are compared as they are
SCORES = ("correlation", "shared", "jaccard", "q")
MARKED = 0.05  # a number is marked where it changed more than in all but this share of pairs


class Pairs(Index):
    """Queries of a table of pairs, as `Index` answers them of one atlas.

    Parameters
    ----------
    atlas : Atlas
        The first, whose sets can be filtered by.
    second : Atlas
        The other.
    found : Finding
        What `nissl.atlas.compare_atlases` returns of the two.
    """

    def __init__(self, atlas: Atlas, second: Atlas, found: Finding) -> None:
        super().__init__(atlas)
        self.found = found
        self.table = found.table
        for folder, prefix in (atlas.path, ""), (second.path, "b."):
            self._turn(folder, prefix)

    def _turn(self, folder: Path, prefix: str) -> None:
        """Make degrees of the preferred angles of one of the atlases."""
        own = [name for name in map(str, self.table) if name.startswith(prefix)]
        units = self.table[own].rename(columns=lambda name: name.removeprefix(prefix))
        path = folder / "tuning.parquet"
        turned, names = part(self.broken, path, lambda: in_degrees(folder, units), (units, []))
        self.table = self.table.assign(**{f"{prefix}{name}": turned[name] for name in names})
        self.degrees += [f"{prefix}{name}" for name in names]

    def columns(self) -> list[dict[str, Any]]:
        """Name the columns, what each says, and whether it holds numbers or words.

        Returns
        -------
        list of dict
            As of `Index`: the pair and its scores before all others.
        """
        told = {line["name"]: line for line in super().columns()}
        for name, line in told.items():
            first, _, plain = name.rpartition(".")
            meaning = told[plain]["meaning"] if first and plain in told else line["meaning"]
            before = {"b": "of the second: ", "change": "second less first: "}.get(first, "")
            line |= {"meaning": before + meaning if meaning else "", "shown": False}
        told["partner"]["meaning"] = "its unit in the second atlas"
        for name, meaning in {
            "shared": "places at which both are highest",
            "jaccard": "those, of the places at which either is highest",
            "q": "corrected p of the score, against its null",
        }.items():
            if name in told:
                told[name]["meaning"] = meaning
        scores = dict.fromkeys((self.found.score, *SCORES))
        first = ["unit", "partner", *(n for n in scores if n in told and "." not in n)]
        first += ["kind", "b.kind", *(n for n in ("token", "b.token") if n in told)]
        for name in first:
            told[name]["shown"] = True
        return [told[name] for name in dict.fromkeys((*first, *told))]

    def changing(self) -> list[dict[str, str]]:
        """Name the numbers that both atlases have, with the scale on which they are drawn.

        Returns
        -------
        list of dict
            ``name``, ``label``, ``scale`` and ``unit``, density before all others.
        """
        named = {s.name: s for s in statistics_of(self.table)}
        own = [n.removeprefix("change.") for n in map(str, self.table) if n.startswith("change.")]
        found = [vars(named[name]) for name in own if name in named]
        return sorted(found, key=lambda line: line["name"] != "density")

    def points(self, column: str, where: str) -> dict[str, Any]:
        """Return a number of both units of each pair that meets a condition.

        Parameters
        ----------
        column : str
            Its name.
        where : str
            As in `Index.units`.

        Returns
        -------
        dict
            ``a`` and ``b``, upper three bytes of float32, and ``pair``, which rows they are.
        """
        require_known("number of both", column, [line["name"] for line in self.changing()])
        rows = self._listed(where, "", descending=True)
        some = self.table.iloc[rows]
        return {
            "a": as_base64(float24(some[column])),
            "b": as_base64(float24(some[f"b.{column}"])),
            "pair": as_base64(rows.astype("<u4")),
        }

    def kinds(self) -> list[dict[str, Any]]:
        """Count the pairs of every kind in the first and in the second atlas.

        Returns
        -------
        list of dict
            ``a``, ``b`` and ``n``.
        """
        counted = self.table.groupby(["kind", "b.kind"], observed=True).size().reset_index(name="n")
        return [
            {"a": str(line["kind"]), "b": str(line["b.kind"]), "n": int(line["n"])}
            for line in counted.to_dict("records")
        ]

    def pair(self, row: int) -> dict[str, Any]:
        """Tell one pair: its scores, and every number of both with how unusual its change is.

        Parameters
        ----------
        row : int
            Its row in the table of pairs.

        Returns
        -------
        dict
            ``unit``, ``partner``, ``scores``, ``words`` and ``numbers``.

        Raises
        ------
        NisslError
            There is no such pair.
        """
        if not 0 <= row < len(self.table):
            raise NisslError(f"there is no pair {row}", do=f"give 0 to {len(self.table) - 1}")
        line = self.table.iloc[row]
        scores = dict.fromkeys((self.found.score, *SCORES, "p"))
        return {
            "unit": str(line["unit"]),
            "partner": str(line["partner"]),
            "scores": [
                [name, _finite(line[name])]
                for name in scores
                if name in self.table and "." not in name
            ],
            "words": [
                {"name": name, "a": str(line[name]), "b": str(line[f"b.{name}"])}
                for name in WORDS
                if name in self.table and f"b.{name}" in self.table
            ],
            "numbers": [
                {
                    **about,
                    "a": _finite(line[about["name"]]),
                    "b": _finite(line[f"b.{about['name']}"]),
                    "marked": self._unusual(about["name"], row),
                }
                for about in self.changing()
            ],
        }

    def _unusual(self, column: str, row: int) -> bool:
        """Whether a number changed more than in all but few pairs."""
        size = np.abs(self.table[f"change.{column}"].to_numpy(dtype=float))
        return bool(size[row] > 0 and (size >= size[row]).mean() <= MARKED)


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
