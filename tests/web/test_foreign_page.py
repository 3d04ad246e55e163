"""Pages of other servers and texts that would be markup, in a browser that has the token."""

import http.client
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest

from made_up_atlas import make_atlas
from nissl.atlas import Atlas, open_atlas

MARKUP = '"><img src=x onerror="window.hit=1"><script>window.hit=1</script>'
#: What a page tries; each tells "refused" or what it got.
ATTACKS = """async (target) => {
  const note = JSON.stringify({ unit: "blocks.0.mlp.neurons[0]", text: "owned" });
  const load = (tag, property, path) => new Promise((tell) => {
    const made = document.createElement(tag);
    made.onload = () => tell(tag === "iframe" && !made.contentDocument ? "refused" : "loaded");
    made.onerror = () => tell("refused");
    made[property] = target + path;
    document.body.append(made);
    if (tag === "link") made.rel = "stylesheet";
    setTimeout(() => tell("refused"), 3000);
  });
  const got = (answer) => (answer.type === "opaque" || !answer.ok ? "refused" : answer.text());
  const get = (path, options) => fetch(target + path, { credentials: "include", ...options })
    .then(got, () => "refused");
  const form = (path, enctype) => new Promise((tell) => {
    const element = (tag) => document.createElement(tag);
    const [frame, made, input] = ["iframe", "form", "input"].map(element);
    frame.name = `frame-${enctype}`;
    Object.assign(made, { method: "post", enctype, action: target + path, target: frame.name });
    Object.assign(input, { name: note.slice(0, -1) + ',"a":"', value: '"}' });
    made.append(input);
    document.body.append(frame, made);
    made.submit();
    const read = () => frame.contentDocument && frame.contentDocument.body.textContent;
    setTimeout(() => tell(read() ? "loaded" : "refused"), 1500);
  });
  const socket = new Promise((tell) => {
    const made = new WebSocket(`${target.replace("http", "ws")}/api/touch`);
    made.onopen = () => tell("open");
    made.onerror = () => tell("refused");
  });
  navigator.sendBeacon(`${target}/api/note`, note);
  const text = { method: "POST", body: note, headers: { "content-type": "text/plain" } };
  return {
    read: await get("/api/units"), page: await get("/"), notes: await get("/api/notes"),
    blind: await get("/api/note", { mode: "no-cors", method: "POST", body: note }),
    text: await get("/api/note", text),
    json: await get("/api/note", { ...text, headers: { "content-type": "application/json" } }),
    put: await get("/api/note", { ...text, method: "PUT" }),
    image: await load("img", "src", "/api/unit/0"),
    script: await load("script", "src", "/api/notes"),
    style: await load("link", "href", "/api/units.csv"), frame: await load("iframe", "src", "/"),
    plain: await form("/api/note", "text/plain"),
    coded: await form("/api/note", "application/x-www-form-urlencoded"),
    socket: await socket,
  };
}"""


class Page(BaseHTTPRequestHandler):
    """A page of somebody else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another page</title><body>")

    def log_message(self, *about: Any) -> None:
        """Say nothing."""


@pytest.fixture
def foreign() -> Iterator[int]:
    """The port of another server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1]
        running.shutdown()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_foreign_page_reads_and_changes_nothing(
    browser: Any, served: str, foreign: int, atlas_folder: Path, name: str
) -> None:
    context = browser.new_context()
    own = context.new_page()
    own.goto(served)  # the cookie is there
    page = context.new_page()
    page.goto(f"http://{name}:{foreign}/")
    found = page.evaluate(ATTACKS, served.partition("/?")[0])
    page.goto(served.partition("?")[0])  # typed, it is opened
    assert page.locator("#map").count() == 1
    context.close()
    assert set(found.values()) == {"refused"}, found
    assert "owned" not in json.dumps(open_atlas(atlas_folder).notes.notes)


def test_what_speaks_no_http_is_refused(served: str) -> None:
    place = urlsplit(served)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "http://evil.example"}
    connection.request("GET", "/api/touch", headers=headers)
    assert connection.getresponse().status == 403
    connection.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """An atlas whose every text would be markup, or is the name of what every object has."""
    folder = make_atlas(tmp_path_factory.mktemp("hostile"), layers=2, width=6, n_tokens=200)
    names = ["__proto__", "constructor", "toString", MARKUP, "%E0%A4%A", "东京 [0]"]
    for file in ("units", "examples", "tokens"):
        path = folder / f"{file}.parquet"
        table = pd.read_parquet(path)
        rows = table.index if file == "units" else table["row"]
        table["unit"] = [f"{names[row % 6]}{'' if row < 6 else row}" for row in rows]
        if file == "units":
            table["site"] = [f"{MARKUP}{row // 6}" for row in rows]
            table["kind"], table["token"], table["language"] = "token", MARKUP, MARKUP
            table["token_effect"], table["token_q"] = 3.0, 0.001
            table["promoted"] = [[MARKUP, "__proto__"]] * len(table)
        if file == "tokens":
            table["token"] = MARKUP
        table.to_parquet(path)
    words = json.loads((folder / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps(dict.fromkeys(words, MARKUP)))
    about = {"network": MARKUP, "text": MARKUP, MARKUP: MARKUP, "rules": {"token": MARKUP}}
    (folder / "atlas.json").write_text(json.dumps(about | {"n_tokens": 200, "pictures": MARKUP}))
    return open_atlas(folder)


def test_no_text_of_the_data_is_markup(
    visit: Callable[..., Any], serve: Callable[..., str], hostile: Atlas
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    hostile.notes.write("__proto__", MARKUP)
    hostile.notes.keep(MARKUP, ["constructor"])
    address = serve(hostile)
    page = visit(address)
    expect(page.locator("#table-say")).to_contain_text("12 of 12 units.")
    for row in range(6):
        link = page.locator("#units-table tbody .link").nth(row)
        name = link.inner_text()
        link.click()
        expect(page.locator("#unit-title")).to_have_text(name)
        expect(page.locator("#unit textarea")).to_have_value(MARKUP if name == "__proto__" else "")
        expect(page.locator("#unit .contexts").first).to_be_visible()
        page.keyboard.press("Escape")
    page.select_option("#set", index=1)
    expect(page.locator("#table-say")).to_contain_text("1 of 12 units.")
    expect(page.locator("#where")).to_have_value(f"set = {json.dumps(MARKUP)}")
    page.fill("#search", "__proto__")
    expect(page.locator("#found [role=option]").first).to_contain_text("__proto__")
    page.fill("#find", MARKUP)
    expect(page.locator("#table-say")).to_contain_text("high where the text ends")
    for place in ("#%E0%A4%A", "#__proto__", "#constructor", f"#{MARKUP}"):
        page.goto(f"{address}&where={MARKUP}&find=__proto__&columns=__proto__,{MARKUP}{place}")
        expect(page.locator("#table-say")).not_to_have_text("Reading the list …")
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src=x], main script").count() == 0
    assert MARKUP in page.locator("h1").inner_text()


def test_a_picture_outside_is_not_served(
    atlas_folder: Path, tmp_path: Path, serve: Callable[..., str]
) -> None:
    copy = Path(shutil.copytree(atlas_folder, tmp_path / "atlas"))
    (tmp_path / "secret.png").write_text("secret")
    (copy / "images").mkdir()
    (copy / "images" / "own.png").write_text("own")
    (copy / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    (copy / "images" / "folder").symlink_to(tmp_path, target_is_directory=True)
    place = urlsplit(serve(open_atlas(copy)))
    asked = partial(http.client.HTTPConnection, str(place.hostname), place.port, timeout=20)

    def status(path: str) -> int:
        connection = asked()
        connection.request("GET", path, headers={"Cookie": f"nissl-{place.port}=secret"})
        found = connection.getresponse().status
        connection.close()
        return found

    assert status("/images/own.png") == 200
    for name in ("link.png", "folder/secret.png", "../secret.png", "..%2fsecret.png", "%2e%2e/x"):
        assert status(f"/images/{name}") == 404, name
