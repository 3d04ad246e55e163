"""Commands that train: train-dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from nissl.cli.options import Json, Quiet, given
from nissl.cli.printing import emit

__all__ = ["commands"]

commands = typer.Typer()
PANEL = "Train"


@commands.command("train-dictionary", rich_help_panel=PANEL)
def _train_dictionary(
    store: Annotated[Path, typer.Argument(help="A store that `nissl record` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder that the dictionary is written to.")],
    features: Annotated[int, typer.Option(min=1, help="How many features.")],
    k: Annotated[
        int | None, typer.Option(min=1, help="How many are active in a sample: 32.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="topk, batch_topk, matryoshka, jump_relu, relu or gated.")
    ] = "topk",
    site: Annotated[str | None, typer.Option(help="Which site of a store of several.")] = None,
    to: Annotated[
        str | None, typer.Option(help="A site to write: then it is a transcoder.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="How many samples are seen.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Samples of an update.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first weights and the order.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Learn features of recorded activity, few of which are active at a time.

    Stopped with Ctrl-C, the same command goes on.

    For example:

        nissl train-dictionary acts.zarr --features 4608 --k 32 --out out/sae
    """
    from nissl.features import Schedule, sae, transcoder
    from nissl.recording import Recording, open_store

    schedule = Schedule(**given(samples=samples, batch_size=batch, device=device))
    options: Any = {"n_features": features, "k": k, "kind": kind, "seed": seed}
    options |= {"schedule": schedule, "progress": not quiet}
    if to is None:
        made = sae(store, site=site, **options)
    else:
        read, written = (cast(Recording, open_store(store, name)) for name in (site, to))
        made = transcoder(read, written, **options)
    out.mkdir(parents=True, exist_ok=True)
    path = made.save(out / "dictionary.safetensors")
    emit([{"path": str(path), "features": made.n_features, "kind": made.kind.name}], json=json)
