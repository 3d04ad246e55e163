"""What tests share: real models and texts, fetched once into the cache; a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nissl
from nissl.network import Network
from nissl.recording import Recording


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """The folder of SmolLM2-135M-Instruct, for transformers."""
    from nissl.specimens import load

    folder: Path = load("smollm2")
    return folder


@pytest.fixture(scope="session")
def reader_texts() -> pd.DataFrame:
    """The reader: 400 documents, some 190,000 tokens."""
    from nissl.specimens import load

    table: pd.DataFrame = load("reader")
    return table


@pytest.fixture(scope="session")
def head_direction() -> Recording:
    """Spikes of ADN and CA1 in bins of 200 ms."""
    from nissl.specimens.recordings import head_direction

    rec: Recording = head_direction(bin=0.2)
    return rec


@pytest.fixture(scope="session")
def haxby() -> Recording:
    """1452 volumes of 530 voxels."""
    from nissl.specimens import load

    rec: Recording = load("haxby")
    return rec


@pytest.fixture(scope="session")
def hcp() -> Recording:
    """7 subjects x 1200 volumes of 94 regions."""
    from nissl.specimens import load

    rec: Recording = load("hcp")
    return rec


@pytest.fixture(scope="session")
def worm() -> Recording:
    """Responses of 207 neurons to the stimulation of 173."""
    from nissl.specimens import load

    rec: Recording = load("worm")
    return rec


@pytest.fixture(scope="session")
def smollm2() -> Network:
    """SmolLM2-135M-Instruct, float32."""
    return nissl.load("smollm2")


@pytest.fixture(scope="session")
def resnet50() -> Network:
    """ResNet-50, float32."""
    return nissl.load("resnet50")


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
