"""Run the replications whose claim is missing or old, and make the table of all claims."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nissl.claims import FOLDER, VERDICTS, figures_text, fingerprint, known_room, read_claims
from nissl.errors import NisslError

__all__ = ["claims_table", "run_claims"]


def run_claims(
    room: str | None = None, *, root: str | Path = ".", everything: bool = False
) -> list[dict[str, Any]]:
    """Run the replications whose claim is missing or older than they are, and make the table.

    Parameters
    ----------
    room : str, optional
        One room's only.
    root : path
        The project, with ``replications``, ``claims`` and ``docs``.
    everything : bool
        Run also those that are up to date.

    Returns
    -------
    list of dict
        All claims, as `read_claims` gives them.

    Raises
    ------
    NisslError
        A replication failed, made no claim, or made its rule during the run. The others have been
        run and the table made; their claims are kept.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     run_claims(root=root)
    []
    """
    from rich.console import Console

    root, console = Path(root), Console(stderr=True)
    folder = root / FOLDER
    replications = sorted(root.glob(f"replications/{known_room(room) if room else '*'}/[!_]*.py"))
    waiting = [e for e in replications if everything or _is_stale(e, folder)]
    failures = []
    for number, replication in enumerate(waiting, 1):
        console.print(f"[cyan]{number}/{len(waiting)}[/] {replication.relative_to(root)}")
        started = time.monotonic()
        problem = _run(replication, root, folder)
        if problem:
            failures.append(f"{replication.relative_to(root)}: {problem}")
            console.print(f"  [red]{problem}[/]")
        else:
            console.print(f"  [dim]{time.monotonic() - started:.0f} s[/]")
    records = read_claims(folder=folder)
    if replications or records:
        (root / "docs").mkdir(exist_ok=True)
        (root / "docs" / "claims.md").write_text(claims_table(records), encoding="utf-8")
    if failures:
        raise NisslError(
            f"{len(failures)} of {len(waiting)} replications did not end in a claim",
            where="; ".join(failures),
            do="run one by itself to see why: python replications/ROOM/NAME.py",
        )
    return records


def claims_table(records: list[dict[str, Any]]) -> str:
    """Make the page of the documentation from the claims.

    Parameters
    ----------
    records : list of dict
        What `read_claims` returns.

    Returns
    -------
    str
        Markdown: the count of each verdict, and a table for each room.

    Examples
    --------
    >>> print(claims_table([]).splitlines()[0])
    # Claims
    """
    counts = {v: sum(r["verdict"] == v for r in records) for v in VERDICTS}
    lines = [
        "# Claims",
        "",
        "What the papers say, put to the test on real data in `replications`. The rule was",
        "written before the run; a claim fails only where the same code finds an effect of the",
        "paper's size planted in the same data. This page is made by `make claims`.",
        "",
        ", ".join(f"{counts[v]} {v}" for v in VERDICTS) + ".",
    ]
    for room in sorted({r["room"] for r in records}):
        lines += ["", f"## {room}", "", "| verdict | claim | measured | null | rule | data |"]
        lines += ["|---|---|---|---|---|---|"]
        for r in (r for r in records if r["room"] == room):
            why = f" *{r['why']}*" if r["why"] else ""
            script = f"replications/{room}/{r['replication'] or r['name']}"
            cells = (
                f"**{r['verdict']}**",
                f"{r['says']}{why} ({r['title']}; `{script}`)",
                figures_text(r["measured"]),
                figures_text(r["null"]),
                f"`{r['rule']}`",
                f"{r['data']}; {r['seconds']:.0f} s, seed {r['seed']}",
            )
            lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _is_stale(replication: Path, folder: Path) -> bool:
    # By content, not by time: a clone gives every file a new time.
    try:
        path = folder / replication.parent.name / f"{replication.stem}.json"
        return bool(
            json.loads(path.read_text(encoding="utf-8"))["source"] != fingerprint(replication)
        )
    except (OSError, ValueError, KeyError):
        return True


def _run(replication: Path, root: Path, folder: Path) -> str:
    """Run one replication; return what is wrong with it, or nothing."""
    environment = {**os.environ, "NISSL_CLAIMS": str(folder.resolve())}
    command = [sys.executable, str(replication.resolve())]
    done = subprocess.run(command, cwd=root, env=environment, check=False)
    if done.returncode:
        return f"ended with exit code {done.returncode}"
    if _is_stale(replication, folder):
        return f"made no claim called '{replication.stem}'"
    record = json.loads(
        (folder / replication.parent.name / f"{replication.stem}.json").read_text("utf-8")
    )
    if not _is_written_in(replication, record["rule"]):
        (folder / replication.parent.name / f"{replication.stem}.json").unlink()
        return "its rule was made during the run; write it as text in the replication"
    return ""


def _is_written_in(replication: Path, rule: str) -> bool:
    tree = ast.parse(replication.read_text(encoding="utf-8"))
    return any(isinstance(n, ast.Constant) and n.value == rule for n in ast.walk(tree))
