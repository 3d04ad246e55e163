"""What the explorer's page posts: questions to a live model, notes, and sets of units."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError, require_known
from nissl.web.attention import Heads, attention
from nissl.web.features import feature_logits
from nissl.web.nearest_directions import nearest_directions
from nissl.web.reading import Reading
from nissl.web.saved import SavedEdits
from nissl.web.touch import Asked, edits_of, touch

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nissl.network import Network
    from nissl.web.index import Index
    from nissl.web.live import Live

__all__ = ["add_routes", "told"]

CHARACTERS, NEW, MANY = 20_000, 200, 100  # of a text; tokens generated; units asked for


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
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.responses import Response as Plain

    read, heads, saved = Reading(index), Heads(), SavedEdits(index.atlas.path)

    async def once(request: Request, work: Callable[[Network], dict[str, Any]]) -> Response:
        async with aclosing(live.answers(request, lambda net, say: say(work(net)))) as answers:
            return JSONResponse(await anext(answers, {}))

    async def try_text(request: Request) -> Response:
        body = await _body(request)
        text, at, units = _text(body, "text"), _whole(body, "position", -1), body.get("units")
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
        body = await _body(request)
        text, layer, head = _text(body, "text"), _whole(body, "layer", 0), _whole(body, "head", 0)
        return await once(request, lambda net: attention(net, text, layer=layer, head=head))

    async def look(request: Request) -> Response:
        body = await _body(request)
        text, at = _text(body, "text"), _whole(body, "position", -1)
        return await once(request, lambda net: heads(net, text, position=at))

    async def feature(request: Request) -> Response:
        unit = _text(await _body(request), "unit")
        return await once(request, lambda net: feature_logits(net, unit))

    async def directions(request: Request) -> Response:
        unit = _text(await _body(request), "unit")
        return await once(request, lambda net: nearest_directions(net, unit))

    async def generate(request: Request) -> Response:
        body = await _body(request)
        n, seed = _whole(body, "n", 40), _whole(body, "seed", 0)
        asked = Asked(
            _text(body, "prompt"),
            edits_of(body.get("edits"), saved),
            n,
            seed if body.get("random") is True else None,
        )
        if not 1 <= n <= NEW:
            raise NisslError(f"{n} tokens cannot be generated", do=f"ask for 1 to {NEW}")
        if not 0 <= seed < 2**31:
            raise NisslError(f"{seed} is no seed", do="give 0 to 2,147,483,647")
        answers = live.answers(request, lambda net, say: touch(net, say, asked))
        first: Any = await anext(answers, {})  # an error before it is answered as one
        return StreamingResponse(_lines(first, answers), media_type="application/x-ndjson")

    async def keep(request: Request) -> Response:
        from nissl.network import save_edit

        body = await _body(request)
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
        body = await _body(request)
        unit, text, notes = str(body.get("unit")), body.get("text"), index.atlas.notes
        was = body.get("was")
        if not isinstance(text, str) or not isinstance(was, (str, type(None))):
            raise NisslError("a note is a text", where="text")
        require_known("unit", unit, index.addresses(""))
        notes.write(unit, text, was=was)
        return JSONResponse({"notes": notes.notes})

    async def keep_set(request: Request) -> Response:
        body, notes = await _body(request), index.atlas.notes
        found = [] if body.get("where") is None else index.addresses(str(body["where"]))
        notes.keep(str(body.get("name", "")), found)
        return JSONResponse({"sets": {name: len(units) for name, units in notes.sets.items()}})

    answering = {"try": try_text, "attention": attend, "heads": look}
    answering |= {"feature": feature, "directions": directions, "touch": generate}
    answering |= {"edit": keep, "note": note, "set": keep_set}
    for name, answer in answering.items():
        app.router.add_route(f"/api/{name}", answer, methods=["POST"])
    app.router.add_route("/api/edits", list_edits, methods=["GET"])


def told(error: NisslError) -> str:
    """Return an error as the page says it; what it quotes may be long.

    Parameters
    ----------
    error : NisslError
        The error.

    Returns
    -------
    str
        At most some 1,600 characters.

    Examples
    --------
    >>> len(told(NisslError("x" * 100_000)))
    1603
    """
    text = str(error)
    return text if len(text) <= 1600 else f"{text[:1000]} … {text[-600:]}"


async def _lines(first: Any, answers: AsyncGenerator[Any]) -> AsyncGenerator[str]:
    """Yield answers as lines of JSON, an error as the last."""
    async with aclosing(answers):
        yield json.dumps(first) + "\n"
        try:
            async for answer in answers:
                yield json.dumps(answer) + "\n"
        except NisslError as error:
            yield json.dumps({"error": told(error)}) + "\n"


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
        json.dumps(body, ensure_ascii=False).encode()  # half a character can be kept by no file
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise NisslError("the question is not JSON")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not text.strip():
        raise NisslError("there is no text", where=name, do="write some")
    if len(text) > CHARACTERS:
        raise NisslError(
            f"the text has {len(text):,} characters", where=name, do=f"give at most {CHARACTERS:,}"
        )
    return text


def _whole(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NisslError(f"{str(value)[:40]} is no whole number", where=name)
    return value
