"""The explorer of atlases as they are on disk now: one that is made again is opened again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from nissl.errors import NisslError
from nissl.web.guard import App, Message, Receive, Send

__all__ = ["Current", "stamp_of"]

HEADER = b"x-nissl-atlas"
AGAIN = "The atlas was made again: reload the page."


class Current:
    """Hand requests to the application of the atlases that lie in folders.

    Rows of one atlas are not those of another: a page that was opened before an atlas was made
    again is told so, by the stamp that it carries.

    Parameters
    ----------
    folders : sequence of Path
        The atlas, and another that it is compared with.
    make : callable
        Makes the application; is given the stamp of the folders.

    Examples
    --------
    >>> Current([Path("out/smollm2")], make)  # doctest: +SKIP
    """

    def __init__(self, folders: Sequence[Path], make: Callable[[str], App]) -> None:
        self.folders, self.make, self.lock = folders, make, asyncio.Lock()
        self.stamp = "+".join(map(stamp_of, folders))
        self.app = make(self.stamp)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            async with self.lock:
                await self._reopen()
        except NisslError as error:
            return await _refuse(send, str(error))
        asked = dict(scope["headers"]).get(HEADER, b"").decode("latin-1")
        if asked and asked != self.stamp:
            return await _refuse(send, AGAIN)
        return await self.app(scope, receive, send)

    async def _reopen(self) -> None:
        stamps = [stamp_of(folder) for folder in self.folders]
        stamp = "+".join(stamps)
        if stamp == self.stamp:
            return
        for folder, found in zip(self.folders, stamps, strict=True):
            if not found:
                raise NisslError("the atlas is being made again, or is gone", where=str(folder))
        self.app, self.stamp = await asyncio.to_thread(self.make, stamp), stamp


def stamp_of(folder: Path) -> str:
    """Return what changes when an atlas is made again.

    Parameters
    ----------
    folder : Path
        The atlas.

    Returns
    -------
    str
        Of the files that are put in place last; empty where one is missing.

    Examples
    --------
    >>> stamp_of(Path("nowhere"))
    ''
    """
    try:
        found = [(folder / name).stat() for name in ("units.parquet", "atlas.json")]
    except OSError:
        return ""
    return "-".join(f"{s.st_ino:x}.{s.st_mtime_ns:x}.{s.st_size:x}" for s in found)


async def _refuse(send: Send, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
