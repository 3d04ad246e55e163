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
from typing import Any

import numpy as np

import nissl
from bench import spikes
from bench.__main__ import show
from bench.measure import Row
from bench.record import BATCH, LENGTH, full_windows
from nissl import specimens
from nissl.behaviour import Behaviour, Patching, indirect_object
from nissl.circuits import attribution
from nissl.network import nodes_of

ENVIRONMENT = Path(".venv-peers")
PEERS = {"hooks": "hooks that clone", "transformer_lens": "TransformerLens", "nnsight": "nnsight"}
PYTHON = ENVIRONMENT / "bin" / "python"
# Largest difference that is still the same recording, in root mean squares of a site.
TOLERANCE = 5e-4


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
    attributed = attribution_rows(failed)
    show("Attribution patching by peers", attributed)
    counted = [*spikes.run(), *([failed["pynapple"]] if "pynapple" in failed else pynapple())]
    show("Spikes binned by pynapple and here", counted)
    rows += [*attributed, *counted]
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
    """Let a peer record in its environment."""
    folder = specimens.load("smollm2", progress=False)
    found = inside("peers_inside.py", peer, str(folder), str(tokens))
    if isinstance(found, str):
        return missing(name, f"does not run: {found}")
    if not found["error"] < TOLERANCE:
        return missing(name, f"records other numbers: {found['error']:.1g} of the root mean square")
    head = ", head and all" if found["head"] else ""
    return ratios_row(f"{name} {found['version']}", found["ratios"], also=head)


def inside(script: str, *arguments: str) -> Any:
    """Return what a script printed in the peers' environment as JSON, or the error's last line."""
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name(script)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return last_line(done.stderr) if done.returncode else json.loads(done.stdout.splitlines()[-1])


def ratios_row(name: str, ratios: list[float], also: str = "") -> Row:
    """Return the row of some ratios to a plain forward pass."""
    ratios = sorted(ratios)
    return Row(
        name=name,
        ratio=median(ratios),
        unit="x forward",
        target=None,
        limit=1.0,
        note=f"{ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} pairs{also}",
    )


def attribution_rows(failed: dict[str, Row]) -> list[Row]:
    """Let peers do attribution patching of prompts of one length, and compare with ours."""
    net = nissl.load("smollm2", progress=False)
    whole = indirect_object(net, n=16, progress=False).halves[0].behaviour()
    length = len(whole.clean_ids[0])
    rows = [i for i, ids in enumerate(whole.clean_ids) if len(ids) == length]
    clean, corrupted = ([ids[i] for i in rows] for ids in (whole.clean_ids, whole.corrupted_ids))
    answers = {"right": whole.right[rows, 0].tolist(), "wrong": whole.wrong[rows, 0].tolist()}
    pairs = Patching(Behaviour(net, clean, corrupted, **answers), "noising")
    ours = attribution(pairs, nodes_of(net, "mlp.neurons"))[:, -1].mean(0).numpy()
    made = []
    folder = specimens.load("smollm2", progress=False)
    works = {
        "nnsight": "attribution of every neuron at every position",
        "transformer_lens": "attribution of every head and MLP, pair after pair",
    }
    with tempfile.TemporaryDirectory() as place:
        stored = Path(place) / "pairs.npz"
        np.savez(stored, clean=np.stack(clean), corrupted=np.stack(corrupted), **answers)
        for peer, work in works.items():
            name = f"{PEERS[peer]}: {work}"
            if peer in failed:
                made.append(failed[peer])
                continue
            found = inside("circuits_inside.py", peer, str(folder), str(stored))
            if isinstance(found, str):
                made.append(missing(name, f"does not run: {found}"))
                continue
            theirs = np.ravel(found["effects"])
            if len(theirs) and abs(theirs - ours).max() > TOLERANCE * abs(ours).max():
                made.append(missing(name, "other effects"))
                continue
            made.append(ratios_row(f"{name} ({found['version']})", found["ratios"]))
    return made


def pynapple() -> list[Row]:
    """Bin the spikes of `bench.spikes` by pynapple in its environment."""
    found = inside("spikes_inside.py")
    if isinstance(found, str):
        return [missing("pynapple", f"does not run: {found}")]
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
