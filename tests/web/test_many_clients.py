"""Twenty clients at once: no error, memory stays. NISSL_CLIENTS=60 asks for a minute of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.clients import load, resident

from live_server import TEXT
from nissl.atlas import Atlas
from nissl.network import Network

SECONDS = float(os.environ.get("NISSL_CLIENTS", 5))
GROWTH = 30.0  # MB: what the first answers leave in pools of memory, and not what leaks an answer


@pytest.mark.timeout(600 + 20 * int(SECONDS))
def test_twenty_clients_see_no_error_and_memory_stays(
    atlas: Atlas, net: Network, tmp_path: Path
) -> None:
    net.model.save_pretrained(tmp_path)
    net.require_tokenizer().save_pretrained(tmp_path)
    units = atlas.units["unit"].tolist()
    command = [sys.executable, "-m", "nissl.cli", "view", str(atlas.path), "--model", str(tmp_path)]
    asked = {"units": units, "texts": [TEXT, "w1 w2 w3", "w7"], "words": ["w1", "w2 w3"]}
    with subprocess.Popen(
        [*command, "--no-browser", "--json"], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            address = json.loads(running.stdout.readline())["address"]
            first = load(address, seconds=SECONDS, **asked)
            before = resident(running.pid)
            then = load(address, seconds=SECONDS, **asked)
            grown = resident(running.pid) - before
        finally:
            running.terminate()
    assert first.errors + then.errors == []
    assert set(then.answered) == {"list", "unit", "notes", "find", "try", "touch"}
    assert sum(then.answered.values()) >= 20
    assert grown < GROWTH
    held = atlas.notes.notes
    assert {unit: text.partition(" ")[0] for unit, text in held.items()} == {
        units[me]: str(me) for me in range(20) if units[me] in held
    }
