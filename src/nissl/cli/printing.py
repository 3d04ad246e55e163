"""Print results of the command line: a table for people, JSON for machines, Markdown for docs."""

from __future__ import annotations

import json as _json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["emit", "escaped", "markdown", "rows_of"]

SHORT = 24  # letters of a cell that is never broken


def rows_of(thing: Any) -> list[dict[str, Any]]:
    """Return a table's rows as dictionaries.

    Parameters
    ----------
    thing : DataFrame, sequence of mappings, or mapping
        A table; a mapping becomes rows of ``what`` and ``is``.

    Returns
    -------
    list of dict
        One dictionary a row, with the same keys in each.

    Examples
    --------
    >>> rows_of({"samples": 3})
    [{'what': 'samples', 'is': 3}]
    """
    if hasattr(thing, "to_dict"):
        return [{str(k): v for k, v in row.items()} for row in thing.to_dict(orient="records")]
    if isinstance(thing, Mapping):
        return [{"what": str(key), "is": value} for key, value in thing.items()]
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
    if not (hasattr(thing, "to_dict") or isinstance(thing, Mapping | Sequence)) or isinstance(
        thing, str
    ):
        print(escaped(str(thing)))
        return
    _print_table(rows_of(thing))


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
