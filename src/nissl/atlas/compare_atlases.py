"""Two atlases side by side: checkpoints, before and after finetuning, a network and a brain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.given_matches import given_matches
from nissl.atlas.places import places_of, without_common
from nissl.atlas.shared_places import NULL, Shared, matched_places, shared_places
from nissl.errors import NisslError
from nissl.statistics import Finding

if TYPE_CHECKING:
    import pandas as pd

    from nissl.atlas.reader import Atlas

__all__ = ["compare_atlases"]

Array = NDArray[Any]

WAYS = ("addresses", "places")
# Numbers that say which a unit is, or of which a difference says nothing.
WITHOUT_CHANGE = ("layer", "index", "count", "nonfinite", "first_nonfinite", "token_id")
ENDS_WITHOUT = ("_p", "_q", "_preferred", "_first", "_second")


@dataclass(frozen=True)
class _Pairs:
    """Pairs of rows, what was said of each, and in words how they came about."""

    rows: Array
    partners: Array
    said: pd.DataFrame
    score: str
    null: str
    matched: str
    about: dict[str, float] = field(default_factory=dict)


def compare_atlases(
    a: Atlas,
    b: Atlas,
    matches: Finding | pd.DataFrame | str | Path | None = None,
    *,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> Finding:
    """Compare the units of two atlases, pair by pair.

    Parameters
    ----------
    a, b : Atlas
        What `nissl.atlas.open_atlas` opens.
    matches : Finding, DataFrame, path, "addresses" or "places", optional
        Which units are pairs: what `nissl.alignment.match` returns or saved, or a table with the
        columns ``unit`` and ``partner`` (parquet or CSV); units of one address; or units that are
        high at the same places of one text, each the best of the other. By default addresses where
        every site that both have is of one size, else places.
    seed : int
        Of the draws of the null.
    tell : callable, optional
        Is told in a few words what is being done.

    Returns
    -------
    Finding
        A row for each pair, in the order of `a`: ``unit``, ``partner``, and the columns of `a`;
        those of `b` as ``b.NAME``; the difference of numbers as ``change.NAME``. Where both read
        one text, ``shared``, the places at which both are highest, and their Jaccard index
        ``jaccard``, with effect, p and q against the same with units of `b` exchanged anew in every
        document. Of matches that were given, their score, p and q. Its provenance says in words how
        units were ``matched``.

    Raises
    ------
    NisslError
        Units cannot be matched, or matches cannot be read.

    Notes
    -----
    Units of one number are the same where one network was trained further. Of networks that were
    trained apart the number says nothing: match these by places, or by activity.

    P is that of a unit drawn at random: the null is pooled over units. That a pair shares more
    places than chance does not say that training changed nothing in it; how much two runs of one
    training differ is not known from two atlases.

    Examples
    --------
    >>> before, after = (open_atlas(f"out/{x}") for x in ("before", "after"))  # doctest: +SKIP
    >>> compare_atlases(before, after).top(20, by="change.density")  # doctest: +SKIP
    """
    say = tell or (lambda text: None)
    document = _one_text(a, b)
    if isinstance(matches, str) and matches in WAYS:
        way = matches
    elif matches is not None:
        way = "given"
    else:
        way = "addresses" if _same_sites(a, b) else "places"
    if way == "given":
        pairs = _given(a, b, matches)
    elif way == "addresses":
        pairs = _by_address(a, b, document, seed, say)
    else:
        pairs = _by_places(a, b, document, seed, say)
    say("Joining the tables")
    table, score = _joined(_units(a), _units(b), pairs)
    about: dict[str, str | int | float] = {
        "matched": pairs.matched,
        "n_a": _length(a),
        "n_b": _length(b),
        "n_paired_a": len(np.unique(pairs.rows)),
        "n_paired_b": len(np.unique(pairs.partners)),
        "seed": seed,
        **pairs.about,
    }
    return Finding(table, "compare_atlases", pairs.null, about, score)


def _given(a: Atlas, b: Atlas, matches: Any) -> _Pairs:
    found = given_matches(matches, *(_units(x, ["unit"])["unit"] for x in (a, b)))
    said = f"as given{f' by {Path(matches).name}' if isinstance(matches, (str, Path)) else ''}"
    said += f"; left out: {found.note}" if found.note else ""
    order = np.argsort(found.rows, kind="stable")
    told = found.said.iloc[order].reset_index(drop=True)
    null = found.null if "p" in told else "none"
    return _Pairs(found.rows[order], found.partners[order], told, found.score, null, said)


def _by_address(
    a: Atlas, b: Atlas, document: Array | None, seed: int, tell: Callable[[str], None]
) -> _Pairs:
    import pandas as pd

    first, second = (pd.Index(_units(x, ["unit"])["unit"]) for x in (a, b))
    partner = second.get_indexer(first)
    rows = np.flatnonzero(partner >= 0)
    if not len(rows):
        raise NisslError("the atlases have no address in common", do=_advice(document is not None))
    said = "unit by unit, by their addresses"
    if document is None:
        return _Pairs(rows, partner[rows], pd.DataFrame(index=range(len(rows))), "", "none", said)
    pairs = rows, partner[rows].astype(np.int64)
    found = shared_places(places_of(a), places_of(b), document, pairs, seed=seed, tell=tell)
    return _scored(found, said)


def _by_places(
    a: Atlas, b: Atlas, document: Array | None, seed: int, tell: Callable[[str], None]
) -> _Pairs:
    if document is None:
        raise NisslError(
            "the units of the two atlases cannot be matched: their addresses differ, and they are "
            "not of one text",
            where=f"{a.path} and {b.path}",
            do=_advice(False),
        )
    tell("Reading where units are highest")
    first, second, n_out = without_common(places_of(a), places_of(b), len(document))
    found = matched_places(first, second, document, seed=seed, tell=tell)
    said = "by what they are high at in one text, each the best of the other"
    if n_out:
        said += f"; the {n_out:,} places at which the most units are high are left out"
    if not len(found.rows):
        raise NisslError("no units share a place", do=_advice(True))
    return _scored(found, said)


def _scored(found: Shared, said: str) -> _Pairs:
    import pandas as pd

    tested = found.tested()
    if not tested:
        said += "; not tested against chance: the text has too few documents"
    told = pd.DataFrame({"shared": found.shared, "jaccard": found.jaccard, **tested})
    about: dict[str, float] = {}
    if found.null is not None:
        drawn = {"paired_by_chance": (found.null > 0).mean(), "jaccard_by_chance": found.mean_null}
        about = {"n_draws": len(found.null), "n_searched": found.n_tested} | {
            name: float(x) for name, x in drawn.items()
        }
    null = NULL if tested else "none"
    return _Pairs(found.rows, found.partners, told, "jaccard", null, said, about)


def _joined(a: pd.DataFrame, b: pd.DataFrame, pairs: _Pairs) -> tuple[pd.DataFrame, str]:
    """Return what is known of either unit of each pair, by how much they differ, and the score."""
    import pandas as pd

    first = a.iloc[pairs.rows].reset_index(drop=True)
    second = b.iloc[pairs.partners].reset_index(drop=True)
    renamed = {name: f"match.{name}" for name in pairs.said if name in first}
    said = pairs.said.rename(columns=renamed)
    table = pd.concat(
        [
            first[["unit"]],
            second["unit"].rename("partner"),
            said,
            first.drop(columns="unit"),
            second.drop(columns="unit").rename(columns="b.{}".format),
        ],
        axis=1,
    )
    change = {
        f"change.{name}": second[name].astype(float) - first[name].astype(float)
        for name in first
        if name in second and _differs(str(name), first[name], second[name])
    }
    score = renamed.get(pairs.score, pairs.score) or "change.density"
    return pd.concat([table, pd.DataFrame(change)], axis=1), score


def _units(atlas: Atlas, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the columns that hold one number or word a unit, or some of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = atlas.path / "units.parquet"
    try:
        if columns is None:
            schema = pq.read_schema(path)
            columns = [field.name for field in schema if not pa.types.is_nested(field.type)]
            columns = [name for name in columns if name != "__index_level_0__"]
        units: pd.DataFrame = pq.read_table(path, columns=columns).to_pandas()
    except (OSError, ValueError) as error:
        raise NisslError(
            f"the table cannot be read: {error}", where=str(path), do="make the atlas again"
        ) from error
    return units.reset_index(drop=True)


def _length(atlas: Atlas) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(atlas.path / "units.parquet").num_rows)


def _differs(name: str, *columns: pd.Series) -> bool:
    """Whether a difference of these numbers says anything."""
    numbers = all(c.dtype.kind in "iuf" for c in columns)
    return numbers and name not in WITHOUT_CHANGE and not name.endswith(ENDS_WITHOUT)


def _same_sites(a: Atlas, b: Atlas) -> bool:
    """Whether the atlases have sites in common, all of the same size."""
    first, second = (_units(x, ["site"])["site"].value_counts() for x in (a, b))
    common = first.index.intersection(second.index)
    return len(common) > 0 and bool((first[common] == second[common]).all())


def _one_text(a: Atlas, b: Atlas) -> Array | None:
    """Return the document of each sample where both atlases are of one text, else None."""
    found = []
    for atlas in (a, b):
        if not (atlas.path / "arrays.zarr").exists():
            return None
        arrays = atlas.arrays
        if not all(name in arrays for name in ("token", "document", "position")):
            return None
        found.append([np.asarray(arrays[name]) for name in ("token", "document", "position")])
    same = all(np.array_equal(x, y) for x, y in zip(*found, strict=True))
    return found[0][1].astype(np.int64) if same else None


def _advice(one_text: bool) -> str:
    first = "match by places" if one_text else "make both atlases of one text"
    return (
        f"{first}, or give matches: a Finding of nissl.alignment.match, of recordings of the same "
        "stimuli, saved with .save(PATH)"
    )
