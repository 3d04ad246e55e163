"""Run it: ``python -m bench.compared [PEER ...]``, kept in build/compared.json, printed as a table.

Each peer has an environment of its own, made once, with Nissl in it: both do a task in one process,
in turn, after their results were found equal. What imports and loading cost, and the largest
memory, are of a process for each that does the peer's first task alone, once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.peers import last_line
from nissl.cli.printing import markdown

KEPT = Path("build/compared.json")
ENVIRONMENTS = Path(".venv-compared")
# What each is called, and what is installed for it.
PEERS = {
    "transformer_lens": ("TransformerLens", ["transformer_lens"]),
    "nnsight": ("nnsight", ["nnsight"]),
    "sae_lens": ("SAELens", ["sae-lens"]),
    "captum": ("Captum", ["captum"]),
    "nilearn": ("nilearn", ["nilearn"]),
    "rsatoolbox": ("rsatoolbox", ["rsatoolbox"]),
}
BESIDE = ["torch", "transformers", "numpy"]
VERSIONS = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in %r}))"
COLUMNS = ["theirs, CPU s (wall)", "ours", "theirs / ours", "apart"]


def main() -> int:
    """Measure the peers that are named, or all, and keep what was found beside the others."""
    parser = argparse.ArgumentParser(prog="python -m bench.compared", description=__doc__)
    parser.add_argument("peer", nargs="*", help=", ".join(PEERS))
    wanted = parser.parse_args().peer or list(PEERS)
    if unknown := set(wanted) - set(PEERS):
        parser.error(f"there is no {sorted(unknown)[0]!r}; there are {', '.join(PEERS)}")
    from bench.compared.prepare import prepare

    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for peer in wanted:
            kept(peer, measured(peer, folder))
    found = json.loads(KEPT.read_text())
    print(f"{table(found)}\n\n{starts(found)}")
    return 0


def measured(peer: str, folder: str) -> dict[str, Any]:
    """Make a peer's environment, and measure its tasks there."""
    name, packages = PEERS[peer]
    about: dict[str, Any] = {"name": name, "date": date.today().isoformat(), "machine": machine()}
    python, why = environment(peer, packages)
    if why:
        return {**about, "missing": f"does not install: {why}"}
    call = ("-m", "bench.compared.inside", peer, folder)
    about["tasks"] = inside(python, *call)
    for arm in ("theirs", "ours"):
        about[arm] = inside(python, *call, arm)[0]
    about["versions"] = inside(python, "-c", VERSIONS % [*packages, *BESIDE])[0]
    return about


def environment(peer: str, packages: list[str]) -> tuple[str, str]:
    """Return the Python of a peer's environment, and why it could not be made.

    torch is ours, so that ratios are of the same arithmetic; torchvision and torchaudio would bring
    another, so nothing may bring them.
    """
    folder = ENVIRONMENTS / peer
    python = str(folder / "bin" / "python")
    if Path(python).exists():
        return python, ""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    constraints = folder / "constraints.txt"
    torch = version("torch").split("+")[0]
    constraints.write_text(f"torch=={torch}\ntorchvision==0\ntorchaudio==0\n")
    install = [python, "-m", "pip", "install", "-q", "-c", str(constraints), "torch", *packages]
    done = subprocess.run([*install, "-e", ".[brain]"], capture_output=True, text=True, check=False)
    return python, last_line(done.stderr) if done.returncode else ""


def inside(python: str, *arguments: str) -> list[Any]:
    """Return what a call printed as JSON, a line each; where it failed, why as well."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environ = {**os.environ, **alone, "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, check=False, env=environ
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        found.append({"name": "more", "refused": f"does not run: {last_line(done.stderr)}"})
    return found


def kept(peer: str, found: dict[str, Any]) -> None:
    """Keep what was measured."""
    KEPT.parent.mkdir(exist_ok=True)
    whole = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    KEPT.write_text(json.dumps({**whole, peer: found}, indent=1))


def machine() -> str:
    """Return the kind of machine, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    return f"{model or platform.machine()}, Python {platform.python_version()}, one thread"


def table(found: dict[str, Any]) -> str:
    """Return what was measured as a table in Markdown.

    Parameters
    ----------
    found : dict
        What is in ``build/compared.json``.

    Returns
    -------
    str
        A row a task.
    """
    rows = []
    for peer in (name for name in PEERS if name in found):
        about = found[peer]
        tasks = about.get("tasks", [{"name": "all", "refused": about.get("missing")}])
        rows += [{"library": about["name"], "task": x["name"], **columns(x)} for x in tasks]
    return markdown(rows)


def columns(task: dict[str, Any]) -> dict[str, str]:
    """Return the figures of a task: the ratio is theirs over ours, the median of the rounds."""
    if "refused" in task:
        return dict.fromkeys(COLUMNS, "") | {COLUMNS[0]: task["refused"]}
    theirs, ours = task["theirs"], task["ours"]
    ratios = sorted(a / b for a, b in zip(theirs["cpu"], ours["cpu"], strict=True))
    said = [f"{median(x['cpu']):.2g} ({median(x['wall']):.2g})" for x in (theirs, ours)]
    said.append(f"{median(ratios):.2g} ({ratios[0]:.2g} to {ratios[-1]:.2g})")
    said.append(f"{task['apart']:.0e}" if task["apart"] else "0")
    return dict(zip(COLUMNS, said, strict=True))


def starts(found: dict[str, Any]) -> str:
    """Return what the first task takes in a process of its own, all imports and loading counted.

    Parameters
    ----------
    found : dict
        What is in ``build/compared.json``.

    Returns
    -------
    str
        A table in Markdown, a row a library.
    """
    rows = []
    for about in (found[name] for name in PEERS if "theirs" in found.get(name, {})):
        row = {"library": about["name"], "first task": about["tasks"][0]["name"]}
        for key, words in (("first", "CPU s"), ("mib", "peak MiB")):
            for arm in ("theirs", "ours"):
                value = about[arm].get(key)
                row[f"{words}, {arm}"] = (
                    "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
                )
        rows.append(row)
    return markdown(rows)


if __name__ == "__main__":
    sys.exit(main())
