"""A second atlas beside the first: pairs are listed, drawn, filtered, exported and opened."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from nissl.atlas import Atlas, open_atlas
from nissl.errors import NisslError
from nissl.web import Index
from nissl.web.compare import Beside

MARKUP = "<i>deep</i>"


@pytest.fixture(scope="module")
def other(atlas_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """The same units, turned round and under names with markup; of ten the density is doubled."""
    folder = copytree(atlas_folder, tmp_path_factory.mktemp("beside") / "other")
    units = pd.read_parquet(folder / "units.parquet").iloc[::-1].reset_index(drop=True)
    units["unit"] = [f"{MARKUP}[{i}]" for i in range(len(units))]
    units["site"], units["index"] = MARKUP, range(len(units))
    units.loc[86:, "density"] *= 2  # the first ten of the first atlas
    kind = units["kind"].to_numpy().copy()
    kind[(kind == "bigram").argmax()] = "unexplained"
    units["kind"] = kind
    units.to_parquet(folder / "units.parquet")
    examples = pd.read_parquet(folder / "examples.parquet")
    examples["row"] = len(units) - 1 - examples["row"]
    examples["unit"] = units["unit"].to_numpy()[examples["row"]]
    examples.to_parquet(folder / "examples.parquet")
    return open_atlas(folder)


@pytest.fixture(scope="module")
def given() -> pd.DataFrame:
    """Which units are the same."""
    names = [f"blocks.{i // 32}.mlp.neurons[{i % 32}]" for i in range(96)]
    return pd.DataFrame({"unit": names, "partner": [f"{MARKUP}[{95 - i}]" for i in range(96)]})


@pytest.fixture(scope="module")
def beside(atlas_folder: Path, other: Atlas, given: pd.DataFrame) -> Beside:
    made = Beside(Index(open_atlas(atlas_folder)), other, given)
    made._match()
    return made


@pytest.fixture(scope="module")
def address(serve: Callable[..., str], atlas_folder: Path, other: Atlas) -> str:
    return serve(open_atlas(atlas_folder), beside=other)


@pytest.fixture
def expect() -> Callable[..., Any]:
    return pytest.importorskip("playwright.sync_api").expect


def test_lists_filter_and_sort_by_columns_of_both(beside: Beside, atlas_folder: Path) -> None:
    state = beside.state()
    assert (state["ready"], state["n"]) == (True, 96)
    assert state["names"] == (f"made-up ({atlas_folder.name})", "made-up (other)")
    assert "as given" in state["says"]
    assert "No null is known" in state["against"]
    found = beside.pairs.units("change.density > 0", sort="change.density", limit=50)
    assert found["total"] == 10
    sizes = [line["change.density"] for line in found["rows"]]
    assert sizes == sorted(sizes, reverse=True)
    assert all(line["b.density"] == pytest.approx(2 * line["density"]) for line in found["rows"])
    assert beside.pairs.units("kind = bigram and b.kind = unexplained")["total"] == 1
    shown = [c["name"] for c in state["columns"] if c["shown"]]
    assert shown[:2] == ["unit", "partner"]
    assert sum(line["n"] for line in state["kinds"]) == 96


def test_csv_has_the_pairs_that_meet_it(beside: Beside) -> None:
    table = pd.read_csv(io.StringIO(beside.pairs.csv("change.density > 0", sort="density")))
    assert len(table) == 10
    assert table["density"].is_monotonic_decreasing
    assert np.allclose(table["change.density"], table["b.density"] - table["density"])


def test_a_pair_tells_what_changed_more_than_elsewhere(beside: Beside) -> None:
    row = beside.pairs.units("", sort="change.density")["rows"][0]["row"]
    told = beside.pair(row)
    assert told["rows"][1] == 95 - told["rows"][0]
    density, *rest = told["numbers"]
    assert (density["name"], density["marked"]) == ("density", True)
    assert not any(line["marked"] for line in rest)
    with pytest.raises(NisslError, match="there is no pair 96"):
        beside.pair(96)
    with pytest.raises(NisslError, match="densty"):
        beside.pairs.points("densty", "")


def test_before_it_is_ready_it_says_so_and_an_error_is_told(
    atlas_folder: Path, other: Atlas, tmp_path: Path
) -> None:
    apart = open_atlas(copytree(other.path, tmp_path / "apart"))
    zarr.open_group(apart.path / "arrays.zarr", mode="a")["token"][:] = 0  # type: ignore[index]
    made = Beside(Index(open_atlas(atlas_folder)), apart)
    with pytest.raises(NisslError, match="being matched"):
        _ = made.pairs
    made._match()
    with pytest.raises(NisslError, match=r"(?s)cannot be matched.*nissl\.alignment\.match"):
        made.state()


def test_checkpoints_say_that_noise_is_not_known(atlas_folder: Path, tmp_path: Path) -> None:
    folder = copytree(atlas_folder, tmp_path / "later")
    (folder / "atlas.json").write_text(json.dumps({"network": "later"}))
    made = Beside(Index(open_atlas(atlas_folder)), open_atlas(folder))
    made._match()
    state = made.state()
    assert state["names"] == ("made-up", "later")
    assert "unit by unit, by their addresses" in state["says"]
    assert "third atlas" in state["against"]
    assert "by chance" in state["against"]
    row = beside_row(made, "shared > 3")
    assert len(made.pair(row)["samples"]) == made.pairs.table["shared"][row]


def with_angles(folder: Path, n_bins: int, angle: Any) -> None:
    """Give every unit of an atlas a preferred angle."""
    units = pd.read_parquet(folder / "units.parquet")
    units.assign(head_angle_preferred=angle).to_parquet(folder / "units.parquet")
    centres = (np.arange(n_bins) + 0.5) * 2 * np.pi / n_bins
    pd.DataFrame(
        {"unit": ["a"], "coordinate": "head_angle", "kind": "circular", "levels": [centres]}
    ).to_parquet(folder / "tuning.parquet")


def test_preferred_angles_of_both_are_in_degrees(atlas_folder: Path, tmp_path: Path) -> None:
    a, b = (Path(copytree(atlas_folder, tmp_path / name)) for name in "ab")
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (2, 96))
    for folder, angle, n_bins in zip((a, b), angles, (8, 12), strict=True):
        with_angles(folder, n_bins, angle)
    made = Beside(Index(open_atlas(a)), open_atlas(b))
    made._match()
    pairs = made.pairs
    found = pairs.units("head_angle_preferred < 90 and b.head_angle_preferred >= 180", limit=1000)
    first, second = np.degrees(angles)
    wanted = np.flatnonzero((first < 90) & (second >= 180))
    assert [line["row"] for line in found["rows"]] == list(wanted)
    assert pairs.table["b.head_angle_preferred"].to_numpy() == pytest.approx(second)
    units = {line["name"]: line["unit"] for line in pairs.columns()}
    assert units["head_angle_preferred"] == units["b.head_angle_preferred"] == "°"
    assert units["density"] == ""
    # What the second's tuning cannot say of its angles is left as it is, and said.
    (b / "tuning.parquet").write_bytes(b"damaged")
    made = Beside(Index(open_atlas(a)), open_atlas(b))
    made._match()
    assert "tuning.parquet cannot be read" in made.pairs.units("")["broken"][0]
    assert made.pairs.table["head_angle_preferred"].to_numpy() == pytest.approx(first)
    assert made.pairs.table["b.head_angle_preferred"].to_numpy() == pytest.approx(angles[1])


def beside_row(made: Beside, where: str) -> int:
    return int(made.pairs.units(where)["rows"][0]["row"])


def test_pairs_are_filtered_by_kind_and_opened_side_by_side(
    visit: Callable[..., Any], address: str, expect: Any
) -> None:
    page = visit(address)
    expect(page.locator("#compare-say")).to_contain_text("by what they are high at in one text")
    page.locator("#confusion .same button").first.click()
    expect(page.locator("#pairs")).to_have_value("kind = token and b.kind = token")
    expect(page.locator("#pairs-table tbody tr td:nth-child(1)").first).to_contain_text("blocks.")
    expect(page.locator("#pairs-table th[aria-sort=descending]")).to_contain_text("jaccard")
    page.locator("#pairs-table").get_by_role("button", name="jaccard").click()
    expect(page.locator("#pairs-table th[aria-sort=ascending]")).to_contain_text("jaccard")
    page.locator("#pairs-table tbody .link").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pair-sides > div")).to_have_count(2)
    expect(page.locator("#pair-sides .shared").first).to_contain_text("both")
    expect(page.locator("#pair-title")).to_contain_text(MARKUP)
    assert page.locator("#compare i:text('deep')").count() == 0  # a name is a text
    title = page.locator("#pair-title").inner_text()
    again = visit(f"{address}&{page.url.partition('?')[2]}")  # the address holds the view
    expect(again.locator("#pair-title")).to_have_text(title)
    expect(again.locator("#pairs")).to_have_value("kind = token and b.kind = token")
    page.keyboard.press("Escape")
    expect(page.locator("#pair")).not_to_be_visible()
    assert "pair=" not in page.url
    page.fill("#pairs", "b.densty < 1")
    expect(page.locator("#pairs-say")).to_contain_text("densty")


def test_the_picture_is_reached_by_the_keyboard(
    visit: Callable[..., Any], address: str, expect: Any
) -> None:
    page = visit(address)
    page.select_option("#x", "kurtosis")
    canvas = page.locator("#scatter")
    expect(canvas).to_have_attribute("aria-label", r := _said("kurtosis of"))
    assert "kurtosis" in r.pattern
    expect(page.locator("#pairs-table th").filter(has_text="change.kurtosis")).to_have_count(1)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_contain_text("in the second")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**pair**")  # one opens, of more the list is of them


def _said(text: str) -> Any:
    import re

    return re.compile(text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(
    visit: Callable[..., Any], address: str, expect: Any, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(address, scheme)
    expect(page.locator("#pairs-say")).to_contain_text("pairs.")
    first = axe.run(page)
    page.locator("#pairs-table tbody .link").first.click()
    expect(page.locator("#pair-sides > div")).to_have_count(2)
    pair = axe.run(page)
    assert not first.violations_count, first.generate_report()
    assert not pair.violations_count, pair.generate_report()


def test_without_a_second_atlas_nothing_is_compared(opened: Callable[..., Any]) -> None:
    page = opened()
    assert page.locator("#compare").count() == 0
