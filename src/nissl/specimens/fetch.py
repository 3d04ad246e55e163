"""Fetch a specimen into the cache: once, verified, atomically, and by one process at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nissl.cache import cache_dir
from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.specimens.catalogue import specimen
from nissl.specimens.clients import download
from nissl.specimens.pinned import Source, Specimen

__all__ = ["convert_once", "fetch"]

Client = Callable[[Source, Path, Callable[[float], None]], Path]


def fetch(name: str, *, progress: bool = True) -> Path:
    """Return the folder of a specimen's files, fetching what is not in the cache.

    Parameters
    ----------
    name : str
        A specimen's name.
    progress : bool
        Show how much has arrived, in MB, with rate and time left.

    Returns
    -------
    Path
        A folder in which the wanted files have the paths they have in their archives.

    Raises
    ------
    UnknownName
        There is no such specimen.
    NisslError
        No network, no client (npm), a checksum that differs, a full disk or a cache that cannot be
        written. Parts that arrived whole are kept, and the next call goes on from them.

    Examples
    --------
    >>> fetch("smollm2").is_dir()  # doctest: +SKIP
    True
    """
    return fetch_specimen(specimen(name), client=download, progress=progress)


def fetch_specimen(entry: Specimen, *, client: Client, progress: bool = True) -> Path:
    """Fetch one specimen with a given client: what `fetch` does, apart from the names.

    Parameters
    ----------
    entry : Specimen
        What to fetch.
    client : callable
        ``client(source, folder, advance)`` brings one artefact, unverified.
    progress : bool
        Show a bar.

    Returns
    -------
    Path
        The folder of its files.

    Raises
    ------
    NisslError
        As `fetch`.

    Examples
    --------
    >>> fetch_specimen(specimen("worm"), client=download)  # doctest: +SKIP
    """
    home = entry.home
    if not entry.sources:
        raise NisslError(f"'{entry.name}' is made here and has no files", do="nissl.load makes it")
    if entry.is_cached():
        return home / "files"
    with _disk(home), lock(home):
        if entry.is_cached():  # another process fetched it while this one waited
            return home / "files"
        partial = home.with_name(f"{entry.name}.partial")
        _forget_other(partial, entry)
        _check_space(partial, entry)
        total = round(entry.size / 1e6, 1)
        with progress_bar(
            f"Fetching {entry.name}", total=total, unit="MB", progress=progress
        ) as advance:
            for number, source in enumerate(entry.sources):
                _bring(source, partial, number, client, advance)
        (partial / "manifest.json").write_text(json.dumps(_manifest(entry), indent=1))
        shutil.rmtree(home, ignore_errors=True)
        partial.rename(home)
    return home / "files"


def convert_once(name: str, version: str, build: Callable[[Path], None]) -> Path:
    """Return a folder made once from a specimen's files, and kept in the cache.

    Parameters
    ----------
    name : str
        The specimen.
    version : str
        The converter's version: change it and the folder is made anew.
    build : callable
        ``build(folder)`` writes into an empty folder; called only where there is none yet.

    Returns
    -------
    Path
        The folder, whole: it is renamed into place when `build` has returned.

    Raises
    ------
    NisslError
        The disk is full or the cache cannot be written.

    Examples
    --------
    >>> convert_once("smollm2", "1", lambda folder: None)  # doctest: +SKIP
    """
    entry = specimen(name)
    folder = cache_dir("converted") / f"{name}-{version}-{entry.digest[:8]}"
    if _is_as_written(folder):
        return folder
    with _disk(folder), lock(folder):
        if not _is_as_written(folder):
            shutil.rmtree(folder, ignore_errors=True)
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            build(partial)
            (partial / SUMS).write_text(json.dumps(_sums(partial)))
            partial.rename(folder)
            _seen.add(folder)
    return folder


SUMS = "checksums.json"
_seen: set[Path] = set()  # what this process has compared already


def _is_as_written(folder: Path) -> bool:
    """Tell whether a converted folder is there, no byte of it changed."""
    if folder in _seen or not folder.is_dir():
        return folder.is_dir()
    sums = folder / SUMS
    if not sums.exists():  # converted before checksums were kept
        with suppress(OSError):
            sums.write_text(json.dumps(_sums(folder)))
    else:
        try:
            kept = json.loads(sums.read_bytes())
        except (OSError, ValueError, RecursionError):
            kept = None
        if kept != _sums(folder):
            warnings.warn(f"{folder} is damaged, and is converted again", stacklevel=3)
            return False
    _seen.add(folder)
    return True


def _sums(folder: Path) -> dict[str, int]:
    """Return the CRC-32C of every file, which is as quick as reading it."""
    import google_crc32c

    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS):
        crc = 0
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                crc = google_crc32c.extend(crc, part)
        found[path.relative_to(folder).as_posix()] = crc
    return found


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes from the same folder while the block runs; wait where one has it.

    Parameters
    ----------
    folder : Path
        What is to be made. The lock is a file beside it, which the system frees when a process
        ends, however it ends.

    Yields
    ------
    None

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as at, lock(Path(at) / "model"):
    ...     pass
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        yield


def _bring(
    source: Source, partial: Path, number: int, client: Client, advance: Callable[[float], None]
) -> None:
    """Download, verify and unpack one artefact, unless an earlier call has."""
    from nissl.specimens.unpack import unpack

    whole = partial / "whole" / f"{number:03d}-{source.sha256}"
    if whole.exists():
        advance(source.size / 1e6)
        return
    incoming = partial / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    artefact = client(source, incoming, advance)
    found = _sha256(artefact)
    if found != source.sha256:
        size = artefact.stat().st_size
        shutil.rmtree(incoming)
        short = f"; it has {size} of {source.size} bytes" if size != source.size else ""
        raise NisslError(
            f"the checksum of {source.file} differs{short}",
            where=f"sha256 {found}, expected {source.sha256}",
            do="fetch it again; if it differs again, do not trust this registry or proxy",
        )
    unpack(artefact, partial / "files", wanted=source.wanted)
    whole.parent.mkdir(exist_ok=True)
    whole.touch()
    shutil.rmtree(incoming)


def _forget_other(partial: Path, entry: Specimen) -> None:
    """Drop what an earlier version, pinned otherwise, had begun to fetch."""
    begun = partial / "digest"
    if partial.exists() and (not begun.exists() or begun.read_text() != entry.digest):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    begun.write_text(entry.digest)


def _check_space(partial: Path, entry: Specimen) -> None:
    needed = 2 * entry.size  # the artefacts and what is unpacked from them
    free = shutil.disk_usage(partial).free
    if free < needed:
        raise NisslError(
            f"{entry.name} needs {needed / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB free",
            where=str(partial.parent),
            do="free some space, or set NISSL_CACHE to a folder on another disk",
        )


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Say what an error of the disk means; anything else passes."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NisslError(
                "the disk is full",
                where=str(folder.parent),
                do="free some space, or set NISSL_CACHE to a folder on another disk",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NisslError(
                f"the cache cannot be written: {os.strerror(error.errno)}",
                where=str(error.filename or folder.parent),
                do="set NISSL_CACHE to a folder that you may write",
            ) from error
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(entry: Specimen) -> dict[str, object]:
    """What is kept beside the files: whence they came, under which licence."""
    sources = [
        {"registry": s.registry, "package": s.package, "version": s.version, "sha256": s.sha256}
        for s in entry.sources
    ]
    return {
        "name": entry.name,
        "digest": entry.digest,
        "licence": entry.licence,
        "about": entry.about,
        "sources": sources,
    }
