"""A made-up atlas, served, and a browser that opens it."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nissl
from live_server import tokenizer
from made_up_atlas import make_atlas
from nissl.atlas import Atlas, open_atlas
from nissl.atlas.page.write import write_page
from nissl.network import Network
from tiny import tiny

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


@pytest.fixture(scope="module")
def net() -> Network:
    model = tiny("llama", max_position_embeddings=256)
    return nissl.load(model, tokenizer=tokenizer())


@pytest.fixture(scope="module")
def atlas(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 36, 40)) for _ in range(12)]
    return nissl.atlas.make_atlas(net, texts, out=tmp_path_factory.mktemp("tiny"), progress=False)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """The function that serves an atlas with a model, and returns its address."""
    import uvicorn

    from nissl.web import server

    running = []

    def start(atlas: Atlas, model: Any = None, dictionaries: Any = (), **more: Any) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        app = server(atlas, token=TOKEN, model=model, dictionaries=dictionaries, **more)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        made = uvicorn.Server(config)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((made, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/?token={TOKEN}"

    yield start
    for made, _ in running:
        made.should_exit = True
    for _, thread in running:
        thread.join(10)


@pytest.fixture(scope="module")
def live(serve: Callable[..., str], atlas: Atlas, net: Network) -> str:
    return serve(atlas, net)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """The function that opens an address; what the browser complains of is an error."""
    contexts, complaints = [], []

    def open_page(address: str, scheme: Any = "light", width: int = 1280) -> Any:
        size = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda s: "status of 400" in s.text or complaints.append(s.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
