"""The command line: one command for each thing a newcomer wants first.

Nothing heavy is imported here: each command imports what it needs when it runs, so that
``nissl --help`` answers at once. Exit codes: 0 done, 1 an error that says what to do, 2 wrong
usage, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    name="nissl",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here: `nissl atlas smollm2 --text reader --out out/smollm2`",
)

SEE, HAVE, READ = "See a network or a brain", "What there is", "The literature"

Network = Annotated[
    str, typer.Argument(help="A specimen, a hub id, a folder, or a GGUF file.", show_default=False)
]
Text = Annotated[
    list[str] | None,
    typer.Option("--text", "-t", help="What it reads: a file, folder or specimen. Repeatable."),
]
Sites = Annotated[
    list[str] | None,
    typer.Option("--sites", "-s", help="Where to look, such as mlp.neurons. Repeatable."),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the best there is if not given.")
]
Dtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16, ...; the model's own if not given.")
]
Batch = Annotated[
    int | None, typer.Option(min=1, help="Texts in one pass. Fewer need less memory.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; turn what a user can mend into a message and an exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``nissl``; that of this process by default.

    Raises
    ------
    SystemExit
        Always: with 0, 1, 2 or 130.

    Examples
    --------
    >>> main(["cite", "298"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    from nissl.errors import NisslError

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Wherever it stands, so that it can be added to the end of a line that failed.
        app(args=[a for a in given if a != "--debug"], prog_name="nissl")
    except NisslError as error:
        if "--debug" in given:
            raise
        _say(f"error: {error}", style="red")
        raise SystemExit(1) from None
    except SystemExit as stop:
        if stop.code == 130:
            _say("stopped; what was done is kept, and the same command goes on", style="yellow")
        raise


@app.callback(invoke_without_command=True)
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show an error's traceback.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """See every neuron of a network, artificial or biological.

    What it responds to, what it causes, and what changes when you touch it.
    """
    if version:
        from nissl._version import __version__

        print(__version__)
        raise typer.Exit


@app.command("atlas", rich_help_panel=SEE)
def _atlas(
    network: Annotated[
        str,
        typer.Argument(
            help="A network or a recording: a specimen, a hub id, a folder or a file.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tables and the page.")],
    text: Text = None,
    sites: Sites = None,
    batch_size: Batch = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Look at every unit of a network or a recording, and make a page of it.

    Reads the text once, and writes for every neuron what it responds to, what it writes and which
    neurons are like it: tables, arrays, and a page to open in a browser. Stopped with Ctrl-C, the
    same command goes on where it was.

    For example:

        nissl atlas smollm2 --text reader --out out/smollm2
        nissl atlas ./my-model --text book.txt --text src/ --out out/mine
        nissl atlas head-direction --out out/mouse
    """
    from nissl.atlas import atlas

    options = _given(sites=sites, batch_size=batch_size, device=device, dtype=dtype)
    made = atlas(network, text=text, out=out, seed=seed, progress=not quiet, **options)
    if json:
        _emit({"page": str(made.page), **made.about}, json)
        return
    _emit(made.summary(), json)
    print(f"the page:   {made.page}\nthe tables: {made.path}")


@app.command("record", rich_help_panel=SEE)
def _record(
    network: Network,
    store: Annotated[Path, typer.Option("--store", "-o", help="The zarr folder to write.")],
    text: Annotated[
        list[str],
        typer.Option("--text", "-t", help="What it reads: a file, folder or specimen. Repeatable."),
    ],
    sites: Sites = None,
    window: Annotated[int | None, typer.Option(min=1, help="Tokens in one window.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Tokens from window to window.")] = None,
    batch_size: Batch = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Record the activity of a network's units while it reads.

    The store opens with `nissl.read(PATH)` and with plain `xarray.open_zarr(PATH)`. Stopped with
    Ctrl-C or killed, the same command goes on where it was, and gives the same bytes.

    For example:

        nissl record smollm2 --text book.txt --sites mlp.neurons --store acts.zarr
        nissl record smollm2 --text reader -s resid_post -s blocks.3.attn.out --store acts.zarr
    """
    from nissl.network import load, record

    options = _given(window=window, stride=stride, batch_size=batch_size)
    # First what is quick to read, so that a wrong path is known before a model is loaded.
    texts = _texts(text)
    net = load(network, progress=not quiet, **_given(device=device, dtype=dtype))
    record(
        net,
        texts,
        sites=sites or ["mlp.neurons"],
        store=store,
        progress=not quiet,
        **options,
    )
    _emit([{"store": str(store)}], json)


@app.command("info", rich_help_panel=SEE)
def _info(
    path: Annotated[str, typer.Argument(help="A store, a recording in any format, or a specimen.")],
    json: Json = False,
) -> None:
    """Describe a recording: its samples, its units and where it came from.

    Reads NWB, NIfTI, EDF, FIF, BrainVision, CSV, parquet, npz and Nissl's own stores.

    For example:

        nissl info acts.zarr
        nissl info mouse.nwb --json
        nissl info worm
    """
    from nissl.recording import info
    from nissl.specimens import read

    _emit(info(path if Path(path).exists() else read(path)), json)


@app.command("sites", rich_help_panel=SEE)
def _sites(
    network: Network,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    json: Json = False,
) -> None:
    """List the sites of a network: where it can be recorded and edited.

    For example:

        nissl sites smollm2
        nissl sites resnet50 --json
    """
    from nissl.network import load
    from nissl.printing import markdown as as_markdown
    from nissl.printing import rows_of

    table = load(network).sites()
    _emit(as_markdown(rows_of(table)) if markdown else table, json and not markdown)


@app.command("specimens", rich_help_panel=HAVE)
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
    _emit(table if json else table.drop(columns="source"), json)


@app.command("fetch", rich_help_panel=HAVE)
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

    _emit([{"name": n, "path": str(fetch(n, progress=not quiet))} for n in names], json)


@app.command("methods", rich_help_panel=READ)
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
    from nissl.methods import methods, system, systems

    found = methods()
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
    _emit([row for row in rows if room in (None, row["room"])], json)


@app.command("cite", rich_help_panel=READ)
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
        _emit({**vars(reference.system), **{"bibtex": reference.bibtex}}, json)
    else:
        print(reference.bibtex if bibtex else reference.plain)


@app.command("claims", rich_help_panel=READ)
def _claims(
    run: Annotated[bool, typer.Option("--run", help="First run those missing or old.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --run, run every one.")] = False,
    room: Annotated[str | None, typer.Option("--room", "-r", help="One room's only.")] = None,
    json: Json = False,
) -> None:
    """Show which claims of the papers held here, failed, or stayed open.

    For example:

        nissl claims
        nissl claims --run --room circuits
    """
    from nissl.claims import read_claims
    from nissl.claims_run import run_claims

    records = run_claims(room, everything=everything) if run else read_claims(room=room)
    short = ("verdict", "room", "system", "name", "says")
    _emit(records if json else [{key: r[key] for key in short} for r in records], json)


def _texts(names: Sequence[str]) -> Any:
    """Read files, folders and specimens into one table with a column of texts."""
    import pandas as pd

    from nissl.errors import NisslError
    from nissl.specimens import load, read_texts

    tables = [read_texts(n) if Path(n).exists() else load(n) for n in names]
    for name, table in zip(names, tables, strict=True):
        if "text" not in getattr(table, "columns", ()):
            raise NisslError(
                "this specimen is not a text", where=name, do="see `nissl specimens --kind text`"
            )
    return pd.concat(tables, ignore_index=True)


def _given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given, so that each function's own defaults stand."""
    return {name: value for name, value in options.items() if value is not None}


def _say(message: str, *, style: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def _emit(thing: Any, json: bool) -> None:
    from nissl.printing import emit

    emit(thing, json=json)


if __name__ == "__main__":
    main()
