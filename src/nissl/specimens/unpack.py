"""Unpack the wanted members of an archive, none of which may leave the folder."""

from __future__ import annotations

import errno
import fnmatch
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from nissl.errors import NisslError, first_line

__all__ = ["unpack"]


def unpack(archive: Path, folder: Path, *, wanted: tuple[str, ...] = ("*",)) -> list[Path]:
    """Unpack the wanted members of a wheel, zip, tar or Debian package.

    Parameters
    ----------
    archive : Path
        ``.whl``, ``.zip``, ``.tar.*``, ``.tgz`` or ``.deb``.
    folder : Path
        Where to; members keep their path in the archive.
    wanted : tuple of str
        Shell patterns (``*`` also crosses folders), each of which must match a member; one that
        begins with ``!`` leaves out what it matches.

    Returns
    -------
    list of Path
        The files that were written. Links and devices are never written.

    Raises
    ------
    NisslError
        A wanted member's path leaves the folder, the archive is damaged, or a pattern matches
        nothing.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> with tempfile.TemporaryDirectory() as at:
    ...     with zipfile.ZipFile(f"{at}/a.zip", "w") as z:
    ...         z.writestr("data/one.txt", "1")
    ...     [path.name for path in unpack(Path(f"{at}/a.zip"), Path(at), wanted=("*.txt",))]
    ['one.txt']
    """
    written: list[Path] = []
    unwanted = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    wanted = tuple(pattern for pattern in wanted if not pattern.startswith("!"))
    unmatched = set(wanted)
    try:
        for name, content in _members(archive):
            matching = [pattern for pattern in wanted if fnmatch.fnmatchcase(name, pattern)]
            if not matching or any(fnmatch.fnmatchcase(name, p) for p in unwanted):
                continue
            unmatched.difference_update(matching)
            target = _inside(folder, name, archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            written.append(target)
    except NisslError:
        raise
    except Exception as error:  # zip, tar, gzip, bzip2, lzma and zlib have errors of their own
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk, not of the archive
        raise NisslError(
            f"the archive is damaged: {first_line(error)}", where=archive.name, do="fetch it again"
        ) from error
    if unmatched:
        raise NisslError(
            f"the archive has nothing that matches {sorted(unmatched)[0]}", where=archive.name
        )
    return written


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the regular files of an archive: path and content."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as members:
            for info in members.infolist():
                # The upper half of the attributes is the Unix mode; a link's file type is 0o12.
                if not info.is_dir() and info.external_attr >> 28 != 0o12:
                    with members.open(info) as content:
                        yield info.filename, content
    elif archive.suffix == ".deb":
        yield from _tar(BytesIO(_data_of_deb(archive)))
    else:
        with archive.open("rb") as raw:
            yield from _tar(raw)


def _tar(raw: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=raw) as members:
        for member in members:
            if member.size < 0:  # the next one would be looked for before this one, for ever
                raise tarfile.ReadError(f"{member.name} has a negative size")
            content = members.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name.removeprefix("./"), content


def _data_of_deb(archive: Path) -> bytes:
    """Return the ``data.tar.*`` of a Debian package, an ``ar`` archive of three members."""
    with archive.open("rb") as raw:
        if raw.read(8) != b"!<arch>\n":
            raise tarfile.ReadError("not a Debian package")
        while len(header := raw.read(60)) == 60:
            name, size = header[:16].decode("ascii").strip(), int(header[48:58])
            if size < 0:
                raise tarfile.ReadError(f"{name} has a negative size")
            if name.startswith("data.tar"):
                return raw.read(size)
            raw.seek(size + size % 2, 1)
    raise tarfile.ReadError("the Debian package holds no data")


def _inside(folder: Path, name: str, archive: Path) -> Path:
    path = PurePosixPath(name)
    drive = ":" in path.parts[0] if path.parts else True
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive:
        raise NisslError(
            f"the archive holds a path that leaves its folder: {name!r}",
            where=archive.name,
            do="do not use this archive",
        )
    return folder.joinpath(*path.parts)
