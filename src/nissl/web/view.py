"""Look at an atlas in the browser."""

from __future__ import annotations

import logging
import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nissl.atlas import Atlas, open_atlas
from nissl.errors import NisslError
from nissl.web.server import server

__all__ = ["serve", "view"]

PORT = 7007  # and the next free ones


def view(
    atlas: Atlas | str | Path,
    *,
    model: str | Path | None = None,
    dictionaries: Sequence[str | Path] = (),
    circuit: str | Path | None = None,
    beside: Atlas | str | Path | None = None,
    matches: Any = None,
    port: int | None = None,
    browser: bool = True,
) -> None:
    """Open the explorer of an atlas, until Ctrl-C.

    Parameters
    ----------
    atlas : Atlas or path
        The atlas, or its folder.
    model : str or Path, optional
        The network that is asked live, as `nissl.load` takes it; by default that of the atlas.
    dictionaries : sequence of str or Path
        Files of features that fire live, beside those of the atlas.
    circuit : str or Path, optional
        The file of a circuit that is opened first.
    beside : Atlas or path, optional
        Another atlas, whose units are shown in pairs with those of the first.
    matches : Finding, DataFrame, path, "addresses" or "places", optional
        Which units are pairs, as `nissl.atlas.compare_atlases` takes it.
    port : int, optional
        Of this machine; the first free one from 7007 on if not given.
    browser : bool
        Open the browser there.

    Raises
    ------
    NisslError
        The folder is not an atlas, the port is in use, or the extra `web` is not installed.

    Examples
    --------
    >>> view("out/smollm2")  # doctest: +SKIP
    """
    token = secrets.token_urlsafe(24)
    app = server(
        atlas if isinstance(atlas, Atlas) else open_atlas(atlas),
        token=token,
        model=model,
        dictionaries=dictionaries,
        circuit=circuit,
        beside=open_atlas(beside) if isinstance(beside, (str, Path)) else beside,
        matches=matches,
    )
    serve(app, token=token, circuit=circuit, port=port, browser=browser)


def serve(
    app: Any,
    *,
    token: str,
    circuit: str | Path | None = None,
    port: int | None = None,
    browser: bool = True,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Serve an explorer on this machine, until Ctrl-C.

    Parameters
    ----------
    app : ASGI application
        What `server` returns.
    token : str
        What it was given.
    circuit : str or Path, optional
        The file of a circuit that it was given and that is opened first.
    port : int, optional
        Of this machine; the first free one from 7007 on if not given.
    browser : bool
        Open the browser there.
    tell : callable, optional
        Is given the address; prints it by default.

    Raises
    ------
    NisslError
        The port is in use.

    Examples
    --------
    >>> app = server(open_atlas("out/smollm2"), token="secret")  # doctest: +SKIP
    >>> serve(app, token="secret", port=7007)  # doctest: +SKIP
    """
    import uvicorn

    first = f"/?{urlencode({'token': token})}"
    if circuit is not None:
        first = f"/?{urlencode({'token': token, 'circuit': Path(circuit).stem})}#trace"
    with _listening(port) as listener:
        host, found = listener.getsockname()
        address = f"http://{host}:{found}{first}"
        (tell or _print)(address)
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=1
        )
        # Ctrl-C ends what is being generated, which is no error to be told.
        logging.getLogger("uvicorn.error").addFilter(
            lambda r: "Cancel" not in f"{r.msg}{r.exc_info}"
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _print(address: str) -> None:
    print(f"the explorer: {address}\nstop it with Ctrl-C", flush=True)


def _listening(port: int | None) -> socket.socket:
    """Return a socket of 127.0.0.1 at the port, or at the first free one."""
    if port is not None:
        return _bound(port)
    for tried in range(PORT, PORT + 100):
        try:
            return _bound(tried)
        except NisslError:
            continue
    return _bound(0)


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen()  # a browser that is quicker than the server waits
    except (OSError, OverflowError) as error:
        made.close()
        raise NisslError(f"port {port} is in use", do="give another, or none") from error
    return made
