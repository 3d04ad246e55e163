"""A page in which the renderers are called."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nissl import pictures

PAGE = """<!doctype html><html lang="en"><title>Pictures</title><style>{style}
body {{ background: var(--card); color: var(--ink); }}</style><body>
<main></main><script>
{script}
window.drawn = (node) => document.querySelector("main").replaceChildren(node);
</script></body></html>"""


@pytest.fixture(params=["light", "dark"])
def canvas(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty page with the renderers, in light and in dark; what goes wrong in it is an error."""
    page = browser.new_page(viewport={"width": 900, "height": 700})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content(PAGE.format(style=pictures.style(), script=pictures.script()))
    page.evaluate(f"document.documentElement.dataset.theme = '{request.param}'")
    yield page
    page.close()
    assert not complaints


@pytest.fixture(scope="session")
def violations() -> Callable[[Any], str]:
    """The function that tells what axe finds wrong with a page, or with a frame of one."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def found(page: Any) -> str:
        # The first heading is that of the page around a frame.
        results = axe.run(page, options={"rules": {"page-has-heading-one": {"enabled": False}}})
        return str(results.generate_report()) if results.violations_count else ""

    return found
