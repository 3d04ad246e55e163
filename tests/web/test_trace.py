"""Circuits in the explorer: opened, grouped, edited, found on a planted network, and refused."""

import errno
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

import nissl
from nissl.atlas import Atlas, make_atlas
from nissl.behaviour import CircuitTable, load_circuit, read_circuit
from nissl.errors import NisslError
from nissl.network import Network, ablate, edges_of
from nissl.specimens.planted import PlantedCircuit, planted_circuit
from nissl.web import server
from nissl.web.circuits import Circuits
from nissl.web.touch import edits_of
from nissl.web.trace import pair_of

MARKUP = "<b>東京</b>"
HEADS = ["blocks.0.attn.z[head 1]", "blocks.1.attn.z[head 4]"]  # of planted induction


@pytest.fixture(scope="module")
def planted() -> PlantedCircuit:
    return planted_circuit("induction")


@pytest.fixture(scope="module")
def net(planted: PlantedCircuit) -> Network:
    return nissl.load(planted.module, tokenizer=planted.tokenizer)


@pytest.fixture(scope="module")
def asked(planted: PlantedCircuit) -> dict[str, str]:
    row = planted.pairs.iloc[0]
    return {"prompt": row["text"], "contrast": row["corrupted"], "answer": "", "wrong": ""}


@pytest.fixture(scope="module")
def atlas(net: Network, planted: PlantedCircuit, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    out = tmp_path_factory.mktemp("induction")
    texts = [" ".join(planted.pairs["text"][i : i + 4]) for i in range(0, 16, 4)]
    return make_atlas(net, texts, out=out, progress=False)


@pytest.fixture(scope="module")
def live(atlas: Atlas, net: Network) -> Iterator[str]:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        server(atlas, token="secret", model=net), log_level="warning", timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token=secret"
    running.should_exit = True
    thread.join(10)


@pytest.fixture
def folder(atlas: Atlas) -> Iterator[Path]:
    """The folder of circuits, empty."""
    made = atlas.path / "circuits"
    made.mkdir(exist_ok=True)
    yield made
    for path in made.iterdir():
        path.unlink()


def reply(live: str, path: str, body: Any = None) -> http.client.HTTPResponse:
    place = urlsplit(live)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    headers = {"content-type": "application/json", "cookie": f"nissl-{place.port}=secret"}
    connection.request(
        "GET" if body is None else "POST",
        f"/api/{path}",
        None if body is None else json.dumps(body),
        headers,
    )
    return connection.getresponse()


def got(live: str, path: str, body: Any = None) -> Any:
    answer = reply(live, path, body)
    text = answer.read().decode()
    assert answer.status == 200, text
    return json.loads(text)


def refused(live: str, path: str, body: Any = None) -> str:
    answer = reply(live, path, body)
    assert answer.status == 400
    return str(json.loads(answer.read())["error"])


def lines(live: str, path: str, body: Any) -> dict[str, Any]:
    """All that is said, the last of each name."""
    found: dict[str, Any] = {}
    for line in reply(live, path, body).read().decode().splitlines():
        found |= json.loads(line)
    return found


def a_circuit(path: Path, **options: Any) -> CircuitTable:
    """Write a circuit of the edges of two blocks; one of them is strong."""
    units = [f"embed -> {HEADS[0].replace('.z', kind)}" for kind in (".q", ".k", ".v")]
    units += [f"{HEADS[0]} -> {HEADS[1].replace('.z', '.k')}", f"{HEADS[1]} -> logits"]
    units += ["embed -> blocks.0.mlp.out", "blocks.0.mlp.out -> logits", "embed -> logits"]
    effects = np.array([0.5, 0.25, 1.0, 3.0, 4.0, -0.75, -0.5, 0.0])
    made = CircuitTable(MARKUP, "planted", "edges", 0.9, units, effects, **options)
    path.parent.mkdir(exist_ok=True)
    made.save(path)
    return made


def test_a_file_is_told_without_the_model(tmp_path: Path) -> None:
    a_circuit(tmp_path / "circuits" / "two.json")
    circuits = Circuits(tmp_path)
    assert circuits.names() == ["two"]
    told = circuits.told("two")
    assert (told["name"], told["kind"], told["n"], told["parts"]) == (MARKUP, "edges", 7, 8)
    assert told["edges"][0] == [HEADS[1], "logits", 4.0]
    assert ["embed", HEADS[0], 1.75] in told["edges"]  # queries, keys and values are one
    nodes = {node["id"]: node for node in told["nodes"]}
    assert told["nodes"][0]["id"] == "embed"
    assert nodes[HEADS[0]]["label"] == "0 head 1"
    assert nodes[HEADS[0]]["effect"] == 3.0
    assert nodes["logits"]["effect"] == 3.5
    assert nodes["logits"]["layer"] == 2
    some = circuits.told("two", most=2)
    assert [edge[2] for edge in some["edges"]] == [4.0, 3.0]
    with pytest.raises(NisslError, match="has every node"):
        circuits.rest("two")


def test_groups_are_summed_and_kept_beside_the_file(tmp_path: Path) -> None:
    a_circuit(path := tmp_path / "circuits" / "two.json")
    circuits = Circuits(tmp_path)
    assert circuits.group("two", MARKUP, HEADS) == {MARKUP: HEADS}
    assert circuits.names() == ["two"]  # the file of groups is no circuit
    open_, closed = circuits.told("two"), circuits.told("two", closed=[MARKUP, "none"])
    assert len(open_["nodes"]) == 5
    assert closed["edges"] == [
        [MARKUP, "logits", 4.0],
        ["embed", MARKUP, 1.75],
        ["embed", "blocks.0.mlp.out", -0.75],
        ["blocks.0.mlp.out", "logits", -0.5],
    ]
    (group,) = [node for node in closed["nodes"] if node["group"]]
    assert (group["id"], group["layer"], group["effect"]) == (MARKUP, 0.5, 4.0)
    with pytest.raises(NisslError, match="is an address"):
        circuits.group("two", "embed", [HEADS[0]])
    with pytest.raises(NisslError, match="no node"):
        circuits.group("two", "some", ["blocks.7.mlp.out"])
    path.with_suffix(".groups.json").write_text("{", encoding="utf-8")
    told = circuits.told("two")
    assert "cannot be read" in told["groups_wrong"]
    assert told["edges"] == open_["edges"]


def test_a_path_of_the_user_may_lie_elsewhere_and_one_of_the_browser_not(tmp_path: Path) -> None:
    a_circuit(tmp_path / "secret.json")
    a_circuit(tmp_path / "atlas" / "mine.json")
    a_circuit(tmp_path / "atlas" / "circuits" / "two.json")
    (tmp_path / "atlas" / "circuits" / "link.json").symlink_to(tmp_path / "secret.json")
    circuits = Circuits(tmp_path / "atlas")
    assert circuits.names() == ["two"]
    for name in ("../mine", "../../secret", "link", str(tmp_path / "secret"), "", "two.json"):
        with pytest.raises(NisslError, match="no circuit is called"):
            circuits.told(name)
    given = Circuits(tmp_path / "atlas", tmp_path / "secret.json")
    assert given.names() == ["secret", "two"]
    assert given.told("secret")["n"] == 7


def test_one_damaged_file_leaves_the_others(live: str, folder: Path) -> None:
    a_circuit(folder / "two.json")
    whole = (folder / "two.json").read_text(encoding="utf-8")
    (folder / "half.json").write_text(whole[:60], encoding="utf-8")
    (folder / "other.json").write_text('{"format": "nissl.edit"}', encoding="utf-8")
    assert got(live, "circuits") == {"names": ["half", "other", "two"]}
    for name in ("half", "other"):
        assert "this is no circuit" in refused(live, f"circuit?name={name}")
    assert got(live, "circuit?name=two")["n"] == 7
    listed = reply(live, "circuit.csv?name=two").read().decode().splitlines()
    assert listed[0] == "unit,writer,reader,indirect_effect"
    assert len(listed) == 8


def test_a_planted_circuit_is_found_kept_and_opened_in_python(
    live: str, folder: Path, net: Network, asked: dict[str, str], planted: PlantedCircuit
) -> None:
    body = {**asked, "method": "edges, EAP-IG", "size": 0.02}
    said = lines(live, "circuit/find", body)
    pair = planted.pairs.iloc[0]
    assert said["pair"]["answer"].strip() == str(pair["answer"]).strip()
    assert said["pair"]["wrong"].strip() == str(pair["wrong"]).strip()
    assert said["pair"]["values"][0] > 0 > said["pair"]["values"][1]
    told = got(live, f"circuit?{urlencode({'found': said['found'], 'most': 6})}")
    shown = {node["id"] for node in told["nodes"]}
    assert planted.nodes <= shown
    kept = got(live, "circuit/save", {"found": said["found"], "name": "induction 1"})
    assert kept["names"] == ["induction 1"]
    table = read_circuit(kept["file"])
    assert table.about["prompt"] == asked["prompt"]
    assert len(load_circuit(net, kept["file"])) == told["n"]
    again = got(live, f"circuit?{urlencode({'name': 'induction 1', 'most': 6})}")
    assert again["edges"] == told["edges"]
    assert "already" in refused(
        live, "circuit/save", {"found": said["found"], "name": "induction 1"}
    )


def test_a_full_disk_is_said_and_leaves_nothing(
    live: str, folder: Path, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {**asked, "method": "edges, EAP-IG", "size": 0.02}
    found = lines(live, "circuit/find", body)["found"]
    there = sorted(folder.iterdir())
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(Path, "write_text", Mock(side_effect=full))
    told = refused(live, "circuit/save", {"found": found, "name": "too much"})
    assert "the circuit cannot be written: No space left on device" in told
    assert sorted(folder.iterdir()) == there


def test_the_test_of_a_circuit_is_pythons(
    live: str, folder: Path, net: Network, asked: dict[str, str]
) -> None:
    body = {**asked, "method": "heads and MLPs, RelP", "size": 0.3}
    found = lines(live, "circuit/find", body)["found"]
    path = got(live, "circuit/save", {"found": found, "name": "heads"})["file"]
    pair, _ = pair_of(net, asked)
    wanted = load_circuit(net, path, tested_on=pair).scores(n_random=19, progress=False).iloc[0]
    for which in ({"found": found}, {"name": "heads"}):
        said = lines(live, "circuit/test", {**asked, **which})
        assert (said["done"], said["of"], said["same"]) == (22, 22, True)
        for name in ("faithfulness", "random", "p"):
            assert said["scores"][name] == pytest.approx(wanted[name], abs=1e-6)
        assert said["scores"]["as_near"] == round(20 * wanted["p"]) - 1
    other = {**asked, "prompt": asked["contrast"], "contrast": asked["prompt"]}
    assert lines(live, "circuit/test", {**other, "name": "heads"})["same"] is False


def test_all_but_the_circuit_and_a_group_are_edits_as_in_python(
    live: str, folder: Path, net: Network, asked: dict[str, str]
) -> None:
    found = lines(live, "circuit/find", {**asked, "method": "edges, EAP", "size": 0.01})["found"]
    rest = got(live, f"circuit/rest?found={found}")["nodes"]
    nodes = {n["id"] for n in got(live, f"circuit?found={found}&most=500")["nodes"]}
    assert not nodes & set(rest)
    assert len(nodes - {"logits"}) + len(rest) == len(edges_of(net).writers)
    for units in (rest, HEADS):
        made = edits_of([{"unit": ", ".join(units), "how": "ablate", "value": 0}])
        assert len(made) == 1
        with net.edit(*made):
            page = net.run(asked["prompt"], sites="logits")["logits"]
        with net.edit(ablate(units)):
            assert net.run(asked["prompt"], sites="logits")["logits"].equal(page)
    body = {
        "prompt": asked["prompt"],
        "n": 3,
        "edits": [{"unit": ", ".join(HEADS), "how": "ablate"}],
    }
    said = lines(live, "touch", body)
    with net.edit(ablate(HEADS)):
        assert said["with"] == net.generate(asked["prompt"], max_new_tokens=3)


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("find", {"contrast": ""}, "there is no text"),
        ("find", {"contrast": "PROMPT"}, "is the prompt"),
        ("find", {"contrast": "PROMPT again"}, "tokens, the contrast"),
        ("find", {"answer": "neither of them"}, "tokens, not one"),
        ("find", {"method": "magic"}, "no method is called"),
        ("find", {"size": 0}, "no share"),
        ("find", {"size": float("nan")}, "no share"),
        ("find", {"size": True}, "no share"),
        ("find", {"answer": 5}, "no text"),
        ("test", {"name": "none"}, "no circuit is called"),
        ("test", {"found": "none"}, "not kept"),
        ("save", {"found": "none", "name": "x"}, "not kept"),
        ("group", {"name": "none", "group": "x", "nodes": []}, "no circuit is called"),
        ("group", {"name": "none", "group": "x", "nodes": "all"}, "a list"),
    ],
)
def test_what_is_refused_is_said(
    live: str, asked: dict[str, str], path: str, change: Any, words: str
) -> None:
    given = {
        k: v.replace("PROMPT", asked["prompt"]) if isinstance(v, str) else v
        for k, v in change.items()
    }
    body = {**asked, "method": "edges, EAP", "size": 0.1, **given}
    assert words in refused(live, f"circuit/{path}", body)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a.groups", "x" * 90, "a\n", "a."])
def test_a_name_is_no_path(live: str, folder: Path, asked: dict[str, str], name: str) -> None:
    body = {**asked, "method": "heads and MLPs, RelP", "size": 0.3}
    found = lines(live, "circuit/find", body)["found"]
    if name.strip() and name == name.strip():
        assert "no name of a file" in refused(live, "circuit/save", {"found": found, "name": name})
    assert not list(folder.iterdir())


def test_a_client_that_leaves_frees_the_queue(
    live: str, folder: Path, net: Network, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    from nissl.behaviour import Patching

    found = lines(live, "circuit/find", {**asked, "method": "edges, EAP", "size": 0.02})["found"]
    run, runs = Patching.run, []

    def slow(self: Any, **options: Any) -> Any:
        runs.append(time.sleep(0.2))
        return run(self, **options)

    monkeypatch.setattr(Patching, "run", slow)
    answer = reply(live, "circuit/test", {**asked, "found": found})
    assert json.loads(answer.readline())["pair"]
    answer.close()
    assert got(live, "try", {"text": asked["prompt"]})["tokens"]  # its turn came
    assert len(runs) < 22
    assert not net.edit_blocks


def test_an_answer_without_its_space_is_the_likelier_token(
    net: Network, asked: dict[str, str]
) -> None:
    _, said = pair_of(net, asked)
    _, typed = pair_of(net, {**asked, "answer": said["answer"].strip()})
    assert typed == said


def open_page(browser: Any, live: str, complaints: list[str], **options: Any) -> Any:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    made = context.new_page()
    made.on("console", lambda s: "status of 400" in s.text or complaints.append(s.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.goto(live)
    return made


@pytest.fixture
def page(browser: Any, live: str) -> Iterator[Any]:
    complaints: list[str] = []
    made = open_page(browser, live, complaints)
    yield made
    made.context.close()
    assert not complaints


def test_a_circuit_is_asked_for_grouped_touched_and_tested(
    page: Any, folder: Path, net: Network, asked: dict[str, str]
) -> None:
    expect: Callable[..., Any] = pytest.importorskip("playwright.sync_api").expect
    page.fill("#clean", asked["prompt"])
    page.fill("#contrast", asked["contrast"])
    page.select_option("#method", "edges, EAP")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#ask-say")).to_contain_text("tested on none")
    expect(page.locator("#prompts mark")).not_to_have_count(0)
    page.fill("#circuit-name", "mine")
    page.get_by_role("button", name="keep it").click()
    expect(page.locator("#ask-say")).to_contain_text("load_circuit")
    assert (folder / "mine.json").exists()
    expect(page.locator("#circuit")).to_have_value("mine")

    page.locator("#edges").fill("5")
    expect(page.locator("#edges-say")).to_have_text("5 edges")
    nodes = page.locator("#trace-picture .node")
    nodes.first.focus()
    page.keyboard.press("ArrowUp")  # the keyboard alone
    page.keyboard.press("Enter")
    expect(page.locator("#trace-node h3")).not_to_have_text("embed")
    for head in HEADS:
        nodes.filter(has_text=head).focus()
        page.keyboard.press("Enter")
        expect(page.locator("#trace-node h3")).to_have_text(head)
        page.get_by_role("button", name="choose for a group").click()
    page.fill("#group-name", MARKUP)
    page.get_by_role("button", name="group them").click()
    group = nodes.filter(has_text=MARKUP)
    expect(group).to_have_count(1)
    assert page.locator("#trace b").count() == 0  # <b> is a text
    group.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#trace-node")).to_contain_text("2 nodes")
    page.locator("#trace-node").get_by_role("button", name="touch").click()
    expect(page.locator("#basket tr")).to_have_count(1)
    expect(page.locator("#basket td").first).to_have_attribute("title", ", ".join(HEADS))
    page.get_by_role("button", name="against what?").click()
    expect(page.locator("#against-say")).to_contain_text("19 random circuits")
    expect(page.locator("#against-say")).to_contain_text("found on")
    table = page.locator("#trace-table").inner_text()

    page.goto(page.url)  # the address holds circuit, how many, groups and node
    expect(page.locator("#edges-say")).to_have_text("5 edges")
    expect(group).to_have_count(1)
    expect(page.locator("#trace-node h3")).to_have_text(MARKUP)
    assert page.locator("#trace-table").inner_text() == table
    page.locator("#closing button").click()
    expect(nodes.filter(has_text=HEADS[0])).to_have_count(1)


def test_what_is_damaged_is_said_where_it_was_opened(page: Any, folder: Path) -> None:
    expect: Callable[..., Any] = pytest.importorskip("playwright.sync_api").expect
    (folder / "half.json").write_text("{", encoding="utf-8")
    a_circuit(folder / "two.json")
    page.goto(page.url)
    page.select_option("#circuit", "half")
    expect(page.locator("#trace-say")).to_contain_text("this is no circuit")
    page.select_option("#circuit", "two")
    expect(page.locator("#trace-say")).to_contain_text(MARKUP)
    expect(page.locator("#trace-say")).to_contain_text("not the network of this atlas")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#ask-say")).to_contain_text("there is no text")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(browser: Any, live: str, folder: Path, scheme: str) -> None:
    expect: Callable[..., Any] = pytest.importorskip("playwright.sync_api").expect
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    a_circuit(folder / "two.json")
    Circuits(folder.parent).group("two", "both", HEADS)
    query = urlencode({"circuit": "two", "node": "both", "closed": "both"})
    page = open_page(browser, f"{live}&{query}", [], color_scheme=scheme)
    expect(page.locator("#trace-node")).to_contain_text("2 nodes")
    found = axe.run(page)
    page.context.close()
    assert not found.violations_count, found.generate_report()
