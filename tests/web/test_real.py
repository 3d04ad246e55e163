"""What a person does in the explorer, on SmolLM2 and on a mouse's head direction cells."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nissl
from nissl.atlas import Atlas, make_atlas, open_atlas
from nissl.network import Network, load_edit
from nissl.recording import Recording

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
LAYERS = (10, 29)
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def expect() -> Callable[..., Any]:
    return pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def axe() -> Any:
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


@pytest.fixture(scope="module")
def read(
    browser: Any, smollm2: Network, reader_texts: pd.DataFrame, tmp_path_factory: Any
) -> Callable[[str], Atlas]:
    """The function that reads a thousand tokens; not made where there is no browser."""
    texts = reader_texts.iloc[np.linspace(0, len(reader_texts) - 1, 12).astype(int)]
    sites = [f"blocks.{layer}.mlp.neurons" for layer in LAYERS]
    how = {"sites": sites, "n_tokens": 1000, "dtype": "float32", "progress": False}
    return lambda name: make_atlas(smollm2, texts, out=tmp_path_factory.mktemp(name), **how)


@pytest.fixture(scope="module")
def language(read: Callable[[str], Atlas]) -> Atlas:
    """Two layers of SmolLM2."""
    return read("smollm2")


@pytest.fixture(scope="module")
def without_an_mlp(read: Callable[[str], Atlas], smollm2: Network) -> Atlas:
    """The same of SmolLM2 without an MLP that is between the two layers."""
    with smollm2.edit(nissl.ablate("blocks.20.mlp.out")):
        return read("without")


@pytest.fixture(scope="module")
def smollm2_served(serve: Callable[..., str], language: Atlas) -> str:
    return serve(language)  # which loads a network of its own


@pytest.fixture(scope="module")
def mouse(browser: Any, head_direction: Recording, tmp_path_factory: Any) -> Atlas:
    out = tmp_path_factory.mktemp("mouse")
    return make_atlas(head_direction, out=out, progress=False)


@pytest.fixture(scope="module")
def mouse_served(serve: Callable[..., str], mouse: Atlas) -> str:
    return serve(mouse)


@pytest.fixture
def look(visit: Callable[..., Any], axe: Any) -> Iterator[Callable[[str], Any]]:
    """The function that opens an address; at the end axe looks at the page in both themes."""
    pages = []

    def open_page(address: str) -> Any:
        pages.append(visit(address))
        return pages[-1]

    yield open_page
    for page in pages:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.run(page)
            assert not found.violations_count, found.generate_report()


def test_see_all_of_smollm2(
    look: Callable[[str], Any], expect: Any, smollm2_served: str, language: Atlas
) -> None:
    page, n = look(smollm2_served), len(language.units)
    assert n == len(LAYERS) * 1536
    expect(page.locator("#table-say")).to_have_text(f"{n:,} of {n:,} units.")
    expect(page.locator("#unit-map")).to_be_visible()
    page.select_option("#statistic", "kurtosis")
    page.select_option("#order", "value")
    page.get_by_role("button", name="kurtosis").click()
    expect(page.locator("#units-table th[aria-sort=descending]")).to_contain_text("kurtosis")
    page.fill("#where", "density < 0.2 and layer = 10")
    wanted = int(((language.units["density"] < 0.2) & (language.units["layer"] == 10)).sum())
    expect(page.locator("#table-say")).to_have_text(f"{wanted:,} of {n:,} units.")
    page.fill("#where", "")
    page.fill("#find", "the")
    expect(page.locator("#table-say")).to_contain_text("high where the text ends")
    page.keyboard.press("Escape")
    page.fill("#search", "10/7")
    expect(page.locator("#found [role=option]").first).to_contain_text("blocks.10.mlp.neurons[7]")
    page.locator("#search").press("Enter")
    expect(page.locator("#unit-title")).to_have_text("blocks.10.mlp.neurons[7]")


def test_open_a_neuron(
    look: Callable[[str], Any], expect: Any, smollm2_served: str, language: Atlas
) -> None:
    page = look(smollm2_served)
    page.locator("#units-table tbody .link").first.click()
    sheet = page.locator("#unit")
    expect(sheet.locator(".contexts").first).to_be_visible()
    for words in ("Histogram of", "Figures", "Where it is highest", "raises the logits", "Nearest"):
        expect(sheet.get_by_text(words).first).to_be_visible()
    name = sheet.locator("#unit-title").inner_text()
    assert name in set(language.units["unit"])
    page.keyboard.press("Escape")
    expect(sheet).not_to_be_visible()
    page.locator("#units-table tbody .link").nth(3).click()
    expect(sheet.locator(".contexts").first).to_be_visible()
    for ask in sheet.locator(".ask").all():  # against what?
        ask.click()
    expect(sheet.get_by_text("a description, not a test").first).to_be_visible()


def test_try_a_text(
    look: Callable[[str], Any], expect: Any, smollm2_served: str, smollm2: Network
) -> None:
    page = look(smollm2_served)
    page.fill("#try-text", PROMPT)
    page.get_by_role("button", name="Read it").click()
    expect(page.locator("#fired tbody tr")).to_have_count(30)
    expect(page.locator("#lens tr")).to_have_count(30)
    said = smollm2.logit_lens(PROMPT, positions=-1).table["best"].iloc[-1]
    expect(page.locator("#lens tr").last).to_contain_text(said.strip())
    page.select_option("#shade", "head")
    expect(page.locator("#shade-say")).to_contain_text("looks")


def test_touch_a_neuron(
    look: Callable[[str], Any], expect: Any, smollm2_served: str, smollm2: Network, tmp_path: Path
) -> None:
    page = look(smollm2_served)
    unit = "blocks.10.mlp.neurons[7]"
    page.fill("#touch-unit", unit)
    page.locator("#touch-unit").press("Enter")
    page.select_option("#basket select", "clamp")
    page.get_by_label(f"Value of {unit}, as a number").fill("90")
    page.fill("#prompt", PROMPT)
    page.fill("#many", "6")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#without")).to_have_text(
        smollm2.generate(PROMPT, max_new_tokens=6).strip()
    )
    expect(page.locator("#with")).not_to_be_empty()
    expect(page.locator("#stop")).to_be_disabled()
    with page.expect_download() as kept:
        page.get_by_role("button", name="keep as edit.json").click()
    kept.value.save_as(tmp_path / "edit.json")
    with smollm2.edit(*load_edit(tmp_path / "edit.json")):
        wanted = smollm2.generate(PROMPT, max_new_tokens=6)
    expect(page.locator("#with")).to_have_text(wanted.strip())


def test_share_a_view(
    look: Callable[[str], Any], expect: Any, smollm2_served: str, language: Atlas, tmp_path: Path
) -> None:
    page = look(smollm2_served)
    page.fill("#where", "layer = 29")
    page.fill("#set-name", "the last layer")
    page.get_by_role("button", name="keep these").click()
    expect(page.locator("#set-say")).to_contain_text("set = the last layer")
    with page.expect_download() as export:
        page.locator("#export").click()
    export.value.save_as(tmp_path / "units.csv")
    assert len(pd.read_csv(tmp_path / "units.csv")) == 1536
    with page.expect_download() as picture:
        page.get_by_text("keep this picture").click()
    picture.value.save_as(tmp_path / "units.png")
    assert (tmp_path / "units.png").read_bytes().startswith(b"\x89PNG")
    page.locator("#units-table .link").first.click()
    expect(page.locator("#unit .contexts").first).to_be_visible()
    name = page.locator("#unit-title").inner_text()
    page.fill("#unit .note textarea", "seen")
    page.keyboard.press("Tab")
    expect(page.locator("#unit .note small")).to_have_text("kept in notes.json")
    held = open_atlas(language.path).notes
    assert held.notes == {name: "seen"}
    assert len(held.sets["the last layer"]) == 1536
    query = page.url.partition("?")[2]
    assert "token" not in query.partition("#")[0]
    again = look(f"{smollm2_served}&{query}")
    expect(again.locator("#unit-title")).to_have_text(name)
    expect(again.locator("#where")).to_have_value("layer = 29")
    held.write(name, "")


def test_see_and_open_head_direction_cells(
    look: Callable[[str], Any], expect: Any, mouse_served: str, mouse: Atlas
) -> None:
    page, n = look(mouse_served), len(mouse.units)
    expect(page.locator("#table-say")).to_have_text(f"{n} of {n} units.")
    expect(page.locator("#try")).to_have_count(0)  # there is no network to ask
    page.fill("#where", "kind = tuned")
    tuned = int((mouse.units["kind"] == "tuned").sum())
    assert tuned
    expect(page.locator("#table-say")).to_have_text(f"{tuned} of {n} units.")
    page.locator("#units-table tbody .link").first.click()
    sheet = page.locator("#unit")
    expect(sheet.get_by_text("grey is the null").first).to_be_visible()
    expect(sheet.locator("svg.polar").first).to_be_visible()
    again = look(f"{mouse_served}&{page.url.partition('?')[2]}")
    expect(again.locator("#unit-title")).to_have_text(sheet.locator("#unit-title").inner_text())


def test_trace_a_circuit(
    look: Callable[[str], Any], expect: Any, smollm2_served: str, language: Atlas
) -> None:
    page = look(smollm2_served)
    page.fill("#clean", "When Mary and John went to the store, John gave a drink to")
    page.fill("#contrast", "When Mary and John went to the store, Mary gave a drink to")
    page.select_option("#method", "heads and MLPs, RelP")
    page.locator("#trace").get_by_role("button", name="Find", exact=True).click()
    expect(page.locator("#trace svg").first).to_be_visible()
    expect(page.locator("#trace")).to_contain_text("Mary over")
    expect(page.locator("#trace")).to_contain_text("Found on one pair")


def test_compare_before_and_after(
    look: Callable[[str], Any],
    expect: Any,
    serve: Callable[..., str],
    language: Atlas,
    without_an_mlp: Atlas,
) -> None:
    page, n = look(serve(language, beside=without_an_mlp, matches="addresses")), len(language.units)
    said = page.locator("#pairs-say")
    expect(said).to_contain_text(f"{n:,} of {n:,} pairs")
    expect(page.locator("#compare canvas")).to_be_visible()
    page.fill("#pairs", "change.mean != 0 and layer = 10")  # what comes before the MLP is as it was
    expect(said).to_have_text(re.compile("^0 of"))
    page.fill("#pairs", "change.mean != 0 and layer = 29")
    expect(said).to_have_text(re.compile(r"^1,\d+ of"))
    page.locator("#pairs-table tbody .link").first.click()
    expect(page.locator("#pair-sides > div")).to_have_count(2)
    for side in page.locator("#pair-sides > div").all():
        expect(side.locator(".contexts").first).to_be_visible()
