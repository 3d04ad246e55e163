"""Options that several commands share, and how they are handed on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["Batch", "Device", "Dtype", "Json", "Network", "Quiet", "Sites", "Text", "given"]

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
