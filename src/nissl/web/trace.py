"""What the explorer asks of circuits: one that is there, its test, and a new one of two prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError, require_known
from nissl.web.csv_text import as_csv
from nissl.web.posted import body_of, streamed, text_of
from nissl.web.reading import ids_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nissl.behaviour import Behaviour
    from nissl.network import Network
    from nissl.web.circuits import Circuits
    from nissl.web.live import Live, Say

__all__ = ["METHODS", "add_circuits", "pair_of"]

TOKENS, RANDOM = 128, 19  # of a prompt; circuits that a circuit is tested beside
MLPS, NEURONS = ("attn.z", "mlp.out"), ("attn.z", "mlp.neurons")
#: What a circuit is made of, and how its parts are scored.
METHODS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "edges, EAP": ("eap", None),
    "edges, EAP-IG": ("eap_ig", None),
    "heads and MLPs, RelP": ("relp", MLPS),
    "heads and neurons, RelP": ("relp", NEURONS),
}


def add_circuits(app: Any, live: Live, circuits: Circuits) -> None:
    """Answer ``/api/circuits``, ``/api/circuit``, and what is asked of one.

    Parameters
    ----------
    app : FastAPI
        The server.
    live : Live
        The model.
    circuits : Circuits
        Of its atlas.
    """
    from starlette.responses import JSONResponse, PlainTextResponse

    def names() -> Any:
        return {"names": circuits.names()}

    def told(name: str = "", found: str = "", most: int = 60, closed: str = "") -> Any:
        return circuits.told(name, found, most=most, closed=closed.split("\n"))

    def listed(name: str = "", found: str = "") -> Response:
        return PlainTextResponse(as_csv(circuits.table(name, found).table), media_type="text/csv")

    def rest(name: str = "", found: str = "") -> Any:
        return {"nodes": circuits.rest(name, found)}

    seen = {"circuits": names, "circuit": told, "circuit.csv": listed, "circuit/rest": rest}
    for path, look in seen.items():
        app.get(f"/api/{path}")(look)

    async def group(request: Request) -> Response:
        body = await body_of(request)
        nodes = body.get("nodes")
        if not isinstance(nodes, list):
            raise NisslError("nodes are a list of addresses")
        some = [str(node) for node in nodes]
        return JSONResponse({"groups": circuits.group(_of(body, "name"), _of(body, "group"), some)})

    async def save(request: Request) -> Response:
        body = await body_of(request)
        path = circuits.keep(_of(body, "found"), _of(body, "name"))
        return JSONResponse({"name": path.stem, "file": str(path), "names": circuits.names()})

    async def find(request: Request) -> Response:
        body = await body_of(request)
        asked = _asked(body)
        method, size = _of(body, "method"), body.get("size")
        require_known("method", method, list(METHODS))
        if not isinstance(size, (int, float)) or isinstance(size, bool) or not 0 < size <= 1:
            raise NisslError(f"{str(size)[:40]} is no share of the network", do="give 0.02, or so")
        return await streamed(
            live.answers(
                request, lambda net, say: _find(net, say, circuits, asked, method, float(size))
            )
        )

    async def test(request: Request) -> Response:
        body = await body_of(request)
        asked, name, found = _asked(body), _of(body, "name"), _of(body, "found")
        circuits.table(name, found)  # what is wrong with it is said before its turn comes
        return await streamed(
            live.answers(request, lambda net, say: _test(net, say, circuits, asked, name, found))
        )

    answering = {"group": group, "save": save, "find": find, "test": test}
    for path, answer in answering.items():
        app.router.add_route(f"/api/circuit/{path}", answer, methods=["POST"])


def pair_of(net: Network, asked: Mapping[str, str]) -> tuple[Behaviour, dict[str, Any]]:
    """Make a pair of prompts that differ in what is asked about, and their two answers.

    Parameters
    ----------
    net : Network
        A language model.
    asked : mapping of str
        ``prompt`` and ``contrast``, of as many tokens; ``answer``, by default the likeliest next
        token of the prompt, and ``wrong``, of the contrast. An answer that is typed without a
        space before it is read with one where the model finds that likelier.

    Returns
    -------
    pair : Behaviour
        Of one pair; its metric is the difference of the two logits.
    said : dict
        ``tokens``, ``other`` (of the contrast), ``answer``, ``wrong``, and ``values``: the metric
        of both prompts.

    Raises
    ------
    NisslError
        The prompts are not as long, both have one answer, or an answer is not one token.
    """
    import torch

    from nissl.behaviour import Behaviour

    ids = [ids_of(net, asked[name]) for name in ("prompt", "contrast")]
    tokens = [net.tokens(row) for row in ids]
    if len(ids[0]) != len(ids[1]):
        shown = " and ".join("|".join(row) for row in tokens)
        raise NisslError(
            f"the prompt has {len(ids[0])} tokens, the contrast {len(ids[1])}",
            where=shown[:400],
            do="change a word for one of as many tokens: positions are to correspond",
        )
    if len(ids[0]) > TOKENS:
        raise NisslError(f"the prompt has {len(ids[0])} tokens", do=f"give at most {TOKENS}")
    if ids[0] == ids[1]:
        raise NisslError("the contrast is the prompt", do="change what the circuit is to be about")
    with torch.no_grad():
        logits = net.run(ids, sites="logits")["logits"][:, -1]
    answers = [
        _token(net, asked[name], logits[row]) for row, name in enumerate(("answer", "wrong"))
    ]
    words = net.tokens(answers)
    if answers[0] == answers[1]:
        raise NisslError(
            f"both prompts are answered by '{words[0]}'",
            do="give the two answers, or another contrast",
        )
    pair = Behaviour(net, ids[:1], ids[1:], right=answers[:1], wrong=answers[1:])
    values = [round(float(x), 4) for x in (pair.clean_value, pair.corrupted_value)]
    said = {"tokens": tokens[0], "other": tokens[1], "answer": words[0], "wrong": words[1]}
    return pair, said | {"values": values}


def _find(
    net: Network,
    say: Say,
    circuits: Circuits,
    asked: Mapping[str, str],
    method: str,
    size: float,
) -> None:
    from nissl.circuits import circuit

    pair, said = pair_of(net, asked)
    say({"pair": said, "doing": f"scoring {method.partition(',')[0]}"})
    how, over = METHODS[method]
    made = circuit(
        pair, method=how, over=over, size=size, tested_on=pair, batch_size=1, progress=False
    )
    about = {name: asked[name] for name in ("prompt", "contrast")}
    about |= {"answer": said["answer"], "wrong": said["wrong"], "method": method}
    named = replace(made, name=f"{asked['prompt'][:60]} ({method})")
    say({"found": circuits.hold(named, about)})


def _test(
    net: Network, say: Say, circuits: Circuits, asked: Mapping[str, str], name: str, found: str
) -> None:
    """Say what a circuit alone keeps of a pair, and what random circuits of its size keep."""
    from nissl.behaviour import load_circuit

    pair, said = pair_of(net, asked)
    say({"pair": said, "doing": "testing"})
    if found:
        circuit = replace(circuits.found[found][0], tested_on=pair)
    else:
        circuit = load_circuit(net, circuits.path(name), tested_on=pair)
    about = circuits.table(name, found).about
    chosen_by = [about.get(key) for key in ("prompt", "contrast", "answer", "wrong")]
    told = [asked["prompt"], asked["contrast"], said["answer"], said["wrong"]]

    def progress(done: float, total: float | None) -> None:
        say({"doing": "testing", "done": done, "of": total})

    row = circuit.scores(n_random=RANDOM, progress=progress).iloc[0].to_dict()
    scores = {key: float(value) for key, value in row.items()}
    as_near = round(scores["p"] * (RANDOM + 1)) - 1
    say({"scores": scores | {"n_random": RANDOM, "as_near": as_near}, "same": chosen_by == told})


def _token(net: Network, text: str, logits: Any) -> int:
    """Return the token that an answer is; the likeliest one where there is no text."""
    if not text:
        return int(logits.argmax())
    encode = net.require_tokenizer().encode
    forms = [text] if text[:1].isspace() else [text, f" {text}"]
    found = [
        ids[0] for ids in (encode(f, add_special_tokens=False) for f in forms) if len(ids) == 1
    ]
    return max(found, key=lambda i: float(logits[i])) if found else net.token_id(text)


def _asked(body: Mapping[str, Any]) -> dict[str, str]:
    asked = {name: text_of(body, name) for name in ("prompt", "contrast")}
    return asked | {name: _of(body, name)[:100] for name in ("answer", "wrong")}


def _of(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise NisslError(f"{str(value)[:40]} is no text", where=name)
    return value
