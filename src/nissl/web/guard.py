"""Who may ask the explorer: this machine's own browser, with the token of this run."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PARAMETER = "token"
LARGEST = 2_000_000  # bytes of a question
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Refuse requests of other hosts, of other pages, and without the token.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
        The secret of this run. The first address carries it; a cookie takes its place, so that an
        address that is sent to somebody holds the view and not the secret.
    hosts : iterable of str
        Names by which the server may be called. A page of another name that leads to this machine
        (DNS rebinding) is refused by it.

    Examples
    --------
    >>> Guard(None, token="secret").hosts == {"127.0.0.1", "localhost"}
    True
    """

    def __init__(
        self, app: Any, *, token: str, hosts: Iterable[str] = ("127.0.0.1", "localhost")
    ) -> None:
        self.app: App = app
        self.token = token
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await _say(send, 403, "the explorer speaks HTTP alone")
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if host.rpartition(":")[0] not in self.hosts and host not in self.hosts:
            return await _say(send, 403, "this is not the explorer's host: open 127.0.0.1")
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", "none")
        if (origin and origin != f"http://{host}") or site not in ("none", "same-origin"):
            # A link of another page may open the first page, which the cookie does not follow to.
            return await _say(send, 403, "another page may not ask the explorer")
        if scope["method"] not in ("GET", "HEAD"):
            # A form of another page cannot say that it is JSON.
            if headers.get(b"content-type", "").partition(";")[0].strip() != "application/json":
                return await _say(send, 415, "a question is JSON: content-type application/json")
            length = headers.get(b"content-length", "")
            if not length.isdecimal() or int(length) > LARGEST:
                return await _say(send, 413, f"a question has at most {LARGEST:,} bytes")
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = query.pop(PARAMETER, [""])[-1]
        if given and secrets.compare_digest(given.encode(), self.token.encode()):
            # One stroke at the front: two would name another host.
            where = f"/{scope['path'].lstrip('/')}" + (
                "?" + urlencode(query, True) if query else ""
            )
            cookie = f"{_name(host)}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            found = ((b"location", where.encode()), (b"set-cookie", cookie.encode()))
            return await _say(send, 303, "", found)
        if not secrets.compare_digest(_cookie(headers, _name(host)).encode(), self.token.encode()):
            return await _say(
                send, 401, "open the address that `nissl view` printed: it has the token"
            )

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        return await self.app(scope, receive, sent)


def _name(host: str) -> str:
    """Name the cookie by the port: a browser sends cookies of one port to all others."""
    return f"nissl-{host.rpartition(':')[2]}"


def _cookie(headers: MutableMapping[bytes, str], name: str) -> str:
    try:
        found = SimpleCookie(headers.get(b"cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


async def _say(
    send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    plain = (b"content-type", b"text/plain; charset=utf-8")
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [plain, *HEADERS, *headers]})
    await send({"type": "http.response.body", "body": text.encode()})
