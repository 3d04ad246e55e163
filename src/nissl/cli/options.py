"""Options that several commands share, and how they are handed on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Batch",
    "Device",
    "Dtype",
    "Json",
    "Network",
    "Quiet",
    "Sites",
    "Text",
    "given",
    "takes_reader_options",
]

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
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, ...; float32 if not given.")]
Batch = Annotated[
    int | None, typer.Option(min=1, help="Texts in one pass. Fewer need less memory.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given, so that each function's own defaults stand.

    Parameters
    ----------
    **options
        Values by name; None where an option was not given.

    Returns
    -------
    dict
        Those that are not None.

    Examples
    --------
    >>> given(device=None, dtype="float32")
    {'dtype': 'float32'}
    """
    return {name: value for name, value in options.items() if value is not None}


#: Options of the readers, with their types and what is said of them.
READER: dict[str, tuple[type, str]] = {
    "samples": (
        str,
        "CSV, parquet, npz, MATLAB: columns that label the samples, such as trial,time.",
    ),
    "values": (str, "npz, MATLAB: the array that holds the values, such as units.times."),
    "sep": (str, "CSV: what stands between two cells."),
    "series": (str, "NWB: the series to read, or units."),
    "bin": (float, "Spikes: width of a bin, in seconds."),
    "intervals": (str, "NWB: a table of the file, or a CSV with start and stop, to read within."),
    "mask": (str, "NIfTI: an image of the voxels to read."),
    "atlas": (str, "NIfTI: an image of regions."),
    "events": (str, "NIfTI: a table of what was shown (BIDS, or a row a volume)."),
    "tr": (float, "NIfTI: seconds from one volume to the next."),
    "channels": (str, "EEG, MEG: names or types of channels, such as Fz,Cz."),
    "start": (float, "NWB, EEG, MEG: read from here, in seconds."),
    "stop": (float, "NWB, EEG, MEG: read up to here, in seconds."),
}


def takes_reader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the readers, handed on as its argument ``reader``.

    Parameters
    ----------
    command : callable
        With an argument ``reader``, a dict of the options that were given.

    Returns
    -------
    callable
        With an argument for each option.

    Examples
    --------
    >>> @takes_reader_options
    ... def show(path: str, reader: dict) -> None:
    ...     print(path, reader)
    >>> show("cells.csv", samples="trial,time", bin=None)
    cells.csv {'samples': ['trial', 'time']}
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "reader"]
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                kind | None,
                typer.Option(f"--{name}", help=says, rich_help_panel="Reading a recording"),
            ],
        )
        for name, (kind, says) in READER.items()
    ]

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        reader = {n: kwargs.pop(n) for n in READER if n in kwargs}
        reader = {n: _value(n, v) for n, v in reader.items() if v is not None}
        command(*args, **kwargs, reader=reader)

    wrapped.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *more]}
    return wrapped


def _value(name: str, value: Any) -> Any:
    if name in ("samples", "channels"):
        return [part.strip() for part in value.split(",") if part.strip()]
    if name == "intervals" and Path(value).expanduser().is_file():
        import pandas as pd

        from nissl.errors import NisslError

        try:
            return pd.read_csv(Path(value).expanduser(), sep=None, engine="python")
        except (ValueError, OSError) as error:
            raise NisslError(
                f"the intervals cannot be read: {error}",
                where=value,
                do="give a CSV with columns start and stop, in seconds",
            ) from error
    return value
