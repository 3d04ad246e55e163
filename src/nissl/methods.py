"""The marker that ties a public function or class to the paper it comes from, and the papers.

A *system* is a paper's idea, known by its number in ``papers.tsv``; a *method* is what implements
it here. Methods are listed by reading the source, so that no room needs to be imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from nissl.errors import NisslError, UnknownName

__all__ = ["Method", "Reference", "System", "cite", "method", "methods", "system", "systems"]

T = TypeVar("T")

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class System:
    """A paper whose idea the library takes up.

    Parameters
    ----------
    number : int
        Its number, by which methods and claims refer to it.
    room : str
        The room of the house it belongs to; ``-`` for reviews and positions.
    name : str
        What the field calls it.
    title : str
        The paper's title.
    authors, year, link : str
        Family names, the year it came out and where it is read; empty where not looked up.

    Examples
    --------
    >>> System(12, "features", "SNMF", "A title").name
    'SNMF'
    """

    number: int
    room: str
    name: str
    title: str
    authors: str = ""
    year: str = ""
    link: str = ""


@dataclass(frozen=True)
class Method:
    """A public function or class that implements a system.

    Parameters
    ----------
    name : str
        Its public address, such as ``nissl.selectivity.relation``.
    system : int
        The number of the paper it comes from.
    room : str
        The room it lives in.
    summary : str
        The first line of its docstring.
    file : str
        The file below ``src/nissl`` that defines it.
    line : int
        The line of its definition.

    Examples
    --------
    >>> Method("nissl.features.snmf", 34, "features", "Factor.", "features/snmf.py", 9).system
    34
    """

    name: str
    system: int
    room: str
    summary: str
    file: str
    line: int


@dataclass(frozen=True)
class Reference:
    """How to refer to a system's paper.

    Parameters
    ----------
    system : System
        The paper.
    plain : str
        One line of text.
    bibtex : str
        An entry for a bibliography; of most papers the table holds the title alone.

    Examples
    --------
    >>> print(cite(103))
    Shemiranifar (2025). Void in Language Models. https://arxiv.org/abs/2505.14467 (system 103)
    """

    system: System
    plain: str
    bibtex: str

    def __str__(self) -> str:
        return self.plain


def method(*, system: int) -> Callable[[T], T]:
    """Mark a public function or class as one of the systems of the literature.

    Parameters
    ----------
    system : int
        The system's number in the list of papers (``nissl methods``), written as a number, since
        the list is made by reading the source.

    Returns
    -------
    callable
        A decorator that returns what it is given, with ``__nissl_system__`` set.

    Examples
    --------
    >>> @method(system=153)
    ... def claim_something(): ...
    >>> claim_something.__nissl_system__
    153
    """

    def mark(thing: T) -> T:
        thing.__nissl_system__ = system  # type: ignore[attr-defined]
        return thing

    return mark


@cache
def systems() -> tuple[System, ...]:
    """Return every system of the list, by number.

    Returns
    -------
    tuple of System
        The papers, those without anything to run among them.

    Examples
    --------
    >>> len(systems())
    351
    """
    lines = (PACKAGE / "papers.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return tuple(System(int(number), *fields) for number, *fields in rows)


def system(number: int) -> System:
    """Return one system by its number.

    Parameters
    ----------
    number : int
        Its number.

    Returns
    -------
    System
        The paper.

    Raises
    ------
    UnknownName
        No system has this number.

    Examples
    --------
    >>> system(34).name
    'SNMF'
    """
    for known in systems():
        if known.number == number:
            return known
    last = systems()[-1].number
    raise UnknownName("system", str(number), [], do=f"systems are numbered 0 to {last}")


def methods(*, source: Path | None = None) -> list[Method]:
    """List every public function and class that carries the marker.

    Parameters
    ----------
    source : Path, optional
        The package's folder; the installed one by default.

    Returns
    -------
    list of Method
        By room and name. Found by parsing the source: nothing is imported.

    Raises
    ------
    NisslError
        A marker's number is not written as a number, or is of no system.

    Examples
    --------
    >>> all(m.name.startswith("nissl.") for m in methods())
    True
    """
    source = source or PACKAGE
    found: list[Method] = []
    for path in sorted(source.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "@method(" in text:
            found += _marked(ast.parse(text), path.relative_to(source))
    return sorted(found, key=lambda m: (m.room, m.name))


def cite(name: str | int) -> Reference:
    """Give the reference of a method or a system.

    Parameters
    ----------
    name : str or int
        A system's number or name, or a method's address or its last part.

    Returns
    -------
    Reference
        As plain text and as BibTeX.

    Raises
    ------
    UnknownName
        Nothing is called that; the nearest names are given.

    Examples
    --------
    >>> print(cite("lottery ticket").bibtex)
    @misc{nissl298,
      author = {Frankle and Carbin},
      title = {{The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks}},
      year = {2018},
      url = {https://arxiv.org/abs/1803.03635},
    }
    """
    found = _system_called(str(name).strip())
    plain, fields = found.title, {"title": f"{{{_escaped(found.title)}}}"}
    if found.authors:
        plain = f"{found.authors} ({found.year}). {found.title}. {found.link}"
        names = found.authors.replace(" et al.", ", others").replace(", ", " and ")
        fields = {"author": _escaped(names), **fields, "year": found.year, "url": found.link}
    lines = "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items())
    return Reference(
        system=found,
        plain=f"{plain} (system {found.number})",
        bibtex=f"@misc{{nissl{found.number},\n{lines}}}",
    )


def _escaped(text: str) -> str:
    """Return a text as BibTeX wants it."""
    return re.sub(r"([&%$#_])", r"\\\1", text).replace("^", r"\^{}")


def _system_called(name: str) -> System:
    if name.isdigit():
        return system(int(name))
    by_name = {known.name.casefold(): known for known in systems()}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    known_methods = methods()
    for candidate in known_methods:
        if name in (candidate.name, candidate.name.rsplit(".", 1)[-1]):
            return system(candidate.system)
    names = [known.name for known in systems()] + [m.name.rsplit(".", 1)[-1] for m in known_methods]
    raise UnknownName("method or system", name, names, do="nissl methods --all")


def _marked(tree: ast.Module, file: Path) -> Iterator[Method]:
    room = file.parts[0].removesuffix(".py")
    prefix = "nissl" if len(file.parts) == 1 else f"nissl.{room}"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "method":
                yield Method(
                    name=f"{prefix}.{node.name}",
                    system=_number(decorator, file),
                    room=room,
                    summary=(ast.get_docstring(node) or "").split("\n", 1)[0],
                    file=file.as_posix(),
                    line=node.lineno,
                )


def _number(call: ast.Call, file: Path) -> int:
    values = [k.value for k in call.keywords if k.arg == "system"]
    if len(values) == 1 and isinstance(values[0], ast.Constant) and type(values[0].value) is int:
        return system(values[0].value).number
    raise NisslError(
        "a method's system is not written as a number",
        where=f"{file}:{call.lineno}",
        do="write it as @method(system=24)",
    )
