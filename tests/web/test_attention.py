"""Every head in small, and how far a unit is, are what plain code makes of the same tensors."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nissl
from live_server import TEXT, refused, said
from nissl.atlas import Atlas
from nissl.network import Network
from nissl.web import attention
from nissl.web.beyond import share_beyond


def test_every_head_is_what_its_pattern_is(live: str, net: Network) -> None:
    found = said(live, "/api/heads", {"text": TEXT, "position": 6})
    side = found["side"]
    assert side == 8
    for line in found["layers"]:
        site = f"blocks.{line['layer']}.attn.pattern"
        pattern = net.run(TEXT, sites=site)[site][0].detach().numpy().transpose(1, 0, 2)
        drawn = np.frombuffer(base64.b64decode(line["pictures"]), np.uint8)
        assert np.abs(drawn.reshape(4, side, side) - 255 * pattern).max() < 0.51
        own = pattern[:, 6, :7].astype(float)
        assert line["most"] == own.argmax(1).tolist()
        assert line["weight"] == pytest.approx(own.max(1).tolist(), rel=1e-4)
        bits = -(own * np.log2(own)).sum(1)
        assert line["bits"] == pytest.approx(bits.tolist(), rel=1e-3)
    assert "no token 8" in refused(live, "/api/heads", {"text": TEXT, "position": 8})


def test_the_answer_of_many_heads_is_bounded(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BYTES", 12 * 25)
    found = attention.Heads()(net, TEXT)
    assert found["side"] == 5
    assert sum(len(base64.b64decode(line["pictures"])) for line in found["layers"]) == 300


def test_how_often_the_atlas_saw_as_far(live: str, atlas: Atlas, net: Network) -> None:
    rng = np.random.default_rng(0)  # the texts of the atlas
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 36, 40)) for _ in range(12)]
    rec = nissl.record(net, texts, sites=atlas.about["sites"], progress=False)
    seen = rec.values[rec["position"].values > 0]
    edges = np.asarray(atlas.arrays["edges"])
    for unit in said(live, "/api/try", {"text": TEXT})["units"]:
        values, value = seen[:, unit["row"]], unit["activity"][unit["at"]]
        exact = (values >= value if unit["z"] > 0 else values <= value).mean()
        # Within one bin the histogram knows no more.
        at = np.searchsorted(edges, value, side="right") - 1
        inside = ((values >= edges[at]) & (values < edges[at + 1])).mean()
        assert abs(unit["beyond"] - exact) <= inside + 1 / len(values)
        assert (unit["beyond"] == 0) == (value > values.max() or value < values.min())
        assert unit["of"] == len(values)
    counts = np.array([1, 2, 0, 7])
    ends = (-4.0, 4.0)
    wide = np.array([-np.inf, -1, 0, 1, np.inf])
    found = [share_beyond(counts, wide, v, ends=ends) for v in (-4, -1, 0, 1, 2.5, 4, 4.1)]
    assert found == pytest.approx([1, 0.9, 0.7, 0.7, 0.35, 0.1, 0])
    assert share_beyond(0 * counts, wide, 0, ends=ends) is None


def test_units_at_a_token_and_of_a_set(live: str, atlas: Atlas, net: Network) -> None:
    rec = nissl.record(net, [TEXT], sites=atlas.about["sites"], progress=False)
    table = atlas.units
    z = (rec.values - table["mean"].to_numpy()) / table["sd"].to_numpy()
    found = said(live, "/api/try", {"text": TEXT, "position": 3, "here": True})["units"]
    best = np.argsort(-np.abs(z[3]), kind="stable")[:30]
    assert [u["row"] for u in found] == best.tolist()
    assert {u["at"] for u in found} == {3}
    body = {"text": TEXT, "position": 0, "here": True}
    assert said(live, "/api/try", body)["units"] == []  # the atlas has no first tokens
    atlas.notes.keep("mine", table["unit"][5:9])
    try:
        found = said(live, "/api/try", {"text": TEXT, "set": "mine"})["units"]
        assert {u["row"] for u in found} == {5, 6, 7, 8}
        assert [abs(u["z"]) for u in found] == sorted((abs(u["z"]) for u in found), reverse=True)
        assert "mine" in refused(live, "/api/try", {"text": TEXT, "set": "mina"})
    finally:
        atlas.notes.keep("mine", [])


def test_the_page_lists_units_of_a_token_and_looks_at_heads(
    visit: Callable[..., Any], live: str
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    page = visit(live)
    page.fill("#try-text", "w " * 10_001)
    expect(page.locator("#try-length")).to_contain_text("20,002 characters")
    expect(page.locator("#try-go")).to_be_disabled()
    page.fill("#try-text", "w3 " * 700)
    expect(page.locator("#try-length")).to_contain_text("512")
    page.fill("#try-text", TEXT)
    expect(page.locator("#try-length")).to_have_text("")
    page.locator("#try-go").click()
    expect(page.locator("#fired tbody tr")).to_have_count(30)
    page.locator("#try-tokens button").nth(4).click()
    expect(page.locator("#try-say")).to_contain_text("at “w5”")
    at = page.locator("#fired tbody tr td:nth-child(4)").all_inner_texts()
    assert set(at) == {"w5"}
    page.get_by_role("button", name="beyond", exact=True).click()
    expect(page.locator("#fired th[aria-sort]")).to_have_text("beyond")
    page.get_by_role("button", name="anywhere").click()
    expect(page.locator("#try-say")).not_to_contain_text("at “w5”")

    page.locator("#every-head summary").click()
    expect(page.locator("#heads button")).to_have_count(12)
    page.locator("#heads button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#shade-say")).to_contain_text("looks")
    expect(page.locator("#heads-say")).to_contain_text("Layer 1, head 1: “w5” looks most at")
    page.get_by_role("button", name="touch this head").click()
    expect(page.locator("#basket tr")).to_contain_text("blocks.1.attn.z[head 1]")

    page.fill("#try-text", " ")
    page.locator("#try-go").click()
    expect(page.locator("#try-found")).to_be_hidden()
    expect(page.locator("#try-say")).to_contain_text("no text")
    assert "try=" not in page.url
    page.evaluate("""() => { // two questions in flight: the later one is shown
        for (const text of ["w1 w2 w3", "w7 w8"]) {
            document.getElementById("try-text").value = text;
            document.getElementById("try-go").click();
        }}""")
    expect(page.locator("#try-tokens button")).to_have_text(["w7", "w8"])
