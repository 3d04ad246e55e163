"""Claims of the literature put to the test: the verdict comes from a rule written before the run.

A replication measures, and ends with one call of `claim`. The rule is a condition on the figures,
written in the replication as text: it decides, it is printed and it is kept beside them. A claim
*holds* where the rule is met. It *fails* only where the rule is not met and the same code, on the
same data with an effect of the paper's size planted in it, does meet it; otherwise nothing has been
learned, and it is *inconclusive*.

What is kept says from which code it came, so that `stale` can tell whether it still does.
"""

from __future__ import annotations

import ast
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
from nissl.methods import PACKAGE, systems
from nissl.methods import system as system_of
from nissl.rules import holds, primary_figure

__all__ = ["VERDICTS", "claim", "read_claims", "stale"]

VERDICTS = ("holds", "fails", "inconclusive")
COLOURS = {"holds": "green", "fails": "red", "inconclusive": "yellow"}
FOLDER = "claims"
SCRIPTS = "replications"
# What a figure may depend on; only those that the run has imported are written down.
LIBRARIES = ("nissl", "numpy", "scipy", "pandas", "scikit-learn", "torch", "transformers", "xarray")


def claim(
    name: str,
    *,
    system: int,
    says: str,
    measured: Mapping[str, Any],
    null: Mapping[str, Any],
    rule: str,
    power: Mapping[str, Any] | None = None,
    data: str,
) -> str:
    """Put a paper's claim to the test: decide by the rule, print one line, keep the figures.

    Parameters
    ----------
    name : str
        The replication's name. The claim is kept as ``ROOM/NAME.json``, the room being the paper's,
        in the folder ``claims`` or the one that the variable ``NISSL_CLAIMS`` names.
    system : int
        The number of the paper (``nissl methods --all``).
    says : str
        What the paper claims, in one sentence.
    measured : mapping
        Figures of this run: numbers, truth values, strings, or lists of them.
    null : mapping
        The same figures where there is nothing, from the null model.
    rule : str
        The condition for *holds*, such as ``"accuracy > null.accuracy + 0.05 and p < 0.01"``: names
        of `measured`, ``null.NAME``, numbers, ``+ - * /``, comparisons, ``and or not``, ``abs``,
        ``min``, ``max``. At most three comparisons, all about one primary figure, the first that is
        named. Written in the replication as text, before the run.
    power : mapping, optional
        The figures of `measured` (and ``null.NAME``, where it changes) from the same code, settings
        and data, with an effect of the paper's size planted. Without them nothing can fail.
    data : str
        What it was measured on, and what a reader needs to know of the figures.

    Returns
    -------
    str
        ``"holds"``, ``"fails"`` or ``"inconclusive"``.

    Raises
    ------
    NisslError
        The rule cannot be read, has more than one primary figure or more than three comparisons, or
        names a figure that is not there; or a figure is not finite.

    Examples
    --------
    >>> import contextlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     claim("lottery", system=298, says="Pruned nets train as well.", data="MNIST",
    ...           measured={"accuracy": 0.97}, null={"accuracy": 0.93},
    ...           rule="accuracy > null.accuracy + 0.01")  # doctest: +ELLIPSIS
    holds ... lottery (efficiency, system 298): Pruned nets train as well. accuracy 0.97 (null 0.93)
    'holds'
    """
    paper = system_of(system)
    room = known_room(paper.room)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise NisslError(
            f"'{name}' cannot name a file", do="use small letters, digits, '-' and '_'"
        )
    figures = {"measured": _plain(measured), "null": _plain(null), "power": _plain(power or {})}
    primary = primary_figure(rule)
    verdict, why = decide(rule, **figures)
    record = {
        **figures,
        "system": system,
        "title": paper.title,
        "name": name,
        "room": room,
        "says": says,
        "verdict": verdict,
        "rule": rule,
        "primary": primary,
        "why": why,
        "data": data,
        "seconds": round(time.process_time(), 1),
        "versions": _versions(),
        "code": _code(room),
    }
    _write(claims_folder() / room / f"{name}.json", record)
    _print(record)
    return verdict


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
    folder = Path(folder or claims_folder())
    for path in sorted(folder.glob(f"{known_room(room) if room else '*'}/*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            record["room"], record["system"], record["name"], record["verdict"]
        except (ValueError, KeyError, TypeError) as error:
            raise NisslError(
                "this file is not a claim",
                where=str(path),
                do="delete it and run `nissl claims --run`",
            ) from error
        found.append(record)
    return sorted(found, key=lambda r: (r["room"], r["system"], r["name"]))


def stale(record: Mapping[str, Any], root: Path, *, package: Path = PACKAGE) -> str:
    """Say why a claim that was kept no longer belongs to the code.

    Parameters
    ----------
    record : mapping
        A claim as `read_claims` gives it.
    root : Path
        The project, with ``replications``.
    package : Path
        The library's source, the folder ``nissl``.

    Returns
    -------
    str
        What has changed since: the replication, or one of the modules of its room that it imported,
        comments, docstrings and layout aside. Empty where nothing has.

    Examples
    --------
    >>> stale({"code": {}}, Path("."))
    'it was measured by code that is no longer here'
    """
    code = record.get("code")
    if not isinstance(code, dict) or not code:
        return "it was measured by code that is no longer here"
    for file, digest in sorted(code.items()):
        path = (root if file.startswith(f"{SCRIPTS}/") else package.parent) / file
        if not path.is_file():
            return f"{file} is gone"
        if fingerprint(path) != digest:
            return f"{file} has changed"
    return ""


def fingerprint(path: Path) -> str:
    """Digest of what a file of Python says; not of its comments, docstrings and layout."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    return hashlib.sha256(repr(_shape(tree)).encode()).hexdigest()[:16]


def _shape(node: Any) -> Any:
    # Not `ast.dump`: it writes empty fields in some versions of Python and not in others.
    if isinstance(node, ast.AST):
        fields = ((k, _shape(v)) for k, v in ast.iter_fields(node) if v is not None and v != [])
        return (type(node).__name__, *fields)
    return [_shape(part) for part in node] if isinstance(node, list) else node


def _code(room: str) -> dict[str, str]:
    """Fingerprints of the script that runs and of the room's modules that it has imported."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = Path(script).resolve().parent if script else Path()
    if not script or folder.parent.name != SCRIPTS:
        return {}
    files = {f"{SCRIPTS}/{folder.name}/{Path(script).name}": Path(script)}
    for name, module in sys.modules.items():
        if name.startswith(f"nissl.{room}.") and module.__file__:
            path = Path(module.__file__)
            files[path.relative_to(PACKAGE.parent).as_posix()] = path
    return {file: fingerprint(path) for file, path in sorted(files.items())}


def decide(
    rule: str, measured: Mapping[str, Any], null: Mapping[str, Any], power: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the verdict, and why it is not a clear one."""
    if holds(rule, measured, null):
        return "holds", ""
    if not power:
        return "inconclusive", "the rule is not met, and no planted effect shows that it could be"
    planted_null = {k.removeprefix("null."): v for k, v in power.items() if k.startswith("null.")}
    planted = {k: v for k, v in power.items() if not k.startswith("null.")}
    if not holds(rule, {**measured, **planted}, {**null, **planted_null}):
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


def claims_folder() -> Path:
    """Return where claims are written and read: ``NISSL_CLAIMS``, or the folder ``claims`` here."""
    return Path(os.environ.get("NISSL_CLAIMS") or FOLDER)


def known_room(room: str) -> str:
    """Return the room, or refuse one that no paper belongs to."""
    rooms = {s.room for s in systems()} - {"-"}
    if room not in rooms:
        raise UnknownName("room", room, rooms, do=f"the rooms are {', '.join(sorted(rooms))}")
    return room


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
    primary, null = record["primary"], record["null"]
    line.append(f"{record['says']} {primary} {figure_text(record['measured'][primary])}")
    if primary in null:
        line.append(f" (null {figure_text(null[primary])})")
    if record["why"]:
        line.append(f" ({record['why']})", style="dim")
    Console().print(line, soft_wrap=True)


def figure_text(value: Any) -> str:
    """Write a figure with three digits."""
    if isinstance(value, list):
        return "[" + ", ".join(map(figure_text, value)) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def figures_text(figures: Mapping[str, Any]) -> str:
    """Write figures with their names, in one line."""
    return ", ".join(f"{k} {figure_text(v)}" for k, v in figures.items())
