"""Print results of the command line: a table for people, JSON for machines, Markdown for docs."""

from __future__ import annotations

import inspect
import json as _json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["emit", "escaped", "fenced", "markdown", "rows_of"]

SHORT = 24  # letters of a cell that is never broken


def rows_of(thing: Any) -> list[dict[str, Any]]:
    """Return a table's rows as dictionaries.

    Parameters
    ----------
    thing : DataFrame or sequence of mappings
        A table.

    Returns
    -------
    list of dict
        One dictionary a row, with the same keys in each.

    Examples
    --------
    >>> import pandas as pd
    >>> rows_of(pd.DataFrame({"samples": [3]}))
    [{'samples': 3}]
    """
    if hasattr(thing, "to_dict"):
        return [{str(k): v for k, v in row.items()} for row in thing.to_dict(orient="records")]
    return [dict(row) for row in thing]


def emit(thing: Any, *, json: bool = False) -> None:
    """Print a table, a mapping or a text to standard output.

    Parameters
    ----------
    thing : DataFrame, sequence of mappings, mapping, or object
        What to print; anything else is printed as text.
    json : bool
        As JSON, for machines.

    Examples
    --------
    >>> emit({"samples": 3}, json=True)
    {
     "samples": 3
    }
    """
    if json:
        table = rows_of(thing) if hasattr(thing, "to_dict") else thing
        text = _json.dumps(table, indent=1, ensure_ascii=False, default=_plain)
        # What cannot be printed is escaped as JSON does, so that it stays JSON.
        shown = (c if c.isprintable() or c == "\n" else _json.dumps(c)[1:-1] for c in text)
        print(text if text.isprintable() else "".join(shown))
        return
    if thing is None:
        return
    if isinstance(thing, Mapping):
        _print_mapping(thing)
    elif hasattr(thing, "to_dict") or (isinstance(thing, Sequence) and not isinstance(thing, str)):
        _print_table(rows_of(thing))
    else:
        print(escaped(str(thing)))


def escaped(text: str) -> str:
    r"""Return a text in which nothing moves the cursor or colours the terminal.

    Parameters
    ----------
    text : str
        Names of units and labels come from files of others.

    Returns
    -------
    str
        Control characters are written as Python writes them; line breaks stay.

    Examples
    --------
    >>> escaped("V1\x1b[2J")
    'V1\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def fenced(doc: str) -> str:
    r"""Return a docstring whose indented lines are fenced, as Markdown.

    Parameters
    ----------
    doc : str
        A docstring.

    Returns
    -------
    str
        The same without its indentation. Typer takes that of the last paragraph away, and Markdown
        then runs its lines together.

    Examples
    --------
    >>> print(fenced("Look.\n\n    Such as:\n\n        nissl a\n        nissl b\n    "))
    Look.
    <BLANKLINE>
    Such as:
    <BLANKLINE>
    ```
    nissl a
    nissl b
    ```
    """
    text = inspect.cleandoc(doc)
    return re.sub(r"(?:^ {4}.*(?:\n|\Z))+", _fence, text, flags=re.M).rstrip()


def _fence(lines: re.Match[str]) -> str:
    return f"```\n{inspect.cleandoc(lines[0])}\n```\n"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a Markdown table.

    Parameters
    ----------
    rows : sequence of mapping
        The rows, with the same keys in each.

    Returns
    -------
    str
        The table, without a line break at the end.

    Examples
    --------
    >>> print(markdown([{"site": "embed", "width": 576}]))
    | site | width |
    |---|---|
    | embed | 576 |
    """
    if not rows:
        return ""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = (escaped(str(row[name])).replace("|", "\\|") for name in names)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _print_mapping(entries: Mapping[str, Any], indent: int = 0) -> None:
    """Print a line for each entry; a mapping within comes below its name, further to the right."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from nissl.recording.info import Column

    console = Console()
    longest = max((len(escaped(str(name))) for name in entries), default=0)
    for name, value in entries.items():
        if isinstance(value, Mapping) and not isinstance(value, Column):
            if value:
                console.print(Padding(Text(escaped(str(name)), style="bold"), (0, 0, 0, indent)))
                _print_mapping(value, indent + 2)
            continue
        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(width=min(longest, console.width // 2), overflow="fold")
        table.add_column(overflow="fold")
        table.add_row(Text(escaped(str(name))), Text(_shown(value)))
        console.print(Padding(table, (0, 0, 0, indent)))


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not rows:
        console.print("nothing yet", style="dim")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    cells = [[_shown(value) for value in row.values()] for row in rows]
    for place, (name, value) in enumerate(rows[0].items()):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # What is short stays on one line; what is long gets the room that is left.
        longest = max(len(row[place]) for row in cells)
        # A number that is cut is another number: headings give way before figures do.
        table.add_column(
            name,
            justify="right" if number else "left",
            min_width=longest if number or longest <= SHORT else None,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    # Rich drops the columns that do not fit; a line that wraps in the terminal still says all.
    needed = console.measure(table, options=console.options.update(width=1000)).minimum
    console.print(table, width=max(needed, console.width), crop=False, no_wrap=True)
    if len(rows) > 20:
        console.print(f"{len(rows)} rows", style="dim")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else escaped(str(value))


def _plain(value: Any) -> Any:
    """Turn numpy's numbers and arrays into what JSON knows, and all else into text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
