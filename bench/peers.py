"""TransformerLens, nnsight, hooks by hand, and pynapple, on our work: ``make bench-peers``.

They live in an environment of their own, ``.venv-peers``, which is made once: what they pin is
their own affair, except for torch, which must be ours for ratios to be of the same arithmetic. A
peer that does not install or import, or records something else, is a row that says so. The ratio
is to a plain forward pass in the peer's own process, with the head where the peer computes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TypedDict

import numpy as np

import nissl
from bench import spikes
from bench.__main__ import show
from bench.measure import Row
from bench.record import BATCH, LENGTH, full_windows
from nissl import specimens

ENVIRONMENT = Path(".venv-peers")
PEERS = {"hooks": "hooks that clone", "transformer_lens": "TransformerLens", "nnsight": "nnsight"}
PYTHON = ENVIRONMENT / "bin" / "python"
# Largest difference that is still the same recording, in root mean squares of a site.
TOLERANCE = 5e-4


class Inside(TypedDict):
    """What peers_inside.py prints."""

    version: str
    ratios: list[float]
    head: bool
    error: float


def main(n_batches: int = 4) -> int:
    """Print a table, and under it the same as JSON."""
    failed = build()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.npy"
        net = nissl.load("smollm2", progress=False)
        ids = np.stack(full_windows(net)[: n_batches * BATCH])
        np.save(tokens, ids.reshape(n_batches, BATCH, LENGTH))
        for peer, name in PEERS.items():
            rows.append(failed.get(peer) or measured(peer, name, tokens))
    show("Peers recording 30 x 1,536 neurons and residuals to memory", rows)
    counted = [*spikes.run(), *([failed["pynapple"]] if "pynapple" in failed else pynapple())]
    show("Spikes binned by pynapple and here", counted)
    rows += counted
    # JSON has no NaN: a peer that was not measured has no ratio.
    print(
        json.dumps([{**r, "ratio": None if r["ratio"] != r["ratio"] else r["ratio"]} for r in rows])
    )
    return 0


def build() -> dict[str, Row]:
    """Make the environment where it is not there yet; return a row for each that did not install.

    torchvision and torchaudio would bring a torch of their own, so nothing may bring them.
    """
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    torch = version("torch").split("+")[0]
    constraints = ENVIRONMENT / "constraints.txt"
    constraints.write_text(f"torch=={torch}\ntorchvision==0\ntorchaudio==0\n")
    install = [str(PYTHON), "-m", "pip", "install", "-q", "-c", str(constraints)]
    subprocess.run([*install, "torch", "transformers", "numpy"], check=True)
    failed = {}
    for peer, name in {**PEERS, "pynapple": "pynapple"}.items():
        if peer == "hooks":
            continue
        done = subprocess.run([*install, peer], capture_output=True, text=True, check=False)
        if done.returncode:
            failed[peer] = missing(name, f"does not install: {last_line(done.stderr)}")
    return failed


def measured(peer: str, name: str, tokens: Path) -> Row:
    """Run a peer in its environment."""
    folder = specimens.load("smollm2", progress=False)
    script = [str(Path(__file__).with_name("peers_inside.py"))]
    done = subprocess.run(
        [str(PYTHON), *script, peer, str(folder), str(tokens)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        return missing(name, f"does not run: {last_line(done.stderr)}")
    found: Inside = json.loads(done.stdout.splitlines()[-1])
    if not found["error"] < TOLERANCE:
        return missing(name, f"records other numbers: {found['error']:.1g} of the root mean square")
    ratios = sorted(found["ratios"])
    head = ", head and all" if found["head"] else ""
    return Row(
        name=f"{name} {found['version']}",
        ratio=median(ratios),
        unit="x forward",
        target=None,
        limit=1.0,
        note=f"{ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} pairs{head}",
    )


def pynapple() -> list[Row]:
    """Bin the spikes of `bench.spikes` by pynapple in its environment."""
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("spikes_inside.py"))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        return [missing("pynapple", f"does not run: {last_line(done.stderr)}")]
    found = json.loads(done.stdout.splitlines()[-1])
    if found["digest"] != spikes.digest(spikes.by_hand(*spikes.table())):
        return [missing("pynapple", "counts other numbers")]
    kinds = {"table": "from the table", "count": "units sorted before"}
    return [
        Row(
            name=f"pynapple {found['version']}, {words}",
            ratio=found[kind],
            unit="x numpy",
            target=None,
            limit=1.0,
        )
        for kind, words in kinds.items()
    ]


def missing(name: str, why: str) -> Row:
    """Return the row of a peer that cannot be measured."""
    return Row(name=name, ratio=float("nan"), unit="", target=None, limit=None, note=why)


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"


if __name__ == "__main__":
    sys.exit(main())
