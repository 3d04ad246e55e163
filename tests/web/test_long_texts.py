"""A hundred thousand characters in any field: said in words, and the page goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from nissl.atlas import Atlas, make_atlas
from nissl.network import Network

LONG = {"words": "w1 " * 33_333, "no space": "w" * 100_000}


@pytest.fixture(scope="module")
def everything(serve: Callable[..., str], atlas: Atlas, net: Network, tmp_path_factory: Any) -> str:
    """The explorer with all its parts: live, and beside another atlas."""
    out = tmp_path_factory.mktemp("other")
    other = make_atlas(net, ["w1 w2 w3 w4", "w5 w6 w7"], out=out, progress=False)
    return serve(atlas, net, beside=other)


@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_every_field_takes_a_long_text(
    visit: Callable[..., Any], everything: str, atlas: Atlas, text: str
) -> None:
    page, n = visit(everything), len(atlas.units)
    page.locator("#units-table .link").first.click()
    page.locator("#unit textarea").fill(text)
    page.keyboard.press("Tab")
    page.locator("#unit .note small:not(:empty)").wait_for()
    page.locator("#unit textarea").fill("")
    page.keyboard.press("Escape")
    page.locator("#pairs").wait_for()
    fields = page.locator("input[type=search], input[type=text], input:not([type]), textarea")
    names = [name for name in fields.evaluate_all("all => all.map(field => field.id)") if name]
    shown = [name for name in names if page.locator(f"#{name}").is_visible()]
    assert {"search", "where", "pairs", "try-text", "touch-unit", "clean"} <= set(shown)
    for name in shown:
        field = page.locator(f"#{name}")
        field.fill(text)
        field.press("Enter")
        field.fill("")
        field.press("Escape")
    assert page.locator("#basket tbody tr").count() == 0
    page.fill("#where", "")
    page.locator("#table-say", has_text=f"{n:,} of {n:,} units.").wait_for()


@pytest.mark.parametrize(
    ("field", "say"), [("try-text", "try-length"), ("prompt", "prompt-length")]
)
def test_what_is_too_long_for_the_network_is_said_before_it_is_asked(
    visit: Callable[..., Any], everything: str, field: str, say: str
) -> None:
    page = visit(everything)
    page.fill(f"#{field}", LONG["words"])
    page.locator(f"#{say}", has_text="99,999 characters: at most 20,000").wait_for()
    assert page.locator(f"form:has(#{field}) button.go").is_disabled()
    page.fill(f"#{field}", "w1 w2")
    assert page.locator(f"form:has(#{field}) button.go").is_enabled()
