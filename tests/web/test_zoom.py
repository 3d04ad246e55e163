"""The map is seen closer, by keys, wheel, buttons and hand, and shows the same units."""

from collections.abc import Callable
from typing import Any

import pytest

COLOUR = """([x, y]) => {
  const map = document.getElementById("unit-map"), box = map.getBoundingClientRect();
  const ratio = map.width / box.width, one = document.createElement("canvas");
  const pen = one.getContext("2d", { willReadFrequently: true });
  pen.drawImage(map, Math.floor((box.left - x) * ratio), Math.floor((box.top - y) * ratio));
  return [...pen.getImageData(0, 0, 1, 1).data];
}"""


@pytest.fixture
def expect() -> Callable[..., Any]:
    return pytest.importorskip("playwright.sync_api").expect


def read(page: Any, across: int = 24, down: int = 11) -> dict[str, Any]:
    """Point everywhere: the colour of every unit that is found, and where it is last."""
    box = page.locator("#unit-map").bounding_box()
    found: dict[str, Any] = {}
    for i in range(across):
        x = box["x"] + (i + 0.5) * box["width"] / across
        y = box["y"] + ((i * 7) % down + 0.5) * box["height"] / down
        page.mouse.move(x, y)
        if page.locator("#tip").is_visible():
            unit = page.locator("#tip b").inner_text()
            found[unit] = (page.evaluate(COLOUR, [x, y]), (x, y))
    page.mouse.move(2, 2)
    return found


def zoomed(page: Any) -> list[float]:
    from urllib.parse import parse_qs, urlsplit

    return [
        float(v) for v in parse_qs(urlsplit(page.url).query).get("zoom", ["1,0,0"])[0].split(",")
    ]


def test_a_site_is_zoomed_into_and_its_units_keep_their_colours(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    expect(page.locator("#table-say")).to_contain_text("units.")
    page.locator("#unit-map").scroll_into_view_if_needed()
    before = read(page)
    page.select_option("#zoom-site", label="layer 1")
    page.wait_for_timeout(100)
    assert zoomed(page)[0] > 1
    after = read(page)
    assert after
    assert all(unit.startswith("blocks.1.") for unit in after)
    both = before.keys() & after.keys()
    assert both
    assert all(before[unit][0] == after[unit][0] for unit in both)
    again = opened(f"&{page.url.partition('?')[2]}")
    expect(again.locator("#table-say")).to_contain_text("units.")
    again.locator("#unit-map").scroll_into_view_if_needed()
    assert read(again).keys() == after.keys()
    unit, (_, place) = next(iter(after.items()))
    page.mouse.click(*place)
    expect(page.locator("#unit-title")).to_have_text(unit)


def test_keys_zoom_and_bring_the_chosen_unit_into_sight(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    page.locator("#unit-map").focus()
    for _ in range(4):
        page.keyboard.press("+")
    assert zoomed(page)[0] == pytest.approx(1.5**4, rel=1e-3)
    first = zoomed(page)
    for _ in range(20):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    assert zoomed(page) != first
    expect(page.locator("#tip")).to_be_visible()
    tip, box = page.locator("#tip").bounding_box(), page.locator("#unit-map").bounding_box()
    assert box["x"] <= tip["x"] <= box["x"] + box["width"]
    page.keyboard.press("0")
    assert "zoom=" not in page.url
    expect(page.get_by_role("button", name="Zoom out")).to_be_disabled()


def test_the_wheel_zooms_where_it_is_meant_and_a_hand_moves_the_map(
    opened: Callable[..., Any], expect: Any
) -> None:
    page = opened()
    expect(page.locator("#table-say")).to_contain_text("units.")
    map_ = page.locator("#unit-map")
    map_.scroll_into_view_if_needed()
    box = map_.bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -60)
    page.wait_for_timeout(200)
    assert "zoom=" not in page.url  # it scrolled the page
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(200)
    map_.focus()
    box = map_.bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -60)
    page.wait_for_url("**zoom=**")
    page.wait_for_timeout(200)
    k, left, _ = zoomed(page)
    # What was under the wheel has stayed there.
    assert left + 1 / 3 / k == pytest.approx(1 / 3, abs=0.01)
    page.mouse.down()
    page.mouse.move(x - 100, y, steps=5)
    page.mouse.up()
    assert zoomed(page)[1] == pytest.approx(left + 100 / box["width"] / k, abs=0.02)
    expect(page.locator("#unit")).not_to_be_visible()  # moving the map is no click


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(browser: Any, served: str, expect: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{served}&zoom=3,0.1,0.1")
    expect(page.get_by_role("button", name="Zoom out")).to_be_enabled()
    found = axe.run(page)
    context.close()
    assert not found.violations_count, found.generate_report()
