"""Commands on the papers: methods, cite, claims."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nissl.cli.options import Json
from nissl.cli.printing import emit

__all__ = ["commands"]

commands = typer.Typer()
PANEL = "The literature"


@commands.command("methods", rich_help_panel=PANEL)
def _methods(
    room: Annotated[str | None, typer.Argument(help="One room's only.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every paper of the list, with a method or not.")
    ] = False,
    json: Json = False,
) -> None:
    """List the methods of the literature that are here, or all papers of the list.

    For example:

        nissl methods
        nissl methods selectivity --all
    """
    from nissl.errors import require_known
    from nissl.methods import methods, system, systems

    found = methods()
    if room is not None:  # some papers' methods live in a floor below the rooms
        rooms = {s.room for s in systems()} | {m.room for m in found}
        require_known("room", room, sorted(rooms - {"-"}))
    rows: list[dict[str, Any]]
    if everything:
        names = {m.system: m.name for m in found}
        rows = [
            {"system": s.number, "room": s.room, "name": s.name, "method": names.get(s.number, "")}
            for s in systems()
        ]
    else:
        rows = [
            {"method": m.name, "room": m.room, "system": m.system, "name": system(m.system).name}
            for m in found
        ]
    rows = [row for row in rows if room in (None, row["room"])]
    if not (json or everything):
        # The address says the room; said twice, neither fits a terminal of 80 letters.
        rows = [{k: v for k, v in row.items() if k != "room"} for row in rows]
        rows = [{**row, "method": row["method"].removeprefix("nissl.")} for row in rows]
    if rows or json:
        emit(rows, json=json)
    else:
        print(f"no method of {room} is here yet; its papers: nissl methods {room} --all")


@commands.command("cite", rich_help_panel=PANEL)
def _cite(
    name: Annotated[str, typer.Argument(help="A method, or a system's name or number.")],
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print BibTeX.")] = False,
    json: Json = False,
) -> None:
    """Give the reference of a method.

    For example:

        nissl cite "lottery ticket"
        nissl cite 298 --bibtex
    """
    from nissl.methods import cite

    reference = cite(name)
    if json:
        emit({**vars(reference.system), **{"bibtex": reference.bibtex}}, json=json)
    else:
        print(reference.bibtex if bibtex else reference.plain)


@commands.command("claims", rich_help_panel=PANEL)
def _claims(
    run: Annotated[bool, typer.Option("--run", help="First run those missing or old.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --run, run every one.")] = False,
    room: Annotated[str | None, typer.Option("--room", "-r", help="One room's only.")] = None,
    json: Json = False,
) -> None:
    """Show which claims of the papers held here, failed, or stayed open.

    A claim is stale where the code that measured it has changed since.

    For example:

        nissl claims
        nissl claims --run --room circuits
    """
    from pathlib import Path

    from nissl.claims import claims_folder, read_claims, stale
    from nissl.claims_run import run_claims

    records = run_claims(room, everything=everything) if run else read_claims(room=room)
    if not (records or json):
        print(
            f"no claims in {claims_folder().absolute()}\nThey lie in the folder claims of Nissl's"
            " own repository: run this there, or name another folder in NISSL_CLAIMS."
        )
        return
    if not json:
        short = ("verdict", "room", "name", "says")
        old = [bool(stale(r, Path())) for r in records]
        records = [{key: r[key] for key in short} for r in records]
        for record, is_old in zip(records, old, strict=True):
            record["verdict"] += ", stale" * is_old
    emit(records, json=json)
