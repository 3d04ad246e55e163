"""Every route of the explorer, those that are added later too: who may ask it, and any question."""

import ast
import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import nissl.web
from asgi import Answer, ask, routes
from nissl.atlas import Atlas, open_atlas
from nissl.network import Network
from nissl.web import server

UNIT = "blocks.1.mlp.neurons[5]"
QUESTIONS = min(int(os.environ.get("NISSL_FUZZ", 40)), 2000)  # of each route
MARKUP = "<img src=x onerror=alert(1)>"
#: What a question may hold where all is well; names that are not here are filled at random.
PLAUSIBLE: dict[str, Any] = {
    "text": "w3 w1 w4 w1 w5",
    "prompt": "w3 w1 w4",
    "unit": UNIT,
    "units": [UNIT],
    "edits": [{"unit": UNIT, "how": "clamp", "value": 3.0}],
    "where": "layer = 1",
    "sort": "mean",
    "column": "density",
    "name": "some",
    "row": 3,
    "n": 2,
    "limit": 5,
    "offset": 0,
    "layer": 1,
    "head": 1,
    "position": 1,
}
WORDS = (
    "", " ", "\0", "\ud800", "é東京", "__proto__", "constructor", MARKUP, "../../etc/passwd",
    "%2e%2e%2f", "a" * 20_000, "w1 " * 3000, "' or 1=1 --", '"', "nan", "-inf", "1e309", "density",
    "density < 1", "density < nan", "unit ~ (", "set = some", "set != __proto__",
    "token = and and and", 'token = "', "=" * 50, "mean = 1" + " and mean = 1" * 2000, UNIT,
    "blocks.*.mlp.neurons", "blocks.9.mlp", "blocks.1.mlp.neurons[99999999999999999999]",
    "[" * 3000,
)  # fmt: skip
THINGS: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 10**6, 10**30, -(10**400), 0.5, 1e300, float("nan"), float("inf"),
    [], {}, [[]], [None], {"unit": None}, [{"unit": UNIT, "how": "scale", "value": 1e29}] * 3,
    [{"unit": "blocks.*.attn.z[head 1]", "how": "ablate"}], [UNIT] * 300, {"a": {"b": []}},
)  # fmt: skip


@pytest.fixture(scope="module")
def app(atlas: Atlas, net: Network, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The explorer of a tiny network's atlas, live, beside another that is matched to it."""
    other = open_atlas(copytree(atlas.path, tmp_path_factory.mktemp("beside") / "other"))
    made = server(atlas, token="secret", model=net, beside=other)
    for _ in range(600):
        told = json.loads(ask(made, "/api/beside").text)
        if told.get("ready"):
            return made
        assert "error" not in told
        time.sleep(0.1)
    raise AssertionError(told)


@pytest.fixture(scope="module")
def known(app: Any) -> list[tuple[str, str]]:
    found = sorted({(method, path) for method, path, _ in routes(app)})
    assert ("POST", "/api/touch") in found
    assert ("GET", "/api/unit/{row}") in found
    assert ("GET", "/api/beside/pair/{row}") in found
    return found


def filled(path: str, values: Any) -> str:
    """Put values in the places of a path."""
    return re.sub(r"{(\w+)[^}]*}", lambda m: str(values(m[1])), path)


def plausible(path: str) -> str:
    return filled(path, lambda name: PLAUSIBLE.get(name, "some"))


def asked(app: Any, method: str, path: str, **options: Any) -> Answer:
    body = {} if method == "POST" else None
    return ask(app, plausible(path), method=method, body=body, **options)


def test_no_route_answers_without_the_token(app: Any, known: list[tuple[str, str]]) -> None:
    for method, path in known:
        for token in ("", "guess", "secre", "secret2"):
            assert asked(app, method, path, token=token).status == 401, path


@pytest.mark.parametrize(
    ("forged", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:7007"}, 403),
        ({"host": "localhost.:7007"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:7008"}, 403),  # a page of another server of this machine
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
def test_no_route_answers_another_page_or_host(
    app: Any, known: list[tuple[str, str]], forged: dict[str, str], status: int
) -> None:
    for method, path in known:
        assert asked(app, method, path, **forged).status == status, path


@pytest.mark.parametrize(
    ("forged", "status"),
    [
        ({"content_type": ""}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "text/plain; application/json"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_length": "2000001"}, 413),
        ({"content_length": ""}, 413),  # in chunks, of which nobody knows how many
        ({"content_length": "-1"}, 413),
    ],
)
def test_what_changes_something_is_asked_in_bounded_json(
    app: Any, known: list[tuple[str, str]], forged: dict[str, str], status: int
) -> None:
    for method, path in known:
        if method != "GET":
            assert asked(app, method, path, **forged).status == status, path


def test_no_route_can_be_framed_kept_or_read_as_another_type(
    app: Any, known: list[tuple[str, str]]
) -> None:
    for method, path in known:
        headers = asked(app, method, path).headers
        assert headers["x-frame-options"] == "DENY", path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["cross-origin-resource-policy"] == "same-origin", path
        assert headers["cache-control"] == "no-store", path
        assert not any(name.startswith("access-control") for name in headers), path


def names_of_questions() -> list[str]:
    """Every word that the code of the explorer may look up in a question."""
    texts: set[str] = set(PLAUSIBLE)
    for file in Path(nissl.web.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts |= {node.value} if node.value.isidentifier() else set()
            if isinstance(node, ast.FunctionDef):
                texts |= {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
    return sorted(texts)


def questions(seed: int, n: int) -> Iterator[dict[str, Any]]:
    """Questions that are right but for one to three of what they hold."""
    rng, names = random.Random(seed), names_of_questions()
    for _ in range(n):
        made = dict(PLAUSIBLE)
        for name in rng.sample(sorted(PLAUSIBLE), rng.choice([0, 1, 1, 2])) + rng.sample(names, 2):
            made[name] = rng.choice(WORDS if rng.random() < 0.6 else THINGS)
        yield made


def wrong_with(found: Answer) -> str:
    """What is wrong with an answer, whatever was asked; empty if nothing is."""
    if found.failed is not None or not 200 <= found.status < 500:
        return f"{found.status} {found.failed!r}"
    if any(word in found.text for word in ("Traceback", 'File "', "root:x:")):
        return found.text
    kind = found.headers.get("content-type", "")
    try:
        for line in found.text.splitlines() if "ndjson" in kind else [found.text]:
            if "json" in kind:
                json.loads(line, parse_constant=lambda name: 1 / 0)  # NaN is not JSON
    except (ValueError, ZeroDivisionError) as error:
        return f"no JSON: {error!r}"
    return ""


def test_any_question_is_answered_or_refused_in_words(
    app: Any, known: list[tuple[str, str]]
) -> None:
    failed = []
    for method, path in known:
        for made in questions(0, QUESTIONS):
            place = filled(path, lambda name, made=made: made.get(name, "x"))
            if method == "GET":
                found = ask(app, place, query={k: str(v) for k, v in made.items()})
            else:
                found = ask(app, place, method=method, body=made)
            if wrong := wrong_with(found):
                changed = {k: v for k, v in made.items() if PLAUSIBLE.get(k) != v}
                failed.append((method, path, str(changed)[:300], wrong[:300]))
    assert not failed


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'"' * 9])
def test_what_is_no_question_is_said(app: Any, known: list[tuple[str, str]], body: bytes) -> None:
    for method, path in known:
        if method == "POST":
            found = ask(app, plausible(path), method=method, body=body)
            assert found.status == 400, path
            assert "not JSON" in json.loads(found.text)["error"]


def test_paths_lead_nowhere_else(app: Any, known: list[tuple[str, str]]) -> None:
    tried = ("../atlas.json", "..%2fatlas.json", "%2e%2e/atlas.json", "/etc/passwd", "..", ".", "~",
             "a\0b", "....//atlas.json", "..\\atlas.json", "file:///etc/passwd",
             "x" * 5000)  # fmt: skip
    for method, path in known:
        if "{" not in path:
            continue
        for name in tried:
            found = ask(
                app,
                filled(path, lambda _, name=name: name),
                method=method,
                body={} if method != "GET" else None,
            )
            assert found.failed is None, (path, name)
            assert 400 <= found.status < 500, (path, name, found.text)
            assert "root:" not in found.text
            assert '"weights"' not in found.text
    for path in (
        "/atlas.json",
        "/units.parquet",
        "/notes.json",
        "/units/0.js",
        "/.",
        "/api/../atlas.json",
    ):
        assert ask(app, path).status == 404, path
