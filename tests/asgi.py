"""Ask an ASGI application in this process: quicker than over a socket, and its errors are seen."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

HOST = "127.0.0.1:7007"
LOOP = asyncio.new_event_loop()  # one for all, as a server has: threads answer to it
# In a thread of its own: in this one the browser's loop may run.
threading.Thread(target=LOOP.run_forever, daemon=True).start()


@dataclass
class Answer:
    """What was answered; `failed` is what the application raised instead."""

    status: int
    headers: dict[str, str]
    body: bytes
    failed: BaseException | None = None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    query: Any = None,
    body: Any = None,
    token: str = "secret",
    host: str = HOST,
    **headers: str,
) -> Answer:
    """Ask as the page does, with any header forged; one by name with `_` for `-`."""
    content = (
        b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    )
    sent = {"host": host}
    if token:
        sent["cookie"] = f"nissl-{host.rpartition(':')[2]}={token}"
    if method not in ("GET", "HEAD"):
        sent |= {"content-type": "application/json", "content-length": str(len(content))}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": urlencode(query or {}, doseq=True, errors="surrogatepass").encode(),
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in sent.items() if v],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7007),
    }
    return asyncio.run_coroutine_threadsafe(_asked(app, scope, content), LOOP).result()


async def _asked(app: Any, scope: dict[str, Any], content: bytes) -> Answer:
    answer, given = Answer(0, {}, b""), [{"type": "http.request", "body": content}]

    async def receive() -> Any:
        if given:
            return given.pop()
        await asyncio.sleep(3600)  # the client stays

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:
        answer.failed = error
    return answer


def routes(app: Any) -> Iterator[tuple[str, str, Any]]:
    """Every route of an application, and of those inside it: method, path, route."""
    while not hasattr(app, "routes"):
        app = app.app
    for route in app.routes:
        if hasattr(route, "methods"):
            for method in sorted(set(route.methods or ("GET",)) - {"HEAD"}):
                yield method, route.path, route
        else:
            yield from routes(route)
