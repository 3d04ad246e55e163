"""The command line: one command for each thing a newcomer wants first.

Nothing heavy is imported here: each command imports what it needs when it runs, so that
``nissl --help`` answers at once. Exit codes: 0 done, 1 an error that says what to do, 2 wrong
usage, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from nissl.cli import brain, have, learn, literature, see
from nissl.cli.printing import escaped, fenced

__all__ = ["app", "main"]

app = typer.Typer(
    name="nissl",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here: `nissl atlas smollm2 --text reader --out out/smollm2`",
)

for part in (see, learn, have, literature):
    for command in part.commands.registered_commands:
        command.help = fenced(command.callback.__doc__ or "")
    app.add_typer(part.commands)
for command in brain.commands.registered_commands:
    command.help = fenced(command.callback.__doc__ or "")
app.add_typer(brain.commands, name="brain", rich_help_panel="See a network or a brain")


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
    plain = warnings.formatwarning
    try:
        # Warnings name what files hold, which may be more than words.
        warnings.formatwarning = lambda *told, **more: escaped(plain(*told, **more))
        # Wherever it stands, so that it can be added to the end of a line that failed.
        app(args=[a for a in given if a != "--debug"], prog_name="nissl")
    except NisslError as error:
        if "--debug" in given:
            raise
        _say(f"error: {error}", style="red")
        raise SystemExit(1) from None
    except SystemExit as stop:
        if stop.code == 130:
            _say("stopped; the same command goes on from what was saved", style="yellow")
        raise
    finally:
        warnings.formatwarning = plain


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


def _say(message: str, *, style: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(
        escaped(message), style=style, markup=False, highlight=False, soft_wrap=True
    )
