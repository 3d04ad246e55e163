"""Commands about recordings of brains: brain decode, tuning, encode, connectivity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nissl.cli.options import Json, Quiet, given
from nissl.cli.printing import emit

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["commands"]

commands = typer.Typer(no_args_is_help=True, help="Recordings of brains: read, tune, predict.")

Recorded = Annotated[
    str, typer.Argument(help="A recording: a file, a store or a specimen.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="The folder that figure and table are written to.")]
Folds = Annotated[
    str, typer.Option(help="What is left out at a time: a coordinate such as run, or a number.")
]
Clean = Annotated[
    bool, typer.Option("--clean", help="Take trends and units' variance out of every run.")
]
Leave = Annotated[
    list[str] | None,
    typer.Option(help="Samples left out, such as category=rest. Repeatable."),
]
Draws = Annotated[int | None, typer.Option(min=2, help="Draws of the null.")]


@commands.command("decode")
def _decode(
    recording: Recorded,
    label: Annotated[str, typer.Option(help="The coordinate that is read from activity.")],
    out: Out,
    folds: Folds = "5",
    items: Annotated[str | None, typer.Option(help="Samples taken together: trial.")] = None,
    leave: Leave = None,
    clean: Clean = False,
    draws: Draws = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Read a label from activity of runs that were left out.

    For example:

        nissl brain decode haxby --label category --folds run --out out
    """
    from nissl.brain import decode

    rec = _read(recording, leave, clean)
    how: Any = {"folds": _folds(folds), "items": items, "test": _test(draws)}
    found = decode(rec, label, progress=not quiet, **how)
    _written(found, found.finding.table, out, "decode", json=json)


@commands.command("tuning")
def _tuning(
    recording: Recorded,
    to: Annotated[list[str], typer.Option(help="The coordinate; two make a map.")],
    out: Out,
    bins: Annotated[int | None, typer.Option(min=2, help="Bins along each coordinate.")] = None,
    leave: Leave = None,
    draws: Draws = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Draw the tuning of every cell, and say which cells are tuned.

    For example:

        nissl brain tuning head-direction --to head_direction --out out
    """
    from nissl.brain import tuning

    rec = _read(recording, leave, False)
    where: Any = to[0] if len(to) == 1 else tuple(to)
    how: Any = given(n_bins=bins)
    found = tuning(rec, where, test=_test(draws), progress=not quiet, **how)
    _written(found, found.finding.table, out, "tuning", json=json)


@commands.command("encode")
def _encode(
    features: Annotated[str, typer.Argument(help="Features of the stimuli, a recording too.")],
    recording: Recorded,
    out: Out,
    on: Annotated[str, typer.Option(help="The coordinate that names the stimulus.")] = "stimulus",
    folds: Folds = "5",
    delays: Annotated[list[int] | None, typer.Option(help="Lags in samples. Repeatable.")] = None,
    leave: Leave = None,
    clean: Clean = False,
    draws: Draws = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Predict responses from features of what was shown.

    For example:

        nissl brain encode features.zarr bold.nii.gz --folds run --out out
    """
    from nissl.brain import encode

    rec, x = _read(recording, leave, clean), _read(features, None, False)
    how: Any = {"folds": _folds(folds), "delays": tuple(delays or ()), "test": _test(draws)}
    found = encode(x, rec, on=on, progress=not quiet, **how)
    _written(found, found.table, out, "encode", json=json)


@commands.command("connectivity")
def _connectivity(
    recording: Recorded,
    out: Out,
    measure: Annotated[
        str, typer.Option(help="correlation, partial_correlation, ...")
    ] = "correlation",
    by: Annotated[str | None, typer.Option(help="A matrix for each: run, subject.")] = None,
    leave: Leave = None,
    clean: Clean = False,
    draws: Draws = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure which units go together, and say which edges are more than chance.

    For example:

        nissl brain connectivity hcp --by subject --out out
    """
    from nissl.brain import connectivity

    rec = _read(recording, leave, clean)
    test = _test(draws)
    found = connectivity(rec, measure=measure, by=by, test=test, progress=not quiet)
    _written(found, found.edges.table, out, "connectivity", json=json)


def _read(name: str, leave: list[str] | None, clean: bool) -> Recording:
    """Open a recording, some samples left out, and cleaned run by run."""
    import numpy as np

    from nissl.errors import NisslError, require_known
    from nissl.recording import Recording
    from nissl.recording import clean as cleaned
    from nissl.specimens import read

    rec = read(name)
    if not isinstance(rec, Recording):
        raise NisslError(f"{name} is no single recording", do="give the file of one")
    rec = cleaned(rec, detrend=True, standardise=True) if clean else rec
    for said in leave or ():
        column, _, value = said.partition("=")
        require_known("coordinate", column, [str(c) for c in rec.coords])
        there = rec[column].values.astype(str)
        require_known(column, value, [str(v) for v in np.unique(there)[:1000]])
        rec = rec[there != value]
    return rec


def _folds(said: str) -> int | str:
    return int(said) if said.isdecimal() else said


def _test(draws: int | None) -> Any:
    from nissl.statistics import Test

    return Test(n_permutations=draws)


def _written(found: Any, table: Any, out: Path, name: str, *, json: bool) -> None:
    """Write a figure and a table, and say where."""
    from nissl.statistics.figure import save_figure

    out.mkdir(parents=True, exist_ok=True)
    drawn = found.plot()
    figure = save_figure(getattr(drawn, "figure", drawn), out / f"{name}.png")
    path = out / f"{name}.csv"
    table.to_csv(path, index=False)
    emit([{"found": repr(found), "figure": str(figure), "table": str(path)}], json=json)
