"""A made-up atlas, served, and a browser that opens it."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from made_up_atlas import make_atlas
from nissl.atlas import open_atlas
from nissl.atlas.page.write import write_page

TOKEN = "secret"


@pytest.fixture(scope="session")
def atlas_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas of 96 made-up neurons, with its page."""
    folder = make_atlas(tmp_path_factory.mktemp("atlas"))
    write_page(folder)
    return folder


@pytest.fixture(scope="session")
def served(atlas_folder: Path) -> Iterator[str]:
    """The address of the explorer of that atlas, with its token."""
    import uvicorn

    from nissl.web import server

    listener = socket.create_server(("127.0.0.1", 0))
    app = server(open_atlas(atlas_folder), token=TOKEN)
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token={TOKEN}"
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no browser is installed: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api")
    sync.expect.set_options(timeout=30_000)  # of a busy machine
    with sync.sync_playwright() as play:
        made = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(browser: Any, served: str) -> Iterator[Callable[..., Any]]:
    """The function that opens the explorer at a view; what the browser complains of is an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []

    def open_page(view: str = "") -> Any:
        page = context.new_page()
        # What is asked wrongly is answered with 400, which the browser notes besides.
        page.on("console", lambda s: "status of 400" in s.text or complaints.append(s.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(served + view)
        return page

    yield open_page
    context.close()
    assert not complaints
