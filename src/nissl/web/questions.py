"""What the explorer's page posts: questions to a live model, notes, and sets of units."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError, require_known
from nissl.web.attention import Heads, attention
from nissl.web.features import feature_logits
from nissl.web.posted import body_of, streamed, text_of, whole_of
from nissl.web.reading import Reading
from nissl.web.saved import SavedEdits
from nissl.web.told_directions import told_directions
from nissl.web.touch import Asked, edits_of, touch

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nissl.network import Network
    from nissl.web.index import Index
    from nissl.web.live import Live

__all__ = ["add_routes"]

NEW, MANY = 200, 100  # tokens generated; units asked for


def add_routes(app: Any, live: Live, index: Index) -> None:
    """Answer ``/api/`` try, attention, heads, feature, directions, touch, edit, note and set.

    Parameters
    ----------
    app : FastAPI
        The server.
    live : Live
        The model.
    index : Index
        Of its atlas.
    """
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.responses import Response as Plain

    read, heads, saved = Reading(index), Heads(), SavedEdits(index.atlas.path)

    async def once(request: Request, work: Callable[[Network], dict[str, Any]]) -> Response:
        async with aclosing(live.answers(request, lambda net, say: say(work(net)))) as answers:
            return JSONResponse(await anext(answers, {}))

    async def try_text(request: Request) -> Response:
        body = await body_of(request)
        text, at, units = text_of(body, "text"), whole_of(body, "position", -1), body.get("units")
        if not isinstance(units, (list, type(None))) or len(units or ()) > MANY:
            raise NisslError(f"units are a list of at most {MANY} addresses")
        if body.get("set"):
            require_known("set", str(body["set"]), list(sets := index.atlas.notes.sets))
            units = sets[str(body["set"])]
        some = None if units is None else [str(unit) for unit in units]
        how = {name: body.get(name) is True for name in ("here", "features")}

        def work(net: Network) -> dict[str, Any]:
            return read(net, text, units=some, position=at, **how) | {"note": live.note}

        return await once(request, work)

    async def attend(request: Request) -> Response:
        body = await body_of(request)
        text, layer, head = (
            text_of(body, "text"),
            whole_of(body, "layer", 0),
            whole_of(body, "head", 0),
        )
        return await once(request, lambda net: attention(net, text, layer=layer, head=head))

    async def look(request: Request) -> Response:
        body = await body_of(request)
        text, at = text_of(body, "text"), whole_of(body, "position", -1)
        return await once(request, lambda net: heads(net, text, position=at))

    async def feature(request: Request) -> Response:
        unit = text_of(await body_of(request), "unit")
        return await once(request, lambda net: feature_logits(net, unit))

    async def directions(request: Request) -> Response:
        unit = text_of(await body_of(request), "unit")
        return await once(request, lambda net: told_directions(net, unit))

    async def generate(request: Request) -> Response:
        body = await body_of(request)
        n, seed = whole_of(body, "n", 40), whole_of(body, "seed", 0)
        asked = Asked(
            text_of(body, "prompt"),
            edits_of(body.get("edits"), saved),
            n,
            seed if body.get("random") is True else None,
        )
        if not 1 <= n <= NEW:
            raise NisslError(f"{n} tokens cannot be generated", do=f"ask for 1 to {NEW}")
        if not 0 <= seed < 2**31:
            raise NisslError(f"{seed} is no seed", do="give 0 to 2,147,483,647")
        return await streamed(live.answers(request, lambda net, say: touch(net, say, asked)))

    async def keep(request: Request) -> Response:
        from nissl.network import save_edit

        body = await body_of(request)
        edits = edits_of(body.get("edits"), saved)
        if body.get("name") is not None:
            name = saved.keep(str(body["name"]), edits)
            return JSONResponse({"kept": name, "edits": saved.listed()})
        with TemporaryDirectory() as folder:
            path = Path(folder) / "edit.json"
            save_edit(edits, path)
            if path.with_suffix(".safetensors").exists():
                raise NisslError("tensors are two files", do="give a name: it is kept in the atlas")
            content = path.read_bytes()
        how = {"content-disposition": 'attachment; filename="edit.json"'}
        return Plain(content, media_type="application/json", headers=how)

    async def list_edits(request: Request) -> Response:
        return JSONResponse({"edits": await run_in_threadpool(saved.listed)})

    async def note(request: Request) -> Response:
        body = await body_of(request)
        unit, text, notes = str(body.get("unit")), body.get("text"), index.atlas.notes
        was = body.get("was")
        if not isinstance(text, str) or not isinstance(was, (str, type(None))):
            raise NisslError("a note is a text", where="text")
        require_known("unit", unit, index.addresses(""))
        notes.write(unit, text, was=was)
        return JSONResponse({"notes": notes.notes})

    async def keep_set(request: Request) -> Response:
        body, notes = await body_of(request), index.atlas.notes
        found = [] if body.get("where") is None else index.addresses(str(body["where"]))
        notes.keep(str(body.get("name", "")), found)
        return JSONResponse({"sets": {name: len(units) for name, units in notes.sets.items()}})

    answering = {"try": try_text, "attention": attend, "heads": look}
    answering |= {"feature": feature, "directions": directions, "touch": generate}
    answering |= {"edit": keep, "note": note, "set": keep_set}
    for name, answer in answering.items():
        app.router.add_route(f"/api/{name}", answer, methods=["POST"])
    app.router.add_route("/api/edits", list_edits, methods=["GET"])
