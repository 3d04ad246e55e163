"""Commands that look: atlas, view, record, info, sites, check."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nissl.cli.options import (
    Batch,
    Device,
    Dtype,
    Json,
    Network,
    Quiet,
    Sites,
    Text,
    given,
    takes_reader_options,
)
from nissl.cli.printing import emit, markdown, rows_of

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["commands"]

commands = typer.Typer()
PANEL = "See a network or a brain"


@commands.command("atlas", rich_help_panel=PANEL)
@takes_reader_options
def _atlas(
    reader: dict[str, Any],
    network: Annotated[
        str,
        typer.Argument(
            help="A network or a recording: a specimen, a hub id, a folder or a file.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tables and the page.")],
    text: Text = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="How much of the text to read; all by default.")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images", "-i", help="What it sees: a folder, whose subfolders are labels, or a name."
        ),
    ] = None,
    n_images: Annotated[
        int | None, typer.Option(min=1, help="How many images, spread over all; all by default.")
    ] = None,
    sites: Sites = None,
    dictionary: Annotated[
        list[Path] | None,
        typer.Option("--dictionary", help="A file of features, which are then the units."),
    ] = None,
    batch_size: Batch = None,
    device: Device = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16, ...; if not given, what this processor multiplies faster."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Look at every unit of a network or a recording, and make a page of it.

    Reads the text or the images once, and writes for every neuron what it responds to, what it
    writes and which neurons are like it: tables, arrays, and a page to open in a browser. Stopped
    with Ctrl-C, the same command goes on where it was.

    For example:

        nissl atlas smollm2 --text reader --out out/smollm2
        nissl atlas ./my-model --text book.txt --text src/ --out out/mine
        nissl atlas smollm2 --text reader --dictionary sae.safetensors --out out/sae
        nissl atlas resnet50 --images photos/ --out out/resnet
        nissl atlas resnet50 -i cifar10 --n-images 500 -o out/cifar
        nissl atlas head-direction --out out/mouse
        nissl atlas cells.csv --samples trial,time --out out/cells
    """
    from nissl.atlas import make_atlas
    from nissl.statistics import Test

    options = given(n_tokens=tokens, sites=sites, batch_size=batch_size, device=device, dtype=dtype)
    inputs, options["test"] = None, Test(seed=seed)
    if text:
        inputs, options["name"] = _texts(text), ", ".join(text)
    if images:
        there = Path(images).expanduser()
        inputs = there if there.exists() else _specimen(images)
        options |= given(name=images, n_images=n_images)
    source: Any = network
    if reader:
        source = _recording(network, reader).assign_attrs(name=network)
    if dictionary:
        source, options = _with_features(network, dictionary, options, quiet=quiet)
    made = make_atlas(source, inputs, out=out, progress=not quiet, **options)
    if json:
        emit({"page": str(made.page), **made.about}, json=json)
        return
    emit(made.summary(), json=json)
    print(f"the page:   {made.page}\nthe tables: {made.path}\nto explore: nissl view {made.path}")


@commands.command("view", rich_help_panel=PANEL)
def _view(
    atlas: Annotated[Path, typer.Argument(help="The folder that `nissl atlas` wrote.")],
    model: Annotated[
        str | None,
        typer.Option(help="The network that is asked live, if it is not where it was."),
    ] = None,
    dictionary: Annotated[
        list[Path] | None,
        typer.Option("--dictionary", help="A file of features, which fire live. Repeatable."),
    ] = None,
    circuit: Annotated[
        Path | None, typer.Option(help="The file of a circuit to open first.")
    ] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Another atlas, whose units are compared with its own.")
    ] = None,
    matches: Annotated[
        str | None,
        typer.Option(
            help="Which units are pairs: a file of nissl.alignment.match, or of two columns; "
            "addresses; places."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Of this machine; a free one by default.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser there.")] = True,
    json: Json = False,
) -> None:
    """Explore an atlas in the browser: sort, filter and open its units, try texts, touch units.

    The page is served on this machine alone, to whoever has the address that is printed.

    For example:

        nissl view out/smollm2
        nissl view out/mouse --port 8080 --no-browser
        nissl view out/mine --model ./my-model
        nissl view out/smollm2 --dictionary sae.safetensors
        nissl view out/smollm2 --circuit ioi.json
        nissl view out/before --beside out/after
    """
    import os
    import secrets
    from json import dumps

    # Memory that pyarrow has read into is given back.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from nissl.atlas import open_atlas
    from nissl.web import serve, server

    def tell(address: str) -> None:  # in one line: whoever reads it does not wait for an end
        print(dumps({"address": address}), flush=True)

    token = secrets.token_urlsafe(24)
    app = server(
        open_atlas(atlas),
        token=token,
        model=model,
        dictionaries=dictionary or (),
        circuit=circuit,
        beside=None if beside is None else open_atlas(beside),
        matches=matches,
    )
    say = tell if json else None
    serve(app, token=token, circuit=circuit, port=port, browser=browser, tell=say)


@commands.command("record", rich_help_panel=PANEL)
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
    tokens: Annotated[
        int | None, typer.Option(min=1, help="How much of the text to read; all by default.")
    ] = None,
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
        nissl record smollm2 -t reader -s resid_post -s blocks.3.attn.z -o a.zarr
    """
    from nissl import record
    from nissl.network import load, plan_of
    from nissl.recording import info

    options = given(window=window, stride=stride, batch_size=batch_size, n_tokens=tokens)
    # First what is quick to read, so that a wrong path is known before a model is loaded.
    texts = _texts(text)
    net = load(network, progress=not quiet, **given(device=device, dtype=dtype))
    plan = plan_of(net, texts, **options)
    if tokens and plan.n_samples < tokens:
        print(f"the text has {plan.n_samples:,} tokens: all are read", file=sys.stderr)
    record(net, plan, sites=sites or ["mlp.neurons"], store=store, progress=not quiet)
    emit(info(store), json=json)


@commands.command("info", rich_help_panel=PANEL)
@takes_reader_options
def _info(
    reader: dict[str, Any],
    path: Annotated[str, typer.Argument(help="A store, a recording in any format, or a specimen.")],
    json: Json = False,
) -> None:
    """Describe a recording: its samples, its units and where it came from.

    Reads NWB, NIfTI, EDF, FIF, BrainVision, EEGLAB, CSV, parquet, npz, MATLAB and
    Nissl's own stores.

    For example:

        nissl info acts.zarr
        nissl info mouse.nwb --series units --bin 0.05 --json
        nissl info worm
    """
    from nissl.recording import info

    there = Path(path).expanduser().exists() and not reader
    emit(info(path if there else _recording(path, reader)), json=json)


@commands.command("sites", rich_help_panel=PANEL)
def _sites(
    network: Network,
    everything: Annotated[
        bool, typer.Option("--all", help="A line for each site, and for every module.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table.")
    ] = False,
    json: Json = False,
) -> None:
    """List the sites of a network: where it can be recorded and edited.

    A line stands for the same site of several blocks. `--sites` of `nissl record` takes the names
    as they are written here, `blocks.*.mlp.neurons`, or of one block, `blocks.3.mlp.neurons`. Any
    module is a site too, by its path, with a number for each star.

    For example:

        nissl sites smollm2
        nissl sites resnet50 --all --json
    """
    from nissl.network import load

    net = load(network)
    table = net.sites()
    rows = rows_of(table) if everything else _folded(net)
    if as_markdown:
        emit(markdown(rows))
        return
    emit(rows, json=json)
    if not (everything or json):
        n_modules = len(table) - len(net.named_sites)
        print(
            f"{len(net.named_sites):,} named sites and {n_modules:,} modules: --all lists them all"
        )


@commands.command("check", rich_help_panel=PANEL)
def _check(
    network: Network,
    text: Text = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Prove on a network what Nissl promises of every network.

    Recorded values are those of plain hooks, a batch says what its items say alone, edits act where
    they are told and leave nothing behind, a cache says what the whole text says, and more. Ends
    with 1 where something does not hold; what is refused is said and is no failure.

    For example:

        nissl check smollm2
        nissl check ./my-model --text book.txt --json
    """
    from nissl.network import conformance, load

    texts = _texts(text)["text"].tolist() if text else None
    net = load(network, progress=not quiet, **given(device=device, dtype=dtype))
    table = conformance(net, texts, progress=not quiet)
    emit(table.fillna({"worst": ""}) if not json else table, json=json)
    if (table["result"] == "fails").any():
        raise typer.Exit(1)


def _with_features(
    network: str, files: list[Path], options: dict[str, Any], *, quiet: bool
) -> tuple[Any, dict[str, Any]]:
    """Load a network and put dictionaries on it, whose features are the sites if none are said."""
    from nissl.features import load as load_features
    from nissl.network import load

    made = [load_features(file) for file in files]
    options = dict(options)
    how = {name: options.pop(name) for name in ("device", "dtype") if name in options}
    net = load(network, progress=not quiet, **how)
    known = set(net.named_sites)
    for one in made:
        net = net.with_dictionary(one)
    options.setdefault("sites", sorted(set(net.named_sites) - known))
    return net, options


def _folded(net: BaseNetwork) -> list[dict[str, Any]]:
    """One row for all sites whose names differ in the numbers of their blocks alone.

    Of a network without named sites, its modules.
    """
    table = net.sites(list(net.named_sites) or None)
    modules = dict(net.model.named_modules(remove_duplicate=False))
    found: dict[tuple[Any, ...], list[tuple[list[str], dict[str, Any]]]] = {}
    for row in rows_of(table.astype(object).where(table.notna(), None)):
        module = modules.get(row["module"])
        # A number at the end counts blocks only where the module has parts: what lies in
        # nn.Sequential(nn.Linear(2, 2), nn.ReLU()) are two things.
        ends = r"(?=[.\]]|$)" if module and any(module.children()) else r"(?=[.\]])"
        number = re.compile(r"(?<=[.\[])\d+" + ends)
        names = [number.sub("*", row[column]) for column in ("site", "module")]
        key = (*names, row["width"], row["heads"], type(module))
        found.setdefault(key, []).append((number.findall(row["site"]), row))
    rows = []
    for (site, module, width, heads, _), same in found.items():
        row = {"site": site, "blocks": "", "width": width, "heads": heads, "module": module}
        if len(same) > 1:
            row["blocks"] = _span([numbers for numbers, _ in same])
        else:
            row |= {name: same[0][1][name] for name in ("site", "module")}
        rows.append(row)
    if not net.named_sites:  # the name is the module's, and its width shows in a run
        rows = [{"site": row["site"], "blocks": row["blocks"]} for row in rows]
    return rows


def _span(places: list[list[str]]) -> str:
    """Say which blocks: their numbers, or how many where a name has several numbers."""
    if len(places[0]) != 1:
        return f"{len(places)} of them"
    numbers = [int(number) for (number,) in places]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))


def _recording(name: str, options: Mapping[str, Any]) -> Any:
    """Read a recording of a file or a specimen, with a reader's options."""
    from nissl.errors import NisslError
    from nissl.recording import Recording
    from nissl.specimens import read

    found = read(name, **options)
    if not isinstance(found, Recording | dict):
        raise NisslError(
            "this is no recording",
            where=name,
            do="`nissl specimens --kind recording` lists some; `nissl sites` describes a network",
        )
    return found


def _specimen(name: str) -> Any:
    """Open a specimen that a network can read, such as texts or images."""
    from nissl.errors import NisslError
    from nissl.recording import Recording
    from nissl.specimens import read

    found = read(name)
    if isinstance(found, Path | Recording):
        raise NisslError(
            "this is neither text nor images",
            where=name,
            do="give a file or a folder; `nissl specimens` lists texts and images",
        )
    return found


def _texts(names: Sequence[str]) -> Any:
    """Read files, folders and specimens: several, into one table with a column of texts."""
    import pandas as pd

    from nissl.errors import NisslError
    from nissl.specimens import read_texts

    tables = [read_texts(n) if Path(n).expanduser().exists() else _specimen(n) for n in names]
    if len(tables) == 1:
        return tables[0]
    for name, table in zip(names, tables, strict=True):
        if "text" not in getattr(table, "columns", ()):
            raise NisslError(
                "only texts can be read one after another", where=name, do="give it alone"
            )
    return pd.concat(tables, ignore_index=True)
