"""Commands on what can be had by name: specimens, fetch."""

from __future__ import annotations

from typing import Annotated

import typer

from nissl.cli.options import Json, Quiet
from nissl.cli.printing import emit

__all__ = ["commands"]

commands = typer.Typer()
PANEL = "What there is"


@commands.command("specimens", rich_help_panel=PANEL)
def _specimens(
    kind: Annotated[str | None, typer.Option(help="language, vision, text, recording ...")] = None,
    json: Json = False,
) -> None:
    """List the real networks, recordings, texts and images that can be had by name.

    For example:

        nissl specimens
        nissl specimens --kind recording
    """
    from nissl.errors import UnknownName
    from nissl.specimens import specimens

    table = specimens()
    if kind is not None:
        if kind not in set(table["kind"]):
            raise UnknownName("kind of specimen", kind, set(table["kind"]), do="nissl specimens")
        table = table[table["kind"] == kind]
    if not json:  # a line of 80 letters holds no column of licences, nor of sources
        about = table["about"] + " (" + table["licence"] + ")"
        table = table.assign(about=about).drop(columns=["licence", "source"])
        table = table.rename(columns={"megabytes": "MB"})
    emit(table, json=json)


@commands.command("fetch", rich_help_panel=PANEL)
def _fetch(
    names: Annotated[list[str], typer.Argument(help="Specimens, as `nissl specimens` names them.")],
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Fetch specimens into the cache, and check what came.

    Stopped with Ctrl-C, the same command goes on. The cache is ~/.cache/nissl, or NISSL_CACHE.

    For example:

        nissl fetch smollm2 worm
    """
    from nissl.specimens import fetch

    emit([{"name": n, "path": str(fetch(n, progress=not quiet))} for n in names], json=json)
