"""Make the pictures of the explorer: `python docs/make_pictures.py out/smollm2`, with Chromium."""

from __future__ import annotations

import io
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from nissl.atlas import open_atlas
from nissl.web import server

HERE = Path(__file__).parent
NEURON = "blocks.18.mlp.neurons[882]"
COLOURS = 96  # of a palette: a page has few, and the picture takes a quarter of the room


def main(atlas: str) -> None:
    """Write `first_map.png` and `first_unit.png` beside this file."""
    from playwright.sync_api import sync_playwright

    address, found = serve(atlas), shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(address)
        page.wait_for_load_state("networkidle", timeout=120_000)
        page.evaluate("scrollBy(0, document.getElementById('map').getBoundingClientRect().y - 70)")
        write(page, "first_map.png")
        page.goto(f"{address.split('?')[0]}#{NEURON}")
        page.reload()
        page.wait_for_load_state("networkidle", timeout=120_000)
        write(page, "first_unit.png")
        browser.close()


def serve(atlas: str) -> str:
    """Serve an atlas as `nissl view` does; return the address with its token."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    app = server(open_atlas(atlas), token="pictures")
    run = uvicorn.Server(uvicorn.Config(app, log_level="warning")).run
    threading.Thread(target=run, kwargs={"sockets": [listener]}, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/?token=pictures"


def write(page: Any, name: str) -> None:
    """Write what the window shows, in few colours."""
    from PIL import Image

    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS).save(HERE / name, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
