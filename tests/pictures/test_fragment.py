"""Pictures in a notebook: each in its frame, in the theme of the page; a table without scripts."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from made_up_atlas import make_atlas
from nissl import pictures
from nissl.atlas import open_atlas
from nissl.behaviour.circuit_html import circuit_html
from nissl.errors import UnknownName
from nissl.pictures.fragment import MOST, SHAPES
from nissl.statistics import Finding

MARKUP = "<img src=x onerror=alert(1)></script>"
PLACE = {"t": ["a", MARKUP, " b"], "a": [0, 127, 13], "at": 1, "v": 3.0, "d": 0, "p": 1}
CURVE = {
    "name": "side",
    "says": "eta² 0.5",
    "kind": "categorical",
    "names": ["left", MARKUP],
    "y": [1.0, 3.0],
    "low": [0.5, 0.5],
    "high": [2.0, 2.0],
}
IMAGE = {"s": 7, "v": 2.5, "l": MARKUP, "at": [0, 1], "box": [0.5, 0, 0.5, 0.5]}
DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # noqa: E501
RASTER = {  # nine silent trials of two columns; of the tenth one column, with two spikes
    "cells": base64.b64encode(bytes([1, 2] * 9 + [3, 0])).decode(),
    "columns": 2,
    "range": [0, 254],
    "counts": True,
    "what": MARKUP,
    "rows": MARKUP,
    "n": 10,
    "each": 1,
    "starts": list(range(10)),
    "ends": [0, 1],
    "measure": "s",
    "mean": [None, 2.0],
    "rate": "Hz",
}
GRAPH = {
    "nodes": [{"name": n, "label": n, "layer": i} for i, n in enumerate(("a", MARKUP))],
    "edges": [{"from": "a", "to": MARKUP, "effect": -1.0}],
}
TRACE = {"a": [-127, None, 127], "at": 2, "v": 4.0, "i": 9, "l": MARKUP}
MAP = {
    "cells": [[0, -1], [255, 3]],
    "range": [0, 5],
    "what": "Hz",
    "names": ["x", MARKUP],
    "ends": [[0, 1], [0, 2]],
}
#: What is drawn, what of it must be there, and how often.
PLANTED = {
    "histogram": ({"counts": [1, 0, 9], "edges": [-2, -1, 1, 2]}, "svg rect", 3),
    "text": ({"places": [PLACE]}, ".contexts .peak", 1),
    "places": ({"places": [TRACE]}, ".trace svg circle", 1),
    "image": ({"images": [IMAGE], "files": {"7": DOT}}, ".picture i", 1),
    "curve": (CURVE, "svg circle", 2),
    "rate_map": (MAP, "svg.plane rect title", 3),
    "raster": (RASTER, "svg.raster path", 4),
    "graph": (GRAPH, ".node", 2),
}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return open_atlas(make_atlas(tmp_path_factory.mktemp("atlas")))


@pytest.fixture
def finding() -> Finding:
    table = pd.DataFrame({"unit": ["a", MARKUP], "auroc": [0.95, 0.5], "null_mean": [0.5, 0.5]})
    table = table.assign(null_sd=0.05, effect=table["auroc"] - 0.5, p=[0.01, 0.5], q=[0.02, 0.6])
    return Finding(table, method="tuning", null="PermutedLabels()", provenance={"seed": 3})


@pytest.fixture
def notebook(browser: Any, tmp_path: Path) -> Any:
    """The function that opens cells as a page from the disk; errors in it are errors."""
    complaints: list[str] = []
    contexts = []

    def opened(*cells: str, head: str = "", body: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": 1000, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text))
        path = tmp_path / "cells.html"
        start = f'<!doctype html><html lang="en"><title>Cells</title>{head}'
        path.write_text(f"{start}<body {body}><main><h1>Cells</h1>{''.join(cells)}</main>")
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def drawn(page: Any, number: int = 0) -> Any:
    """What is in a frame, once it has its height."""
    frame = page.locator("iframe").nth(number)
    page.wait_for_function(
        "n => document.querySelectorAll('iframe')[n].offsetHeight > 20", arg=number
    )
    return frame.content_frame


def test_every_picture_is_drawn_and_markup_stays_text(notebook: Any) -> None:
    page = notebook(*(pictures.html(name, data) for name, (data, _, _) in PLANTED.items()))
    for number, (_, what, many) in enumerate(PLANTED.values()):
        inside = drawn(page, number)
        assert inside.locator(what).count() == many
        assert inside.locator("img[src=x]").count() == 0
    assert drawn(page, 1).locator(".peak").inner_text() == MARKUP
    # A unit, an atlas, a finding and a circuit have tests of their own.
    assert set(SHAPES) - set(PLANTED) == {"unit", "atlas", "finding", "circuit"}


def test_two_cells_do_not_meet(notebook: Any) -> None:
    one = pictures.html("graph", GRAPH)
    page = notebook(one, "<style>svg { display: none } p { color: red }</style>", one)
    first, second = drawn(page, 0), drawn(page, 1)
    first.locator(".node").first.focus()
    assert first.locator(".far").count() + second.locator(".far").count() == 0
    assert first.locator("svg").is_visible()
    assert page.evaluate("Object.keys(window).filter(k => k === 'graph' || k === 'el').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_page_around(notebook: Any, scheme: str) -> None:
    def theme(page: Any) -> str:
        return str(drawn(page).locator("html").get_attribute("data-theme"))

    picture = pictures.html("curve", CURVE)
    assert theme(notebook(picture, color_scheme=scheme)) == scheme
    marks = {
        "light": ('data-jp-theme-light="true"', 'data-md-color-scheme="default"'),
        "dark": ('data-jp-theme-light="false"', 'data-md-color-scheme="slate"'),
    }
    other = {"light": "dark", "dark": "light"}[scheme]
    for mark in marks[scheme]:
        page = notebook(picture, body=mark, color_scheme=other)
        assert theme(page) == scheme
    turned = {"light": "slate", "dark": "default"}[scheme]
    page.evaluate(f"document.body.dataset.mdColorScheme = '{turned}'")
    drawn(page).locator(f"html[data-theme={other}]").wait_for(state="attached")


@pytest.mark.parametrize(
    ("kind", "theme"),
    [
        ("vscode-dark", "dark"),
        ("vscode-light", "light"),
        ("vscode-high-contrast", "dark"),
        ("vscode-high-contrast-light", "light"),
    ],
)
def test_vs_code_lets_it_draw_and_says_its_theme(notebook: Any, kind: str, theme: str) -> None:
    # What the page around notebooks' outputs allows there, and the mark on its body.
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}; child-src data: blob:">'
    scheme = {"dark": "light", "light": "dark"}[theme]
    mark = f'class="{kind}" data-vscode-theme-kind="{kind}"'
    page = notebook(pictures.html("graph", GRAPH), head=head, body=mark, color_scheme=scheme)
    inside = drawn(page)
    assert inside.locator("html").get_attribute("data-theme") == theme
    assert inside.locator(".node").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_around_shows_at_its_round_corners(notebook: Any, scheme: str) -> None:
    page_is = {"light": "default", "dark": "slate"}
    page = notebook(
        f'<div style="background: #00ff00">{pictures.html("curve", CURVE)}</div>',
        body=f'style="color-scheme: {scheme}" data-md-color-scheme="{page_is[scheme]}"',
    )
    drawn(page)
    corner = Image.open(io.BytesIO(page.locator("iframe").screenshot())).convert("RGB")
    assert corner.getpixel((1, 1)) == (0, 255, 0)


def test_a_page_that_was_hidden_is_drawn_when_it_is_shown(notebook: Any, atlas: Any) -> None:
    page = notebook(f'<div id="tab" style="display: none">{atlas._repr_html_()}</div>')
    page.wait_for_function(
        "document.querySelector('iframe').contentDocument.readyState != 'loading'"
    )
    assert page.locator(".nissl > div").get_attribute("style") is None  # what is read meanwhile
    page.evaluate("document.querySelector('#tab').style.display = 'block'")
    assert drawn(page).locator("svg rect").first.is_visible()
    assert not page.locator(".nissl > div").is_visible()


def test_it_is_as_high_as_it_is_on_narrow_pages_and_on_paper(notebook: Any, atlas: Any) -> None:
    page = notebook(atlas._repr_html_())
    drawn(page)
    inside = page.frames[1]
    sizes = (
        "[innerWidth, innerHeight, ...['scrollWidth', 'scrollHeight'].map(s => document.body[s])]"
    )

    def fits() -> list[int]:
        page.wait_for_timeout(200)
        wide, high, *needed = inside.evaluate(sizes)
        assert needed[0] == wide
        assert high - 1 <= needed[1] <= high
        return [wide, high]

    on_screen = fits()
    inside.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert inside.evaluate(sizes)[:3:2] == [560, 560]  # at once: what is printed is laid out next
    on_paper = fits()
    assert on_paper[1] > on_screen[1]
    inside.evaluate("dispatchEvent(new Event('afterprint'))")
    assert fits() == on_screen
    page.set_viewport_size({"width": 260, "height": 900})
    assert fits()[0] < 260


def test_a_table_is_there_without_scripts(notebook: Any, finding: Finding) -> None:
    page = notebook(finding._repr_html_(), java_script_enabled=False)
    assert page.locator("table td", has_text="0.95").is_visible()
    assert page.get_by_text("trust the notebook").is_visible()
    assert page.locator("iframe").bounding_box()["height"] == 0
    with_scripts = notebook(finding._repr_html_())
    assert drawn(with_scripts).locator("table").is_visible()
    assert not with_scripts.locator("main table").first.is_visible()


def test_a_unit_without_scripts_has_its_texts(notebook: Any, atlas: Any) -> None:
    unit = atlas.unit(atlas.units.loc[atlas.units["kind"] == "token", "unit"].iloc[0])
    page = notebook(unit._repr_html_(), java_script_enabled=False)
    places = [*unit.card["high"], *unit.card["low"]]
    peaks = [place["t"][place["at"]].strip() for place in places]
    assert page.locator("li b").all_inner_texts() == peaks
    assert page.locator("img, script").count() == 0


def test_what_is_too_large_is_left_out_and_said_so() -> None:
    text = pictures.html("text", {"places": [{"t": ["x" * MOST]}]}, plain="<p>x</p>")
    assert "left out: its data are 1.0 MB" in text
    assert "<p>x</p>" in text
    assert len(text) < 200
    with pytest.raises(UnknownName, match="histogram"):
        pictures.html("histogramm", {})


def test_an_empty_line_would_end_it_in_markdown(finding: Finding) -> None:
    assert "\n" not in re.sub(r">[^<]*<", "><", finding._repr_html_())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_a_cell_ends_in_is_accessible(
    notebook: Any, finding: Finding, atlas: Any, violations: Callable[[Any], str], scheme: str
) -> None:
    unit = atlas.unit(atlas.units["unit"].iloc[0])
    table = pd.DataFrame({"unit": ["embed -> logits"], "indirect_effect": [1.0]})
    circuit = circuit_html([("embed", "logits", 1.0)], table, 2, title="Circuit of naming")
    cells = [finding._repr_html_(), atlas._repr_html_(), unit._repr_html_(), circuit]
    page = notebook(*cells, color_scheme=scheme)
    for number in range(len(cells)):
        drawn(page, number)
    frames = page.frames[1:]
    assert len(frames) == len(cells)
    assert not "".join(map(violations, frames))


def test_a_finding_stands_beside_its_null(notebook: Any, finding: Finding) -> None:
    inside = drawn(notebook(finding._repr_html_()))
    titles = inside.locator("svg g title").all_text_contents()
    assert titles == ["a: 0.95; by chance 0.5; q 0.02", f"{MARKUP}: 0.5; by chance 0.5; q 0.6"]
    assert inside.locator("svg circle[fill='var(--accent)']").count() == 1  # the one found
    assert inside.locator("thead").inner_text().split() == [
        *("unit", "auroc", "null", "mean", "null", "sd", "effect", "p", "q")
    ]
    assert inside.locator(".why").inner_text() == "seed 3"
    long = Finding(pd.concat([finding.table] * 20), method="tuning", null="none")
    assert (
        "the highest 10 of 40 rows"
        in drawn(notebook(long._repr_html_())).locator(".why").inner_text()
    )


def test_a_row_is_named_by_what_tells_it_apart(notebook: Any, finding: Finding) -> None:
    one = Finding(finding.table.assign(shank=[3, 4], tail="normal", note=""), "tuning", "none")
    assert drawn(notebook(one._repr_html_())).locator("svg g text").first.text_content() == "a"
    one.provenance["tail"] = "normal"
    assert "tail" not in one._repr_html_().split("<iframe")[0].split("<table")[1]
    two = Finding(finding.table.assign(unit="a", label=["x", "y"]), "tuning", "none")
    assert drawn(notebook(two._repr_html_())).locator("svg g text").first.text_content() == "a, x"


def test_an_atlas_says_what_its_units_are_and_how_to_open_it(notebook: Any, atlas: Any) -> None:
    inside = drawn(notebook(atlas._repr_html_()))
    kinds = atlas.units["kind"].value_counts()
    said = inside.locator(".legend").inner_text()
    assert all(f"{kind} {n} ·" in said for kind, n in kinds.items())
    assert inside.locator("svg rect").count() == atlas.units.groupby("site")["kind"].nunique().sum()
    assert f'nissl view "{atlas.path}"' in inside.locator("main").inner_text()


def test_the_card_of_a_unit_is_that_of_the_page(notebook: Any, atlas: Any) -> None:
    name = atlas.units.loc[atlas.units["kind"] == "token", "unit"].iloc[0]
    unit = atlas.unit(name)
    assert "prefers" in repr(unit)
    inside = drawn(notebook(unit._repr_html_()))
    assert inside.locator("h2").inner_text() == name
    titles = " ".join(inside.locator("h3").all_inner_texts())
    for title in ("Figures", "Where it is highest", "Tokens it responds to", "Nearest in activity"):
        assert title in titles
    (first, *_) = unit.card["high"]
    assert inside.locator(".contexts .peak").first.inner_text() == first["t"][first["at"]]
    with pytest.raises(UnknownName):
        atlas.unit("nowhere[0]")
