"""The atlas of a network: one pass over a text, and what each unit did in it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.accumulators import Accumulators, SiteAccumulators
from nissl.atlas.checkpoint import Checkpoint, deferred_interrupt
from nissl.atlas.corpus import Corpus, corpus_of
from nissl.atlas.documents import cut_documents
from nissl.atlas.image_peaks import ImagePeaks
from nissl.atlas.images import default_sites, labels_of
from nissl.atlas.network_tables import write_network_tables
from nissl.atlas.thumbnails import pictures_of
from nissl.atlas.unit_kinds import Rules
from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory
from nissl.statistics import Test

if TYPE_CHECKING:
    from nissl.network import Network, Plan, TextPlan
    from nissl.network.record.site_samples import Grid
    from nissl.recording import Chunk

__all__ = ["make_folder", "network_atlas"]

Array = NDArray[Any]
#: Memory for the sums of preferences, by which the number of tokens and pairs is chosen.
LABEL_BYTES = 700e6
TOKENS_OF_LABELS = 0.7  # the rest are pairs
TOP = 20  # extremes kept at each end
N_SAMPLED = 2048  # samples on which the neighbours rest


def network_atlas(
    net: Network,
    inputs: Any,
    out: str | Path,
    *,
    sites: str | list[str] | None = None,
    name: str = "",
    rules: Rules | None = None,
    test: Test = Test(),
    progress: bool = True,
) -> dict[str, Any]:
    """Read once, and write what each unit of a network is.

    Stopped with Ctrl-C, the same call goes on where it was.

    Parameters
    ----------
    net : Network
        The network; edits that are active are seen.
    inputs : texts, token ids, images, tensor, DataFrame, or a plan
        What it reads. A DataFrame has its texts in ``text``; a column ``language`` labels them.
        `nissl.network.plan_of` makes a plan with other windows or batches.
    out : path
        The folder; `nissl.atlas.tables` says what will be in it.
    sites : str or list of str, optional
        Names, globs or module paths; by default as `nissl.atlas.images.default_sites`.
    name : str
        What the text is called.
    rules : Rules, optional
        The thresholds of the kinds.
    test : Test
        Of the language of documents: draws (1,000), seed, which is that of the sample too.
    progress : bool
        Show bars.

    Returns
    -------
    dict
        What ``atlas.json`` holds.

    Raises
    ------
    NisslError
        As for `nissl.network.record`; or an atlas of something else was begun in the folder; or it
        cannot be written.
    """
    from nissl.network import plan_of

    began = time.perf_counter()
    make_folder(Path(out))
    rules, test = rules or Rules(), test.own()
    test.require(null=(None,), tail=("permutation",), correction=("max",))
    inputs, n_cut = cut_documents(inputs)
    plan = plan_of(net, inputs)
    sites = default_sites(net) if sites is None else sites
    about = _settings(net, plan, sites, seed=test.seed) | ({"texts_cut": n_cut} if n_cut else {})
    checkpoint = Checkpoint(Path(out) / "atlas.state", about)
    accumulators, first = _begin(net, plan, checkpoint, sites, seed=test.seed)
    _read(net, plan, accumulators, checkpoint, sites, first=first, progress=progress)
    about["text"] = name
    _name_files(net, about.get("dictionaries", []), Path(out))
    about["seconds_reading"] = round(time.perf_counter() - began, 1)
    try:
        made = write_network_tables(
            net,
            plan,
            accumulators,
            Path(out),
            about,
            rules=rules,
            test=test,
            began=began,
            progress=progress,
        )
    except BaseException:  # Ctrl-C or a full disk: what was read is not read again
        with suppress(NisslError):
            checkpoint.save(len(plan.batches), accumulators.state)
        raise
    checkpoint.clear()
    return made


def _settings(net: Network, plan: Plan, sites: str | list[str], *, seed: int) -> dict[str, Any]:
    """Return what tells this atlas from others, so that a state of another is refused."""
    from nissl.network.record.recorder import provenance
    from nissl.network.sites.dictionary import dictionary_hash
    from nissl.network.sites.weights import dictionary_of

    found = net.find(sites)
    about: dict[str, Any] = {
        **provenance(net, plan),
        "seed": seed,
        "sites": [site.name for site in found],
        "top": TOP,
        "n_sampled": N_SAMPLED,
        "batches": len(plan.batches),
    }
    made = {site.name: dictionary_of(net, site.name) for site in found}
    hashed = [{"site": s, "hash": dictionary_hash(d)} for s, d in made.items() if d is not None]
    about |= {"dictionaries": hashed} if hashed else {}
    return about | {"text_hash": about.pop("text", "")}


def _name_files(net: Network, dictionaries: list[dict[str, str]], out: Path) -> None:
    """Note where each dictionary was read from, seen from the folder of the atlas."""
    from nissl.network.sites.weights import dictionary_of

    for about in dictionaries:
        file = getattr(dictionary_of(net, about["site"]), "file", "")
        with suppress(ValueError):  # on another drive
            about["file"] = os.path.relpath(file, out) if file else ""


def make_folder(out: Path) -> None:
    """Make the folder before anything is read, so that a wrong one costs nothing.

    Parameters
    ----------
    out : Path
        The folder.

    Raises
    ------
    NisslError
        It cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        writable = os.access(out, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise NisslError(
            "the atlas cannot be written here",
            where=str(out),
            do="give --out a folder that you may write",
        )


def _begin(
    net: Network,
    plan: Plan,
    checkpoint: Checkpoint,
    sites: str | list[str],
    *,
    seed: int,
) -> tuple[Accumulators, int]:
    """Make the accumulators, or fill them with what was saved."""
    from nissl.network.record.activation_threshold import active_above
    from nissl.network.record.site_samples import grids_of

    grids = grids_of(net, plan, sites)
    counts = {grid.site.name: grid.n_samples(plan) for grid in grids}
    text = plan.text("tokens") if all(grid.tokens for grid in grids) else None
    corpus = None if text is None else _corpus(text, grids)
    first, state = checkpoint.load()
    thresholds = {}
    if not state and text is not None:
        thresholds = active_above(net, list(counts), text)
    n = min(N_SAMPLED, *counts.values())
    samples, views = _samples(grids, counts, corpus, n=n, seed=seed)
    images, found = _images(net, plan, grids), {}
    for grid in grids:
        site, width = grid.site.name, grid.width
        above, below = thresholds.get(site, (np.zeros(width), np.full(width, -np.inf)))
        sampled, sample = views[site]
        found[site] = SiteAccumulators(
            width,
            corpus,
            top=min(TOP, counts[site]),
            active_above=above,
            active_below=below,
            sampled=sampled,
            sample=sample,
            images=images.get(site),
        )
    layers = {g.site.name: -1 if g.site.layer is None else g.site.layer for g in grids}
    accumulators = Accumulators(found, layers, samples, corpus)
    if state:
        accumulators.restore(state)
    return accumulators, first


def _images(net: Network, plan: Plan, grids: list[Grid]) -> dict[str, ImagePeaks]:
    """Make what finds the strongest images, by site; none where inputs are text."""
    if plan.tokens:
        return {}
    n_items = plan.n_items if labels_of(plan) else 0  # to test labels, all activity is kept
    n_units = sum(grid.width for grid in grids)
    require_memory(
        8 * n_units * n_items,  # float32, and once more when it is put together
        f"the activity of {n_units:,} units in {plan.n_items:,} images",
        do="look at fewer sites or fewer images",
    )
    seen = pictures_of(plan.probe(net))
    return {
        grid.site.name: ImagePeaks(
            grid.width,
            shape=grid.places,
            picture=None if seen is None else (int(seen.shape[2]), int(seen.shape[3])),
            n_items=n_items,
            k=min(TOP, plan.n_items),
        )
        for grid in grids
    }


def _corpus(plan: TextPlan, grids: list[Grid]) -> Corpus:
    n_units = sum(grid.width for grid in grids)
    n_labels = min(LABEL_BYTES / 4 / n_units, 20_000)
    return corpus_of(
        plan,
        n_tokens=int(TOKENS_OF_LABELS * n_labels),
        n_bigrams=int((1 - TOKENS_OF_LABELS) * n_labels),
    )


def _samples(
    grids: list[Grid], counts: Mapping[str, int], corpus: Corpus | None, *, n: int, seed: int
) -> tuple[dict[str, Array], dict[str, tuple[Array, Array]]]:
    """Choose the samples for the neighbours, and make room: sites of the same places lie together.

    As many samples are not enough: 8 x 8 places of an image are not 4 x 16.
    """
    samples, views = {}, {}
    of = {grid.site.name: _places(grid, counts[grid.site.name]) for grid in grids}
    for key in dict.fromkeys(of.values()):
        together = [grid for grid in grids if of[grid.site.name] == key]
        count = counts[together[0].site.name]
        places = np.arange(count) if corpus is None else np.flatnonzero(corpus.keep)
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(places, min(n, len(places)), replace=False))
        samples[key] = np.zeros((len(chosen), sum(g.width for g in together)), np.float32)
        at = 0
        for grid in together:
            views[grid.site.name] = chosen, samples[key][:, at : at + grid.width]
            at += grid.width
    return samples, views


def _places(grid: Grid, count: int) -> str:
    """Name what the samples of a site are: tokens, or places of which shape."""
    what = "tokens" if grid.tokens else " x ".join(map(str, (*grid.places, grid.calls)))
    return f"{count} {what}"


def _read(
    net: Network,
    plan: Plan,
    accumulators: Accumulators,
    checkpoint: Checkpoint,
    sites: str | list[str],
    *,
    first: int,
    progress: bool,
) -> None:
    from nissl.network import stream

    if first >= len(plan.batches):
        return
    with ThreadPoolExecutor(1) as thread, deferred_interrupt() as interrupted:

        def consume(chunk: Chunk) -> None:
            accumulators.sites[chunk.site].update(chunk, thread)

        def after(batch: int) -> None:
            if interrupted():
                checkpoint.save(batch + 1, accumulators.state)
                raise KeyboardInterrupt
            checkpoint.save_if_due(batch + 1, accumulators.state)

        stream(net, plan, sites=sites, consume=consume, first=first, after=after, progress=progress)
