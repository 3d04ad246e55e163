"""Run all benchmarks, or those named: ``python -m bench reads permutation``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row, one_thread

# Peers have environments of their own: `make bench-peers`, `make bench-compared`.
HELPERS = {"__main__", "circuits_inside", "measure", "peers", "peers_inside", "spikes_inside"}
HELPERS |= {"compared"}


def main() -> int:
    """Print a table for each benchmark; return 1 where a target is missed."""
    known = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]))
    known = [name for name in known if name not in HELPERS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="name", help=f"any of: {', '.join(known)}")
    names = parser.parse_args().name or known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are: {', '.join(known)}")
    one_thread()
    missed = 0
    for name in names:
        module = importlib.import_module(f"bench.{name}")
        rows: list[Row] = module.run()
        show((module.__doc__ or name).splitlines()[0], rows)
        missed += sum(not reached(row) for row in rows)
    return 1 if missed else 0


def show(title: str, rows: list[Row]) -> None:
    """Print the rows as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("work", overflow="fold")
    for heading in ("measured", "target", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(*cells(row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def cells(row: Row) -> Iterator[str]:
    """Yield what stands in each column."""
    yield row["name"] + (f"\n[dim]{row['note']}[/dim]" if "note" in row else "")
    yield f"{row['ratio']:.3g} {row['unit']}"
    for key in ("target", "limit"):
        value = row["target"] if key == "target" else row["limit"]
        yield "" if value is None else f"{value:g}"
    if row["target"] is not None:
        yield "[green]reached[/green]" if reached(row) else "[red]missed[/red]"
    else:
        yield ""


def reached(row: Row) -> bool:
    """Tell whether a row holds its target; true where it has none."""
    if row["target"] is None:
        return True
    if row.get("more_is_better"):
        return row["ratio"] >= row["target"]
    return row["ratio"] <= row["target"]


if __name__ == "__main__":
    sys.exit(main())
