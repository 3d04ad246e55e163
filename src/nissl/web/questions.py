"""What the explorer asks of a live model: try a text, touch units."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName, require_known

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nissl.network import Change, Network
    from nissl.web.index import Index
    from nissl.web.live import Live, Say

__all__ = ["Reading", "edits_of", "touch"]

CHARACTERS, TOKENS, NEW = 20_000, 512, 200  # of a text, and those generated
TOP, WORDS = 30, 3  # units that deviate most; words of the lens
MANY = 100  # units or edits of one question
HOW = ("ablate", "clamp", "scale")
STREAM = "blocks.*.resid_post"


class Reading:
    """What a network does at each token of a text.

    Parameters
    ----------
    index : Index
        Of the atlas, for the means and standard deviations of its units.

    Examples
    --------
    >>> Reading(index)(net, "The capital of France")["units"][0]["unit"]  # doctest: +SKIP
    'blocks.12.mlp.neurons[1007]'
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.lens: Callable[[Any], Any] | None = None
        self.streams: list[str] = []
        self.unread = ""
        self.ids: list[int] = []
        self.kept: dict[str, Any] = {}

    def __call__(
        self, net: Network, text: str, *, units: Sequence[str] = (), position: int = -1
    ) -> dict[str, Any]:
        """Read a text.

        Parameters
        ----------
        net : Network
            The model.
        text : str
            At most 512 tokens.
        units : sequence of str
            Addresses; by default those farthest from their mean in the atlas, in its standard
            deviations, at any token but a first one if the atlas left first ones out.
        position : int
            Of the lens.

        Returns
        -------
        dict
            ``tokens``; ``units``, each with ``row``, ``unit``, ``z`` where that is farthest
            (``at``), and ``activity`` at every token; ``lens``, the likeliest words of every layer
            at ``position``, or ``unread``, why there are none.

        Raises
        ------
        NisslError
            The text is too long, or there is no such unit or position.
        """
        ids = _ids(net, text)
        if not -len(ids) <= position < len(ids):
            raise NisslError(f"there is no token {position}", do=f"give 0 to {len(ids) - 1}")
        if self.lens is None and not self.unread:
            self._find_lens(net)
        if self.ids != ids:  # another position of the same text is not run again
            sites = [*self.index.atlas.about["sites"], *self.streams]
            self.kept = {name: x[0] for name, x in net.run([ids], sites=sites).items()}
            self.ids = ids
        z, at = self._deviations(len(ids))
        rows = self._rows(units) if units else np.argsort(-np.abs(z), kind="stable")[:TOP]
        lines = self.index.table.loc[rows, ["unit", "site", "index"]].to_dict("records")
        told = [
            {
                "row": int(row),
                "unit": line["unit"],
                "z": _six(z[row]),
                "at": int(at[row]),
                "activity": [_six(a) for a in self.kept[line["site"]][:, line["index"]].tolist()],
            }
            for row, line in zip(rows, lines, strict=True)
        ]
        position %= len(ids)
        lens = {"position": position, "lens": self._words(net, position), "unread": self.unread}
        return {"tokens": net.tokens(ids), "units": told, **lens}

    def _find_lens(self, net: Network) -> None:
        from nissl.network import unembed

        try:
            self.streams, self.lens = [site.name for site in net.find(STREAM)], unembed(net)
        except NisslError as error:
            self.streams, self.unread = [], str(error)

    def _rows(self, units: Sequence[str]) -> Any:
        known = {unit: row for row, unit in enumerate(self.index.table["unit"])}
        for unit in units:
            if unit not in known:
                raise UnknownName("unit", unit, list(known), do="the list of units has them all")
        return np.array([known[unit] for unit in units])

    def _deviations(self, n: int) -> tuple[Any, Any]:
        """Return how far each unit is from its mean where it is farthest, and where that is."""
        table = self.index.table
        z, at = np.zeros(len(table)), np.zeros(len(table), dtype=int)
        first = int(n > 1 and "first positions" in str(self.index.atlas.about.get("left_out")))
        index = table["index"].to_numpy()
        mean, sd = (table[name].to_numpy(np.float32) for name in ("mean", "sd"))
        for site, rows in table.groupby("site", sort=False).indices.items():
            x = self.kept[str(site)]
            if x.ndim != 2 or len(x) != n:
                raise NisslError("this site has not one value for each token", where=str(site))
            values = x[first:].float().cpu().numpy()[:, index[rows]]
            with np.errstate(divide="ignore", invalid="ignore"):
                far = np.where(sd[rows] > 0, (values - mean[rows]) / sd[rows], 0)
            far[~np.isfinite(far)] = 0
            most = np.abs(far).argmax(0)
            z[rows], at[rows] = far[most, np.arange(len(rows))], first + most
        return z, at

    def _words(self, net: Network, position: int) -> list[dict[str, Any]]:
        """Return the likeliest words that each layer would say, with their probabilities."""
        import torch

        if self.lens is None:
            return []
        with torch.no_grad():
            stream = torch.stack([self.kept[name][position] for name in self.streams])
            best = self.lens(stream).softmax(-1).topk(WORDS)
        layers = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [
            {"layer": layer, "words": [[w, _six(x)] for w, x in zip(net.tokens(i), p, strict=True)]}
            for layer, (i, p) in enumerate(layers)
        ]


def attention(net: Network, text: str, *, layer: int, head: int) -> dict[str, Any]:
    """Return what one head attends to: a row for each token that reads, a column for each read."""
    ids, site = _ids(net, text), f"blocks.{layer}.attn.pattern"
    pattern = net.run([ids], sites=site)[site][0]  # of each position, head and position read
    if not 0 <= head < pattern.shape[1]:
        raise NisslError(f"there is no head {head}", do=f"give 0 to {pattern.shape[1] - 1}")
    rows = pattern[:, head].float().cpu().numpy().round(4)
    return {"tokens": net.tokens(ids), "pattern": rows.tolist()}


def touch(net: Network, say: Say, prompt: str, edits: Sequence[Any], n: int) -> None:
    """Generate without edits, and then with them.

    One after the other, not as two rows of a batch, whose sums another order may round otherwise:
    what is said is to the letter what ``net.generate`` says.

    Parameters
    ----------
    net : Network
        A language model.
    say : callable
        Is given ``{"without": text}`` and ``{"with": text}``, the whole text after each token.
    prompt : str
        What is continued.
    edits : sequence of Edit
        Nothing is generated with them where there are none.
    n : int
        Tokens at most.

    Raises
    ------
    NisslError
        The prompt is too long, the model does not generate, or a unit cannot be edited.
    """
    _ids(net, prompt)
    with net.edit(*edits):
        pass  # what cannot be edited is said before anything is generated
    for side, some in (("without", ()), ("with", edits)):
        if some or side == "without":
            with net.edit(*some):
                heard = _Streamer(net, lambda text, side=side: say({side: text}))
                text = net.generate(prompt, max_new_tokens=n, streamer=heard)
            say({side: text})


class _Streamer:
    """What ``generate`` of transformers hands tokens to: first those of the prompt."""

    def __init__(self, net: Network, say: Callable[[str], None]) -> None:
        self.net, self.say, self.ids, self.begun = net, say, list[int](), False

    def put(self, ids: Any) -> None:
        """Take the next tokens."""
        if self.begun:
            self.ids += ids.flatten().tolist()
            self.say(self.net.require_tokenizer().decode(self.ids, skip_special_tokens=True))
        self.begun = True

    def end(self) -> None:
        """Take the end."""


def edits_of(given: Any) -> list[Change]:
    """Make edits of what a page or a file says.

    Parameters
    ----------
    given : list of dict
        Each with ``unit``, an address; ``how``, of ablate, clamp and scale; and ``value``, what it
        is held at or multiplied by.

    Returns
    -------
    list of Change
        In their order.

    Raises
    ------
    NisslError
        They are not understood.

    Examples
    --------
    >>> edits_of([{"unit": "blocks.3.mlp.neurons[812]", "how": "clamp", "value": 10}])
    [clamp(blocks.3.mlp.neurons)]
    """
    from nissl.network import ablate, clamp, scale

    if not isinstance(given, list) or len(given) > MANY:
        raise NisslError(f"edits are a list of at most {MANY}")
    made = []
    for one in given:
        unit, how = (one.get(k) for k in ("unit", "how")) if isinstance(one, dict) else ("", "")
        if not isinstance(unit, str) or not unit.strip():
            raise NisslError("an edit names no unit", where=str(one)[:100])
        require_known("edit", how, HOW)
        value = _number(one, "value", 0.0) if how != "ablate" else 0.0
        made.append(
            ablate(unit)
            if how == "ablate"
            else clamp(unit, to=value)
            if how == "clamp"
            else scale(unit, by=value)
        )
    return made


def add_routes(app: Any, live: Live, index: Index) -> None:
    """Answer ``/api/try``, ``/api/attention``, ``/api/touch`` and ``/api/edit`` by a live model."""
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.responses import Response as Plain

    read = Reading(index)

    async def once(request: Request, work: Callable[[Network], dict[str, Any]]) -> Response:
        async with aclosing(live.answers(request, lambda net, say: say(work(net)))) as answers:
            return JSONResponse(await anext(answers, {}))

    async def try_text(request: Request) -> Response:
        body = await _body(request)
        text, at, units = _text(body, "text"), _whole(body, "position", -1), body.get("units") or []
        if not isinstance(units, list) or len(units) > MANY:
            raise NisslError(f"units are a list of at most {MANY} addresses")
        asked = [str(unit) for unit in units]
        return await once(
            request, lambda net: {**read(net, text, units=asked, position=at), "note": live.note}
        )

    async def attend(request: Request) -> Response:
        body = await _body(request)
        text, layer, head = _text(body, "text"), _whole(body, "layer", 0), _whole(body, "head", 0)
        return await once(request, lambda net: attention(net, text, layer=layer, head=head))

    async def touched(request: Request) -> Response:
        body = await _body(request)
        prompt, n, edits = _text(body, "prompt"), _whole(body, "n", 40), edits_of(body.get("edits"))
        if not 1 <= n <= NEW:
            raise NisslError(f"{n} tokens cannot be generated", do=f"ask for 1 to {NEW}")
        answers = live.answers(request, lambda net, say: touch(net, say, prompt, edits, n))
        first = await anext(answers, {})  # what is wrong before it is an error of the request
        return StreamingResponse(_lines(first, answers), media_type="application/x-ndjson")

    async def kept(request: Request) -> Response:
        from nissl.network import save_edit

        edits = edits_of((await _body(request)).get("edits"))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "edit.json"
            save_edit(edits, path)
            content = path.read_bytes()
        how = {"content-disposition": 'attachment; filename="edit.json"'}
        return Plain(content, media_type="application/json", headers=how)

    for path, answer in (("try", try_text), ("attention", attend), ("touch", touched)):
        app.router.add_route(f"/api/{path}", answer, methods=["POST"])
    app.router.add_route("/api/edit", kept, methods=["POST"])


async def _lines(first: Any, answers: Any) -> AsyncIterator[str]:
    """Yield answers as lines of JSON, an error as the last."""
    async with aclosing(answers):
        yield json.dumps(first) + "\n"
        try:
            async for answer in answers:
                yield json.dumps(answer) + "\n"
        except NisslError as error:
            yield json.dumps({"error": str(error)}) + "\n"


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
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


def _ids(net: Network, text: str) -> list[int]:
    """Return the tokens of a text, as `Network.run` reads it."""
    from nissl.network.run.windows import single_windows

    ids: list[int] = single_windows(net, text).ids[0].tolist()
    if len(ids) > TOKENS:
        raise NisslError(f"the text has {len(ids):,} tokens", do=f"give at most {TOKENS}")
    return ids


def _number(given: Mapping[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise NisslError(f"{str(value)[:40]!r} is no number", where=name)
    return value


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    value = _number(given, name, default)
    if value != int(value):
        raise NisslError(f"{value} is no whole number", where=name)
    return int(value)


def _six(x: Any) -> float | None:
    """Return a number to six digits; None where it is not finite."""
    return float(f"{x:.6g}") if math.isfinite(x) else None
