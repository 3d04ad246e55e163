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

from nissl.claims import FOLDER, SCRIPTS, VERDICTS, figures_text, known_room, read_claims, stale
from nissl.errors import NisslError
from nissl.rules import named_figures

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
    scripts = sorted(root.glob(f"{SCRIPTS}/{known_room(room) if room else '*'}/[!_]*.py"))
    reasons = {script: _reason(script, root, everything) for script in scripts}
    waiting = [script for script in scripts if reasons[script]]
    failures = []
    for number, script in enumerate(waiting, 1):
        name = script.relative_to(root)
        console.print(f"[cyan]{number}/{len(waiting)}[/] {name} [dim]({reasons[script]})[/]")
        started = time.monotonic()
        problem = _run(script, root)
        if problem:
            failures.append(f"{name}: {problem}")
            console.print(f"  [red]{problem}[/]")
        else:
            console.print(f"  [dim]{time.monotonic() - started:.0f} s[/]")
    records = read_claims(folder=folder)
    if scripts or records:
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
        "paper's size planted in the same data. The figures here are those of the rule; the file",
        "of each claim in `claims` has the others. This page is made by `make claims`.",
        "",
        ", ".join(f"{counts[v]} {v}" for v in VERDICTS) + ".",
    ]
    for room in sorted({r["room"] for r in records}):
        lines += ["", f"## {room}", "", "| verdict | claim | measured | null | rule | data |"]
        lines += ["|---|---|---|---|---|---|"]
        for r in (r for r in records if r["room"] == room):
            why = f" *{r['why']}*" if r["why"] else ""
            of_rule = named_figures(r["rule"])
            cells = (
                f"**{r['verdict']}**" + ("" if r["code"] else ", to be run again"),
                f"{r['says']}{why} ({r['title']}; `{SCRIPTS}/{room}/{r['name']}.py`)",
                figures_text({k: r["measured"][k] for k in of_rule if k in r["measured"]}),
                figures_text({k: v for k, v in r["null"].items() if f"null.{k}" in of_rule}),
                f"`{r['rule']}`",
                f"{r['data']}; {r['seconds']:.0f} s",
            )
            lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _reason(script: Path, root: Path, everything: bool = False) -> str:
    """Say why a replication is to be run, or nothing."""
    if everything:
        return "all are run"
    record = _record(script, root)
    return stale(record, root) if record else "no claim yet"


def _record(script: Path, root: Path) -> dict[str, Any] | None:
    try:
        path = root / FOLDER / script.parent.name / f"{script.stem}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _run(script: Path, root: Path) -> str:
    """Run one replication; return what is wrong with it, or nothing."""
    folder = (root / FOLDER).resolve()
    environment = {**os.environ, "NISSL_CLAIMS": str(folder)}
    command = [sys.executable, str(script.resolve())]
    done = subprocess.run(command, cwd=root, env=environment, check=False)
    if done.returncode:
        return f"ended with exit code {done.returncode}"
    record = _record(script, root)
    if record is None or stale(record, root):
        return f"made no claim called '{script.stem}'"
    if not _is_written_in(script, record.get("rule", "")):
        (folder / script.parent.name / f"{script.stem}.json").unlink()
        return "its rule was made during the run; write it as text in the replication"
    return ""


def _is_written_in(script: Path, rule: str) -> bool:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    return any(isinstance(n, ast.Constant) and n.value == rule for n in ast.walk(tree))
