"""A live model: what it does on a text, with and without edits, and what it refuses."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import numpy as np
import pytest

import nissl
from live_server import TEXT, generated, post, refused, said
from nissl.atlas import Atlas
from nissl.behaviour import edit_divergences
from nissl.errors import NisslError
from nissl.network import Network, ablate, clamp, load_edit, scale
from nissl.web.live import Live
from nissl.web.touch import edits_of
from tiny import tiny

UNIT = "blocks.1.mlp.neurons[5]"
EDIT = {"unit": UNIT, "how": "clamp", "value": 30.0}


def test_activity_is_that_of_a_recording(live: str, atlas: Atlas, net: Network) -> None:
    found = said(live, "/api/try", {"text": TEXT})
    rec = nissl.record(net, [TEXT], sites=atlas.about["sites"], progress=False)
    assert found["tokens"] == TEXT.split()
    assert found["note"] == ""
    table = atlas.units
    z = (rec.values[1:] - table["mean"].to_numpy()) / table["sd"].to_numpy()
    assert list(rec["unit"].values) == list(table["unit"])
    best = np.argsort(-np.abs(z).max(0), kind="stable")[:30]
    assert [u["row"] for u in found["units"]] == best.tolist()
    for unit in found["units"]:
        assert unit["activity"] == pytest.approx(rec.values[:, unit["row"]].tolist(), rel=1e-5)
        assert unit["z"] == pytest.approx(z[unit["at"] - 1, unit["row"]], rel=1e-4)
        assert table["unit"][unit["row"]] == unit["unit"]
    (one,) = said(live, "/api/try", {"text": TEXT, "units": [UNIT]})["units"]
    row = table.index[table["unit"] == UNIT][0]
    assert one["activity"] == pytest.approx(rec.values[:, row].tolist(), rel=1e-5)


def test_the_lens_and_the_pattern_are_the_networks(live: str, net: Network) -> None:
    lens = net.logit_lens(TEXT, positions=2).table
    found = said(live, "/api/try", {"text": TEXT, "position": 2})
    assert [line["words"][0][0] for line in found["lens"]] == lens["best"].tolist()
    first = [line["words"][0][1] for line in found["lens"]]
    assert first == pytest.approx(lens["probability"].tolist(), rel=1e-4)
    head = said(live, "/api/attention", {"text": TEXT, "layer": 1, "head": 2})
    site = "blocks.1.attn.pattern"
    pattern = net.run(TEXT, sites=site)[site][0, :, 2]
    assert np.allclose(head["pattern"], pattern.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("edit", "made"),
    [
        ({"unit": UNIT, "how": "ablate"}, ablate(UNIT)),
        (EDIT, clamp(UNIT, to=30.0)),
        ({"unit": "blocks.0.attn.z[head 1]", "how": "scale", "value": -2}, None),
    ],
)
def test_generation_is_that_of_python(live: str, net: Network, edit: Any, made: Any) -> None:
    found = generated(live, prompt=TEXT, edits=[edit], n=12)
    made = made or scale("blocks.0.attn.z[head 1]", by=-2)
    assert found["without"] == net.generate(TEXT, max_new_tokens=12)
    with net.edit(made):
        assert found["with"] == net.generate(TEXT, max_new_tokens=12)
    assert set(generated(live, prompt=TEXT, n=3, edits=[])) == {"without"}


def test_random_edits_stand_beside_by_their_seed(live: str, net: Network) -> None:
    body = {"prompt": TEXT, "edits": [EDIT], "n": 6, "random": True, "seed": 3}
    found = generated(live, **body)
    (unit,) = found["which"]
    assert unit != UNIT
    with net.edit(clamp(unit, to=30.0)):
        assert found["random"] == net.generate(TEXT, max_new_tokens=6)
    end: Any = found["effect"]["end"]  # type: ignore[index]
    assert end["p"] == pytest.approx((1 + sum(x >= end["own"] for x in end["random"])) / 20)
    assert generated(live, **body) == found
    heads = [{"unit": f"blocks.0.attn.z[head {h}]", "how": "ablate"} for h in range(3)]
    told = generated(live, prompt=TEXT, edits=heads, n=3, random=True)
    assert "too few" in told["unmatched"]


def test_edits_are_kept_as_python_opens_them(live: str, net: Network, tmp_path: Path) -> None:
    edits = [EDIT, {"unit": "blocks.0.mlp.neurons[1]", "how": "scale", "value": 0.5}]
    answer = post(live, "/api/edit", {"edits": edits})
    assert "attachment" in str(answer.getheader("content-disposition"))
    (tmp_path / "edit.json").write_bytes(answer.read())
    with net.edit(load_edit(tmp_path / "edit.json")):
        kept = net.run(TEXT, sites="logits")["logits"]
    with net.edit(clamp(UNIT, to=30.0), scale("blocks.0.mlp.neurons[1]", by=0.5)):
        assert net.run(TEXT, sites="logits")["logits"].equal(kept)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("try", {"text": "w1 " * 40_000}, "120,000 characters"),
        ("try", {"text": "w1 " * 600}, "context of 256|600 tokens"),
        ("try", {"text": " "}, "there is no text"),
        ("try", {"text": 5}, "there is no text"),
        ("try", [], "not JSON"),
        ("try", {"text": TEXT, "units": ["blocks.1.mlp.neurons[77]"]}, "blocks.1.mlp.neurons"),
        ("try", {"text": TEXT, "position": 8}, "no token 8"),
        ("try", {"text": TEXT, "position": "x"}, "no whole number"),
        ("attention", {"text": TEXT, "layer": 7}, "blocks.7"),
        ("attention", {"text": TEXT, "layer": 1, "head": 4}, "no head 4"),
        ("touch", {"prompt": TEXT, "n": 5000, "edits": []}, "1 to 200"),
        ("touch", {"prompt": TEXT, "edits": [{"unit": UNIT, "how": "kill"}]}, "ablate"),
        ("touch", {"prompt": TEXT, "edits": [EDIT | {"value": None}]}, "no number"),
        ("touch", {"prompt": TEXT, "edits": [EDIT | {"unit": "blocks.9.mlp"}]}, "blocks.9"),
        ("touch", {"prompt": TEXT, "edits": [EDIT | {"value": 10**400}]}, "no number"),
        ("touch", {"prompt": TEXT, "edits": [["ablate"]]}, "no unit"),
        ("touch", {"prompt": TEXT, "edits": None}, "a list"),
        ("touch", {"prompt": TEXT, "edits": [], "n": True}, "no whole number"),
        ("try", {"text": TEXT, "units": [None]}, "None"),
        ("try", {"text": "\ud800 w1"}, "."),
        ("edit", {"edits": "all"}, "a list"),
        ("touch", {"prompt": TEXT, "edits": [], "seed": -1}, "no seed"),
    ],
)
def test_what_is_refused_is_said(live: str, path: str, body: Any, words: str) -> None:
    import re

    assert re.search(words, refused(live, f"/api/{path}", body))


def slowly(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let each token take some time; return what is set when generation is given up."""
    from nissl.web import touch
    from nissl.web.live import Stopped

    ended = threading.Event()

    class Slow(touch._Streamer):
        def put(self, ids: Any) -> None:
            time.sleep(0.05)
            try:
                super().put(ids)
            except Stopped:
                ended.set()
                raise

    monkeypatch.setattr(touch, "_Streamer", Slow)
    return ended


def test_a_client_that_leaves_frees_the_queue(
    live: str, net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.model.generation_config.eos_token_id = None
    ended = slowly(monkeypatch)
    answer = post(live, "/api/touch", {"prompt": TEXT, "edits": [EDIT], "n": 200})
    assert json.loads(answer.readline())
    answer.close()
    assert ended.wait(10)  # and not after 200 tokens, two times
    found = said(live, "/api/try", {"text": TEXT})
    assert found["tokens"]
    assert not net.edit_blocks


def test_a_client_that_leaves_ends_the_comparison(
    live: str, net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = import_module(edit_divergences.__module__)
    read, calls = measured._log_probabilities, []

    def slow(*given: Any) -> Any:
        calls.append(given)
        time.sleep(0.1)
        return read(*given)

    monkeypatch.setattr(measured, "BYTES", 1)  # one edit in a call
    monkeypatch.setattr(measured, "_log_probabilities", slow)
    body = {"prompt": TEXT, "edits": [EDIT], "n": 2, "random": True}
    answer = post(live, "/api/touch", body)
    while "compared" not in json.loads(answer.readline()):
        pass
    answer.close()
    assert said(live, "/api/try", {"text": TEXT})["tokens"]
    assert len(calls) < 15  # and not without, with and 19 others
    assert not net.edit_blocks


def test_two_at_once_are_answered_in_turn(live: str, net: Network) -> None:
    wanted = {}
    for value in (20.0, -20.0):
        with net.edit(clamp(UNIT, to=value)):
            wanted[value] = net.generate(TEXT, max_new_tokens=10)
    found: dict[float, str] = {}

    def ask(value: float) -> None:
        edits = [EDIT | {"value": value}]
        found[value] = generated(live, prompt=TEXT, edits=edits, n=10)["with"]

    threads = [threading.Thread(target=ask, args=[value]) for value in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == wanted


def test_too_long_is_stopped_in_words(live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nissl.web.live.SECONDS", 0.3)
    slowly(monkeypatch)
    found = generated(live, prompt=TEXT, edits=[], n=100)
    assert found["without"]
    assert "stopped after" in found["error"]


def test_without_its_model_all_else_works(
    serve: Callable[..., str], atlas: Atlas, served: str, tmp_path: Path
) -> None:
    address = serve(atlas, tmp_path / "gone")
    assert "--model" in refused(address, "/api/try", {"text": TEXT})
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    connection.request("GET", "/api/units", headers={"cookie": f"nissl-{place.port}=secret"})
    assert connection.getresponse().status == 200


def test_the_model_is_loaded_as_the_atlas_read_it(
    atlas: Atlas, net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.model.save_pretrained(tmp_path)
    net.tokenizer.save_pretrained(tmp_path)
    loaded = Live(atlas, str(tmp_path)).net
    assert loaded.dtype == net.dtype
    assert loaded.generate(TEXT, max_new_tokens=9) == net.generate(TEXT, max_new_tokens=9)
    about = {"network": "smollm2", "tokenizer": "x", "sites": ["blocks.0.mlp.neurons"]}
    named = Atlas(atlas.path)
    named.__dict__["about"] = about
    monkeypatch.setattr("nissl.web.live._require_cached", gone := Mock(side_effect=NisslError("x")))
    with pytest.raises(NisslError, match="cannot be asked"):
        _ = Live(named).net
    gone.assert_called_once_with("smollm2")


def test_a_network_without_text_or_another_is_said(atlas: Atlas, net: Network) -> None:
    other = nissl.load(tiny("llama", num_hidden_layers=2))
    with pytest.raises(NisslError, match="cannot be asked"):
        _ = Live(atlas, other).net
    trained = tiny("llama", max_position_embeddings=256)
    trained.lm_head.weight.data += 1
    changed = Live(atlas, nissl.load(trained, tokenizer=net.tokenizer))
    assert changed.net.n_layers == 3
    assert "not those" in changed.note
    recording = Atlas(atlas.path)
    recording.__dict__["about"] = {"name": "mouse"}
    assert "recording" in Live(recording).missing


def test_edits_say_what_they_miss() -> None:
    assert edits_of([]) == []
    with pytest.raises(NisslError, match="no unit"):
        edits_of([{"how": "ablate"}])
    with pytest.raises(NisslError, match="no number"):
        edits_of([EDIT | {"value": float("nan")}])


@pytest.fixture
def page(browser: Any, live: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    made = context.new_page()
    made.on("console", lambda s: "status of 400" in s.text or complaints.append(s.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.goto(live)
    yield made
    context.close()
    assert not complaints


def test_a_text_is_tried_and_units_touched(page: Any, net: Network, tmp_path: Path) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    page.fill("#try-text", TEXT)
    page.get_by_role("button", name="Read it").click()
    tokens = page.locator("#try-tokens button")
    expect(tokens).to_have_text(TEXT.split())
    expect(page.locator("#fired tbody tr")).to_have_count(30)
    expect(page.locator("#lens tr")).to_have_count(3)
    page.locator("#fired tbody tr:nth-child(2) button[aria-pressed]").click()
    tokens.last.focus()
    page.keyboard.press("ArrowLeft")  # the keyboard alone
    expect(tokens.nth(6)).to_be_focused()
    expect(page.locator("#lens-say")).to_contain_text("w2")
    page.select_option("#shade", "head")
    expect(page.locator("#shade-say")).to_contain_text("looks")
    page.fill("#layer", "9")
    page.locator("#layer").press("Tab")
    expect(page.locator("#shade-say")).to_contain_text("blocks.9")

    unit = page.locator("#fired tbody .link").first.inner_text()
    page.get_by_role("button", name=f"Touch {unit}", exact=True).click()
    page.select_option("#basket select", "clamp")
    page.get_by_label(f"Value of {unit}, as a number").fill("-25")
    page.fill("#prompt", TEXT)
    page.fill("#many", "12")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#touch-say")).to_contain_text("random")  # the model is free again
    with net.edit(clamp(unit, to=-25.0)):
        expect(page.locator("#with")).to_have_text(net.generate(TEXT, max_new_tokens=12))
    expect(page.locator("#without")).to_have_text(net.generate(TEXT, max_new_tokens=12))
    with page.expect_download() as kept:
        page.get_by_role("button", name="keep as edit.json").click()
    kept.value.save_as(tmp_path / "edit.json")
    assert repr(load_edit(tmp_path / "edit.json")) == repr([clamp(unit, to=-25.0)])

    page.goto(page.url)  # the address holds text, position, shade and basket
    expect(tokens).to_have_text(TEXT.split())
    expect(tokens.nth(6)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label(f"Value of {unit}, as a number")).to_have_value("-25")
    expect(page.locator("#prompt")).to_have_value(TEXT)


def test_it_stops_and_says_what_is_wrong_where_it_happened(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    ended = slowly(monkeypatch)
    page.fill("#touch-unit", "blocks.7.mlp")
    page.locator("#touch-unit").press("Enter")
    page.fill("#prompt", TEXT)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#touch-say")).to_contain_text("blocks.7.mlp")
    page.get_by_role("button", name="Take blocks.7.mlp out").click()
    page.fill("#many", "200")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#without")).not_to_be_empty()
    page.locator("#stop").click()
    expect(page.locator("#touch-say")).to_have_text("Stopped.")
    assert ended.wait(10)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_live_parts_are_accessible(browser: Any, live: str, scheme: str) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(live + f"&try={TEXT.replace(' ', '+')}&basket={UNIT}+clamp+3")
    expect(page.locator("#fired tbody tr")).to_have_count(30)
    expect(page.locator("#basket tr")).to_have_count(1)
    found = axe.run(page)
    context.close()
    assert not found.violations_count, found.generate_report()
