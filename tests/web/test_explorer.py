"""What a person does in the explorer, clicked through in a browser."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pandas as pd
import pytest

from nissl.atlas import open_atlas
from nissl.atlas.page.write import write_page


@pytest.fixture
def expect() -> Callable[..., Any]:
    return pytest.importorskip("playwright.sync_api").expect


def test_the_list_is_filtered_sorted_and_kept_in_the_address(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    say = page.locator("#table-say")
    expect(say).to_have_text("96 of 96 units.")
    assert "token=" not in page.url
    page.fill("#where", "kind = token and layer = 1")
    expect(say).not_to_have_text("96 of 96 units.")
    page.get_by_role("button", name="density").click()
    head = page.locator("#units-table th[aria-sort=descending]")
    expect(head).to_contain_text("density")
    kinds = page.locator("#units-table tbody tr td:nth-child(2)")
    assert set(kinds.all_inner_texts()) == {"token"}
    again = opened(f"&{page.url.partition('?')[2]}")  # the address holds the view
    expect(again.locator("#table-say")).to_have_text(say.inner_text())
    expect(again.locator("#units-table th[aria-sort=descending]")).to_contain_text("density")
    assert again.locator("#units-table").inner_text() == page.locator("#units-table").inner_text()


def test_what_is_not_understood_is_said_where_it_was_written(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    page.fill("#where", "density less than 1")
    expect(page.locator("#table-say")).to_contain_text("is not a condition")


def test_a_unit_opens_from_the_list_and_the_address(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    page.fill("#find", "Paris")
    expect(page.locator("#table-say")).to_contain_text("high where the text ends")
    first = page.locator("#units-table tbody .link").first
    name = first.inner_text()
    first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#unit-title")).to_have_text(name)
    expect(page.locator("#unit .contexts").first).to_contain_text("Paris")
    assert page.locator("#unit b:text('bold')").count() == 0  # <b>bold</b> is a text
    again = opened(f"&{page.url.partition('?')[2]}")
    expect(again.locator("#unit-title")).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.locator("#unit")).not_to_be_visible()


def test_the_colour_of_the_map_and_a_kind_are_in_the_address(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    page.select_option("#statistic", "kurtosis")
    page.locator("#kinds-legend button").first.click()
    again = opened(f"&{page.url.partition('?')[2]}")
    expect(again.locator("#statistic")).to_have_value("kurtosis")
    expect(again.locator("#kinds-legend button").first).to_have_attribute("aria-pressed", "true")


def test_notes_and_sets_are_kept_beside_the_atlas(
    opened: Callable[..., Any], expect: Any, atlas_folder: Path
) -> None:
    page = opened()
    page.fill("#where", "layer = 2")
    page.fill("#set-name", "the last")
    page.get_by_role("button", name="keep these").click()
    expect(page.locator("#set-say")).to_contain_text("set = the last")
    page.locator("#units-table .link").first.click()
    name = page.locator("#unit-title").inner_text()
    page.fill("#unit textarea", "<b>mine</b>")
    page.keyboard.press("Tab")
    expect(page.locator("#unit .note small")).to_have_text("kept in notes.json")
    again = opened(f"&{page.url.partition('?')[2]}")
    expect(again.locator("#unit textarea")).to_have_value("<b>mine</b>")
    again.keyboard.press("Escape")
    again.select_option("#set", "the last")
    expect(again.locator("#table-say")).to_have_text("32 of 96 units.")
    held = open_atlas(atlas_folder).notes
    assert held.notes == {name: "<b>mine</b>"}
    assert len(held.sets["the last"]) == 32
    held.write(name, "")
    held.keep("the last", [])


def test_a_note_that_is_being_written_stays_when_the_rest_of_the_unit_arrives(
    visit: Callable[..., Any],
    serve: Callable[..., str],
    expect: Any,
    atlas_folder: Path,
    tmp_path: Path,
) -> None:
    copy = copytree(atlas_folder, tmp_path / "copy")
    write_page(copy, n_cards=4)  # all others are asked of the server
    page, held = visit(serve(open_atlas(copy))), []
    page.route("**/api/unit/*", lambda route: held.append(route))
    page.locator("#units-table .link").nth(15).click()
    page.locator("#unit textarea").press_sequentially("half of a")
    assert page.locator("#unit .contexts").count() == 0
    held[0].continue_()
    expect(page.locator("#unit .contexts").first).to_be_visible()
    page.keyboard.type(" word")
    expect(page.locator("#unit textarea")).to_have_value("half of a word")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(browser: Any, served: str, expect: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(served)
    expect(page.locator("#table-say")).to_contain_text("units.")
    first = axe.run(page)
    page.locator("#units-table .link").first.click()
    expect(page.locator("#unit .contexts").first).to_be_visible()
    unit = axe.run(page)
    context.close()
    assert not first.violations_count, first.generate_report()
    assert not unit.violations_count, unit.generate_report()


def test_the_search_leads_to_units_and_to_lists_by_keyboard_alone(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    expect(page.locator("#table-say")).to_have_text("96 of 96 units.")
    page.keyboard.press("/")
    page.keyboard.type("the cat")
    first = page.locator("#found [role=option]").first
    expect(first).to_contain_text("pair")
    expect(page.locator("#search")).to_have_attribute("aria-activedescendant", "found-0")
    page.keyboard.press("Enter")
    expect(page.locator("#where")).to_have_value("bigram = the cat and bigram_q <= 0.05")
    expect(page.locator("#table-say")).not_to_have_text("96 of 96 units.")
    expect(page.locator("#list .scroll")).to_be_focused()
    assert "the+cat" in page.url
    page.fill("#search", "1/7")
    expect(page.locator("#found [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#unit-title")).to_have_text("blocks.1.mlp.neurons[7]")


def test_the_search_finds_texts_and_says_where_it_finds_nothing(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    page.fill("#search", "paris")
    last = page.locator("#found [role=option]", has_text="text:")
    expect(last).to_be_visible()
    last.click()
    expect(page.locator("#find")).to_have_value("paris")
    expect(page.locator("#table-say")).to_contain_text("high where the text ends")
    page.fill("#where", "layer = 2")
    layer = page.locator("#units-table tbody .link")
    expect(layer.first).to_contain_text("blocks.2")
    assert all("blocks.2." in name for name in layer.all_inner_texts())
    page.fill("#search", "<b>bold</b>")
    expect(page.locator("#found [role=option]").first).to_contain_text("<b>bold</b>")
    assert page.locator("#found b").count() == 0
    page.fill("#search", "nothing of this kind")
    expect(page.locator("#found")).to_contain_text("nothing here has that")
    page.keyboard.press("Escape")
    expect(page.locator("#found")).not_to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_search_is_accessible(browser: Any, served: str, expect: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(served)
    page.fill("#search", "cat")
    expect(page.locator("#found [role=option]").first).to_be_visible()
    found = axe.run(page)
    context.close()
    assert not found.violations_count, found.generate_report()


def test_every_figure_says_what_it_is_compared_with_and_where_the_unit_stands(
    opened: Callable[..., Any], expect: Any, atlas_folder: Path
) -> None:
    units = pd.read_parquet(atlas_folder / "units.parquet")
    row = int(units.index[units["kind"] == "token"][0])
    page = opened(f"#{units['unit'][row]}".replace("[", "%5B").replace("]", "%5D"))
    expect(page.locator("#unit .contexts").first).to_be_visible()
    rows = page.locator("#unit .pairs.asked tr:not([hidden])")
    buttons = page.locator("#unit .pairs.asked .ask")
    assert buttons.count() == rows.count() > 15
    button = page.get_by_role("button", name="kurtosis: against what?")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    x, own = units["kurtosis"], units[units["site"] == units["site"][row]]["kurtosis"]

    def above(held: pd.Series) -> str:
        share = 100 * ((held < x[row]).sum() + 0.5 * (held == x[row]).sum()) / len(held)
        return f"{share:.0f}%" if share >= 10 else f"{share:.1f}%"

    said = page.locator("#unit tr:not([hidden]) .against").inner_text()
    assert said.startswith(f"Above {above(x)} of all units and {above(own)} of layer")
    assert "a description, not a test" in said
    page.keyboard.press("Enter")
    expect(page.locator("#unit tr:not([hidden]) .against")).to_have_count(0)
    expect(page.locator("#unit .kind")).to_contain_text("Token effect")
