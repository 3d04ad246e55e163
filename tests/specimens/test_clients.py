"""The clients as made-up programs: what each failure is called, and that progress is heard."""

import sys
from pathlib import Path

import pytest

from nissl.errors import NisslError
from nissl.specimens import clients
from nissl.specimens.clients import download
from nissl.specimens.pinned import Source

NPM = Source("npm", "thing", "1.0", "thing-1.0.tgz", "0" * 64, 3)
WHEEL = Source("pip", "thing", "1.0", "thing-1.0-py3-none-any.whl", "0" * 64, 3)
DEB = Source("debian", "thing", "1.0", "thing_1.0_all.deb", "0" * 64, 3)


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but what a shell needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


def bring(source: Source, folder: Path) -> list[float]:
    amounts: list[float] = []
    download(source, folder, amounts.append)
    return amounts


def test_npm_packs_and_never_installs(bin_folder: Path, target: Path) -> None:
    program(bin_folder, "npm", 'printf abc > thing-1.0.tgz; echo "$@" > said')
    assert sum(bring(NPM, target)) == pytest.approx(3e-6)
    assert (target / "said").read_text().split()[:2] == ["pack", "thing@1.0"]


def test_npm_is_missing(bin_folder: Path, target: Path) -> None:
    with pytest.raises(NisslError, match=r"npm is not installed\n.*\n.*install Node.js"):
        bring(NPM, target)


def test_apt_is_missing(bin_folder: Path, target: Path) -> None:
    with pytest.raises(NisslError, match="apt-get is not installed"):
        bring(DEB, target)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("npm error code ENOTFOUND", "no network"),
        ("npm error code EAI_AGAIN", "no network"),
        ("npm error code ENOSPC", "disk is full"),
        ("npm error code E404", "could not bring it: npm error code E404"),
    ],
)
def test_why_npm_failed(bin_folder: Path, target: Path, said: str, what: str) -> None:
    program(bin_folder, "npm", f"echo '{said}' >&2; exit 1")
    with pytest.raises(NisslError, match=what):
        bring(NPM, target)


def test_another_file_than_pinned(bin_folder: Path, target: Path) -> None:
    program(bin_folder, "npm", "printf abc > thing-1.1.tgz")
    with pytest.raises(NisslError, match=r"npm brought thing-1.1.tgz instead of thing-1.0.tgz"):
        bring(NPM, target)


def test_pip_tells_its_progress(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "Progress 0 of 3; Progress 1000000 of 2000000; noise; Progress 2000000 of 2000000"
    script = f"printf '{lines}' | tr ';' '\\n'; printf abc > {target}/{WHEEL.file}"
    monkeypatch.setattr(sys, "executable", str(program(tmp_path, "python", script)))
    assert bring(WHEEL, target)[:2] == [1.0, 1.0]


def test_there_is_no_pip(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo 'python: No module named pip' >&2; exit 1"
    monkeypatch.setattr(sys, "executable", str(program(tmp_path, "python", script)))
    with pytest.raises(NisslError, match="-m ensurepip"):
        bring(WHEEL, target)


def test_no_network_for_real(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that refuses every connection: the port of this machine on which nothing listens.
    for name in ("PIP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    source = Source("pip", "thing", "1.0", "thing-1.0.tar.gz", "0" * 64, 3)
    for wanted in (WHEEL, source):
        with pytest.raises(NisslError, match="no network: pip reaches no registry"):
            bring(wanted, target)


def test_a_source_archive_is_not_built(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import tarfile

    links = tmp_path / "links"
    links.mkdir()
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    with tarfile.open(links / "thing-1.0.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("thing-1.0/setup.py")
        member.size = len(trap)
        archive.addfile(member, io.BytesIO(trap))
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    source = Source("pip", "thing", "1.0", "thing-1.0.tar.gz", "0" * 64, 3)
    download(source, target, lambda megabytes: None)
    assert (target / "thing-1.0.tar.gz").read_bytes() == (links / "thing-1.0.tar.gz").read_bytes()
    assert not (tmp_path / "ran").exists()
    (target / "thing-1.0.tar.gz").unlink()
    absent = Source("pip", "thing", "2.0", "thing-2.0.tar.gz", "0" * 64, 3)
    with pytest.raises(NisslError, match=r"no index of pip's has thing-2.0.tar.gz"):
        download(absent, target, lambda megabytes: None)


@pytest.mark.parametrize(("pip", "bar"), [("23.2.1", "off"), ("24.0", "off"), ("24.1", "raw")])
def test_an_older_pip_is_asked_for_no_bar_that_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: str, bar: str
) -> None:
    monkeypatch.setattr(clients, "version", lambda name: pip)
    command = clients._pip(WHEEL, tmp_path)
    assert command[command.index("--progress-bar") + 1] == bar
