"""Atlases made up for tests of their page, and a browser that says what it draws."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from made_up_atlas import make_atlas


@pytest.fixture(scope="session")
def made_up_atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas of 96 made-up neurons, without its page."""
    return make_atlas(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="session")
def atlas_maker() -> Callable[..., Path]:
    """The function that makes one, for other sizes."""
    return make_atlas


@pytest.fixture
def dom(tmp_path: Path) -> Callable[..., str]:
    """The function that says what a browser makes of a page in its folder, after a script."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser is installed")

    def made(page: Path, script: str = "", fragment: str = "") -> str:
        copy = page.with_name("probe.html")
        copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--virtual-time-budget=8000", f"file://{copy}{fragment}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return made
