"""Claims of the literature put to the test: the verdict comes from a rule written before the run.

A replication measures, and ends with one call of `claim`. The rule is a condition on the figures,
written in the replication as text: it decides, it is printed and it is kept beside them. A claim
*holds* where the rule is met. It *fails* only where the rule is not met and the same code, on the
same data with an effect of the paper's size planted in it, does meet it; otherwise nothing has been
learned, and it is *inconclusive*.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nissl.errors import NisslError, UnknownName
from nissl.methods import system as system_of
from nissl.methods import systems
from nissl.rules import holds

__all__ = ["VERDICTS", "claim", "read_claims"]

VERDICTS = ("holds", "fails", "inconclusive")
COLOURS = {"holds": "green", "fails": "red", "inconclusive": "yellow"}
FOLDER = "claims"
# What a figure may depend on; only those that the run has imported are written down.
LIBRARIES = ("nissl", "numpy", "scipy", "pandas", "scikit-learn", "torch", "transformers", "xarray")


def claim(
    name: str,
    *,
    system: int,
    room: str | None = None,
    says: str,
    measured: Mapping[str, Any],
    null: Mapping[str, Any],
    rule: str,
    fails: str | None = None,
    power: Mapping[str, Any] | None = None,
    verdict: str | None = None,
    why: str = "",
    data: str,
    seconds: float | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> str:
    """Put a paper's claim to the test: decide by the rule, print one line, keep the figures.

    Parameters
    ----------
    name : str
        The replication's name; the claim is kept as ``claims/ROOM/NAME.json``.
    system : int
        The number of the paper (``nissl methods --all``).
    room : str, optional
        The room; the paper's own by default.
    says : str
        What the paper claims, in one sentence.
    measured : mapping
        Figures of this run: numbers, truth values, strings, or lists of them.
    null : mapping
        The same figures where there is nothing, from the null model.
    rule : str
        The condition for *holds*, such as ``"accuracy > null.accuracy + 0.05 and p < 0.01"``: names
        of `measured`, ``null.NAME``, numbers, ``+ - * /``, comparisons, ``and or not``, ``abs``,
        ``min``, ``max``. Written in the replication as text, before the run.
    fails : str, optional
        The condition for *fails*; that the rule is not met, by default.
    power : mapping, optional
        The figures of `measured` (and ``null.NAME``, where it changes) from the same code, settings
        and data, with an effect of the paper's size planted. Without them nothing can fail.
    verdict : str, optional
        What the caller expects; refused where the rule says otherwise.
    why : str
        What explains the verdict: a smaller model, other data.
    data : str
        What it was measured on.
    seconds : float, optional
        How long it took; the CPU seconds of this process by default.
    seed : int
        The seed of everything random in the run.
    folder : path, optional
        Where claims are kept; ``NISSL_CLAIMS``, or ``claims`` in the working folder, by default.

    Returns
    -------
    str
        ``"holds"``, ``"fails"`` or ``"inconclusive"``.

    Raises
    ------
    NisslError
        The rule cannot be read or names a figure that is not there, a figure is not finite, both
        conditions are met, or `verdict` says *fails* without power, or other than the rule.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
    ...     claim("lottery", system=298, says="Pruned nets train as well.", data="MNIST",
    ...           measured={"accuracy": 0.97}, null={"accuracy": 0.93}, folder=folder,
    ...           rule="accuracy > null.accuracy + 0.01")
    holds ... lottery (efficiency, system 298): Pruned nets train as well. accuracy 0.97 (null 0.93)
    'holds'
    """
    paper = system_of(system)
    room = known_room(room or paper.room)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise NisslError(
            f"'{name}' cannot name a file", do="use small letters, digits, '-' and '_'"
        )
    figures = {"measured": _plain(measured), "null": _plain(null), "power": _plain(power or {})}
    decided, reason = _decide(rule, fails, figures)
    if verdict is not None and verdict != decided:
        raise NisslError(
            f"the verdict was given as '{verdict}', but the rule decides '{decided}'",
            where=f"{room}/{name}",
            do=reason or f"the rule is: {rule}",
        )
    replication = _replication()
    record = {
        **figures,
        "system": system,
        "title": paper.title,
        "name": name,
        "room": room,
        "says": says,
        "verdict": decided,
        "rule": rule,
        "fails": fails or f"not ({rule})",
        "why": "; ".join(part for part in (why, reason) if part),
        "data": data,
        "seconds": round(time.process_time() if seconds is None else float(seconds), 1),
        "seed": seed,
        "versions": _versions(),
        "replication": replication.name if replication else "",
        "source": fingerprint(replication) if replication else "",
    }
    _write(_folder(folder) / room / f"{name}.json", record)
    _print(record)
    return decided


def read_claims(
    *, room: str | None = None, folder: str | Path | None = None
) -> list[dict[str, Any]]:
    """Read the claims that have been put to the test.

    Parameters
    ----------
    room : str, optional
        One room's only.
    folder : path, optional
        Where claims are kept; ``NISSL_CLAIMS``, or ``claims`` in the working folder, by default.

    Returns
    -------
    list of dict
        One for each claim, as `claim` wrote it, by room and system.

    Raises
    ------
    NisslError
        A file is not a claim.

    Examples
    --------
    >>> read_claims(folder="no-such-folder")
    []
    """
    found = []
    for path in sorted(_folder(folder).glob(f"{known_room(room) if room else '*'}/*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            record["room"], record["system"], record["verdict"]
        except (ValueError, KeyError, TypeError) as error:
            raise NisslError(
                "this file is not a claim",
                where=str(path),
                do="delete it and run `nissl claims --run`",
            ) from error
        found.append(record)
    return sorted(found, key=lambda r: (r["room"], r["system"], r["name"]))


def _decide(rule: str, fails: str | None, figures: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """Return the verdict, and what kept it from being a clear one."""
    measured, null, power = figures["measured"], figures["null"], figures["power"]
    met = holds(rule, measured, null)
    failed = (not met) if fails is None else holds(fails, measured, null)
    if met and failed:
        raise NisslError(
            "the conditions for 'holds' and for 'fails' are both met",
            where=f"{rule} | {fails}",
            do="write conditions that exclude each other",
        )
    if met:
        return "holds", ""
    if not failed:
        return "inconclusive", "the figures meet neither condition"
    if not power:
        return "inconclusive", "the rule is not met, and no planted effect shows that it could be"
    planted_null = {k.removeprefix("null."): v for k, v in power.items() if k.startswith("null.")}
    planted = {k: v for k, v in power.items() if not k.startswith("null.")}
    if not holds(rule, measured | planted, null | planted_null):
        return "inconclusive", "an effect of the paper's size, planted, is not recovered either"
    return "fails", ""


def _plain(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as JSON knows them; what is not finite is refused."""

    def plain(name: str, value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [plain(name, v) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise NisslError(
                f"the figure '{name}' is {value}", do="a claim rests on finite figures"
            )
        if not isinstance(value, bool | int | float | str):
            raise NisslError(
                f"the figure '{name}' is a {type(value).__name__}",
                do="give numbers, truth values, strings or lists of them",
            )
        return value

    return {str(name): plain(str(name), value) for name, value in figures.items()}


def known_room(room: str) -> str:
    rooms = {s.room for s in systems()} - {"-"}
    if room not in rooms:
        raise UnknownName("room", room, rooms, do=f"the rooms are {', '.join(sorted(rooms))}")
    return room


def _folder(folder: str | Path | None) -> Path:
    return Path(folder or os.environ.get("NISSL_CLAIMS") or FOLDER)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for library in LIBRARIES:
        if {"scikit-learn": "sklearn"}.get(library, library) in sys.modules:
            try:
                found[library] = version(library)
            except PackageNotFoundError:  # run from its source without being installed
                continue
    return found


def _replication() -> Path | None:
    """Return the script that is being run, where one is."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    path = Path(file) if file else None
    return (
        path if path and path.suffix == ".py" and "replications" in path.resolve().parts else None
    )


def fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _print(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    verdict = record["verdict"]
    line = Text(f"{verdict:<12}", style=f"bold {COLOURS[verdict]}")
    line.append(f" {record['name']} ({record['room']}, system {record['system']}): ", style="bold")
    null = record["null"]
    beside = {
        k: figure_text(v) + (f" (null {figure_text(null[k])})" if k in null else "")
        for k, v in record["measured"].items()
    }
    line.append(record["says"] + " " + ", ".join(f"{k} {v}" for k, v in beside.items()))
    if record["why"]:
        line.append(f" ({record['why']})", style="dim")
    Console().print(line, soft_wrap=True)


def figure_text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(figure_text, value)) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def figures_text(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {figure_text(v)}" for k, v in figures.items())
