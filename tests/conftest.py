"""Real models and texts that tests share: fetched once into the cache, opened once a session."""

from pathlib import Path

import pandas as pd
import pytest


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
