"""Unpacking: only what is wanted, and nothing outside the folder."""

import errno
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from nissl.errors import NisslError
from nissl.specimens.unpack import unpack

from .conftest import tarred, zipped


def archive(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil", "a\\..\\evil"])
@pytest.mark.parametrize(("suffix", "make"), [(".zip", zipped), (".tar.gz", tarred)])
def test_no_path_leaves_the_folder(tmp_path: Path, name: str, suffix: str, make: object) -> None:
    path = archive(tmp_path, f"a{suffix}", make({name: b"x"}))  # type: ignore[operator]
    with pytest.raises(NisslError, match="leaves its folder"):
        unpack(path, tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("evil"))


def test_links_are_not_written(tmp_path: Path) -> None:
    tar = archive(tmp_path, "a.tgz", tarred({"real": b"1"}, links={"link": "/etc/passwd"}))
    assert [p.name for p in unpack(tar, tmp_path / "tar")] == ["real"]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as z:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(link, "/etc/passwd")
        z.writestr("real", "1")
    path = archive(tmp_path, "a.zip", content.getvalue())
    assert [p.name for p in unpack(path, tmp_path / "zip")] == ["real"]


def test_only_what_is_wanted(tmp_path: Path) -> None:
    files = {"p/a.txt": b"1", "p/deep/b.txt": b"2", "p/c.txt.output": b"3", "p/d.bin": b"4"}
    path = archive(tmp_path, "a.tgz", tarred(files))
    found = unpack(path, tmp_path / "out", wanted=("p/*", "!*.output", "!*.bin"))
    assert sorted(p.name for p in found) == ["a.txt", "b.txt"]
    with pytest.raises(NisslError, match=r"nothing that matches \*\.gguf"):
        unpack(path, tmp_path / "out", wanted=("*.txt", "*.gguf"))


def test_a_debian_package(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        member = tarfile.TarInfo("./usr/share/a")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    deb = b"!<arch>\n"
    for name, content in (
        ("debian-binary", b"2.0\n"),
        ("c", b"odd"),
        ("data.tar.xz", data.getvalue()),
    ):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        deb += b"\n" * (len(content) % 2)
    (found,) = unpack(archive(tmp_path, "a.deb", deb), tmp_path / "out")
    assert found == tmp_path / "out" / "usr" / "share" / "a"
    assert found.read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.deb"])
def test_a_damaged_archive(tmp_path: Path, name: str) -> None:
    whole = zipped({"a": bytes(100)}) if name == "a.zip" else tarred({"a": bytes(100)})
    with pytest.raises(NisslError, match="damaged"):
        unpack(archive(tmp_path, name, whole[: len(whole) // 2]), tmp_path / "out")


def backwards(kind: str) -> bytes:
    """An archive of which a member has a negative size, so that the next one lies before it."""
    if kind == "deb":
        header = f"{'debian-binary':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{-60:<10}`\n"
        return b"!<arch>\n" + header.encode() * 2
    block = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (-1024).to_bytes(2, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block) * 3


@pytest.mark.parametrize("name", ["a.deb", "a.tar"])
def test_a_member_of_negative_size_is_refused_at_once(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path, name, backwards(name.removeprefix("a.")))
    with pytest.raises(NisslError, match="negative size"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_bad_stream_is_a_damaged_archive(tmp_path: Path, suffix: str) -> None:
    content = io.BytesIO()
    if suffix == "zip":
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("a", bytes(range(256)) * 20)
    else:
        with tarfile.open(fileobj=content, mode=f"w:{suffix[4:]}") as tar:
            member = tarfile.TarInfo("a")
            member.size = 5120
            tar.addfile(member, io.BytesIO(bytes(range(256)) * 20))
    whole = content.getvalue()
    refused = 0
    for place in range(30, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        try:
            unpack(archive(tmp_path, f"a.{suffix}", bytes(changed)), tmp_path / "out")
        except NisslError:
            refused += 1
    assert refused > 5


def test_a_disk_that_refuses_is_no_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match="no space"):
        unpack(archive(tmp_path, "a.zip", zipped({"a": b"1"})), tmp_path / "out")
