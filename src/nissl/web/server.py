"""The explorer's server: the page of an atlas, and the answers to what it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.atlas import Atlas, open_atlas
from nissl.atlas.page.write import filled, page_data
from nissl.atlas.thumbnails import FOLDER as PICTURES
from nissl.behaviour.circuit_table import read_circuit
from nissl.errors import NisslError, first_line
from nissl.web.circuits import Circuits
from nissl.web.compare import Beside, add_beside
from nissl.web.current import Current
from nissl.web.guard import Guard
from nissl.web.index import Index
from nissl.web.inside import inside
from nissl.web.live import Live
from nissl.web.memory import release, share_arenas
from nissl.web.posted import told
from nissl.web.questions import add_routes
from nissl.web.suggestions import suggestions
from nissl.web.trace import add_circuits
from nissl.web.unit_circuits import UnitCircuits

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["server"]

SCRIPTS = (
    "address.js",
    "table.js",
    "search.js",
    "try.js",
    "heads.js",
    "touch.js",
    "compare.js",
    "notes.js",
    "parts.js",
    "trace.js",
    "explorer.js",
)
STYLES = ("explorer.css", "compare.css", "trace.css")
THREADS = 4  # that answer at once: allocators keep memory for each that ever did


def server(
    atlas: Atlas,
    *,
    token: str,
    model: Any = None,
    dictionaries: Sequence[str | Path] = (),
    circuit: str | Path | None = None,
    beside: Atlas | None = None,
    matches: Any = None,
) -> Guard:
    """Return the explorer of an atlas as an ASGI application.

    Parameters
    ----------
    atlas : Atlas
        What `nissl.atlas.open_atlas` opens.
    token : str
        What the first address must carry.
    model : Network, str or Path, optional
        What is asked live; by default the network that the atlas names.
    dictionaries : sequence of str or Path
        Files of features that fire live, beside those of the atlas.
    circuit : str or Path, optional
        The file of a circuit, beside those in the folder ``circuits`` of the atlas.
    beside : Atlas, optional
        Another that it is compared with.
    matches : Finding, DataFrame, path, "addresses" or "places", optional
        Which of their units are pairs, as `nissl.atlas.compare_atlases` takes it.

    Returns
    -------
    ASGI application
        It answers ``/``, ``/api/...`` and the pictures of the atlas, to this machine alone.

    Raises
    ------
    NisslError
        ``fastapi`` is not installed, or the atlas or the circuit cannot be read.

    Examples
    --------
    >>> app = server(open_atlas("out/smollm2"), token="secret")  # doctest: +SKIP
    """
    if circuit is not None:
        read_circuit(circuit)  # what is wrong with it is said before anything is served
    circuits = Circuits(atlas.path, circuit)
    opened = [atlas] if beside is None else [atlas, beside]
    folders = [one.path for one in opened]

    def make(stamp: str) -> Any:
        first, *others = opened or map(open_atlas, folders)
        opened.clear()  # what is made again is opened again
        second = (others[0], matches) if others else None
        return _app(first, Live(first, model, dictionaries), circuits, second, stamp)

    return Guard(Current(folders, make), token=token)


def _app(
    atlas: Atlas, live: Live, circuits: Circuits, second: tuple[Atlas, Any] | None, stamp: str
) -> Any:
    """Return the explorer of an atlas, asked by anybody."""
    try:
        from fastapi import FastAPI, Request
        from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse
    except ImportError as error:
        raise NisslError(
            "the explorer needs fastapi and uvicorn", do="pip install 'nissl[web]'"
        ) from error

    app = FastAPI(title="Nissl", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_bounded)
    index, among = Index(atlas), UnitCircuits(circuits)
    live_part = {"model": live.name, "missing": live.missing, "note": live.note}
    live_part["stamp"] = stamp
    other = None if second is None else Beside(index, *second)
    has_texts = (atlas.path / "vocabulary.json").exists()
    shown = {"live": live_part, "beside": other is not None, "texts": has_texts}
    page = _page(atlas, shown)

    @app.exception_handler(NisslError)
    def said(request: Request, error: NisslError) -> Response:
        return JSONResponse({"error": told(error)}, status_code=400)

    @app.exception_handler(OSError)
    def refused(request: Request, error: OSError) -> Response:
        what = f"a file cannot be read or written: {error.strerror or first_line(error)}"
        do = "make room, or let the folder be written"
        return JSONResponse({"error": str(NisslError(what, where=error.filename, do=do))}, 400)

    @app.get("/")
    def first() -> Response:
        return HTMLResponse(page)

    @app.get("/favicon.ico")
    def icon() -> Any:
        return PlainTextResponse(status_code=204)

    @app.get("/api/columns")
    def columns() -> Any:
        return index.columns()

    @app.get("/api/units")
    def units(
        where: str = "", sort: str = "", descending: bool = True, offset: int = 0, limit: int = 50
    ) -> Any:
        return index.units(where, sort=sort, descending=descending, offset=offset, limit=limit)

    @app.get("/api/units.csv")
    def listed(where: str = "", sort: str = "", descending: bool = True) -> Response:
        text = index.csv(where, sort=sort, descending=descending)
        return PlainTextResponse(text, media_type="text/csv")

    @app.get("/api/notes")
    def notes() -> Any:
        held = atlas.notes
        return {"notes": held.notes, "sets": {k: len(units) for k, units in held.sets.items()}}

    @app.get("/api/unit/{row}")
    def unit(row: int) -> Any:
        return index.unit(row)

    @app.get("/api/unit/{row}/circuits")
    def of_circuits(row: int) -> Any:
        if not 0 <= row < len(index.table):
            raise NisslError(f"there is no row {row}", do=f"give 0 to {len(index.table) - 1}")
        return {"circuits": among(str(index.table["unit"].iloc[row]))}

    @app.get("/api/find")
    def find(text: str, where: str = "", limit: int = 50) -> Any:
        return index.find(text, where=where, limit=limit)

    @app.get("/api/search")
    def search(text: str) -> Any:
        return suggestions(index, text)

    @app.get(f"/{PICTURES}/{{name}}")
    def picture(name: str) -> Response:
        path = inside(atlas.path / PICTURES, name)
        return FileResponse(path) if path else JSONResponse({"error": "no such picture"}, 404)

    add_routes(app, live, index)
    add_circuits(app, live, circuits)
    if other is not None:
        add_beside(app, other)
    return app


@asynccontextmanager
async def _bounded(app: Any) -> AsyncIterator[None]:
    from anyio.to_thread import current_default_thread_limiter

    share_arenas()
    current_default_thread_limiter().total_tokens = THREADS
    yield


def _page(atlas: Atlas, more: dict[str, Any]) -> bytes:
    files = resources.files("nissl.web.page")

    def text(names: tuple[str, ...]) -> str:
        return "\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in names)

    data = page_data(atlas.path) | more
    page = filled(data, more_script=text(SCRIPTS), more_style=text(STYLES))
    made = page.encode()  # a text with one rare letter holds up to four bytes for each
    del data, page
    release()
    return made
