"""Record the activity of sites: to memory, to a store on disk, or handed on as it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.fingerprint import fingerprint
from nissl.network.record.memory_sink import Memory
from nissl.network.record.site_samples import Grid, grids_of, grouped, unit_columns
from nissl.network.run.calls import call_model
from nissl.network.run.early_stop import Stopped, knows_order
from nissl.network.run.plan import Plan, Step, of_side, plan_of, steps
from nissl.network.sites.batch import Batch, watch_batch
from nissl.network.sites.hooks import visiting
from nissl.network.sites.modes import evaluated
from nissl.progress import progress_bar
from nissl.recording.chunks import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from nissl.network.run.windows import BosPolicy
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site
    from nissl.recording import Recording
    from nissl.recording.store._schema import SampleAxis

__all__ = ["provenance", "record", "stream"]


def record(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    store: str | Path | None = None,
    out: np.ndarray[Any, Any] | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    bos: BosPolicy | None = None,
    padding: str = "right",
    resume: bool = True,
    progress: bool = True,
) -> Recording | dict[str, Recording]:
    """Record the activity of sites while a network reads.

    Parameters
    ----------
    net : Network
        The network; edits that are active are seen.
    inputs : texts, chats, token ids, images, tensor, or mapping of tensors
        What it reads, as in `read_inputs`. A DataFrame has its texts in ``text``; other columns
        become labels.
    sites : str or iterable of str
        Names, globs or module paths.
    store : path, optional
        Write to a store on disk, which an interrupted recording resumes; else to memory.
    out : array, optional, shape (n_samples, n_units), float32, float64 or float16
        Memory to record into, as in numpy: memory touched for the first time can cost a fifth of
        the forward pass, so who records again and again keeps it.
    dtype : {"float32", "bfloat16", "float16"}, optional
        Type of the numbers kept; by default float32. An overflow is an error.
    batch_size : int, optional
        Windows or items of a call; by default about 2,048 tokens.
    window, stride : int, optional
        Tokens of a window of a long text (512 or the context), and from one window to the next.
    bos : {"document", "window", "never"}, optional
        Where a beginning-of-text token is put; by default where the tokenizer puts one.
    padding : {"right", "left"}
        Where shorter texts are filled up; padding is never a sample.
    resume : bool
        Go on with an interrupted store; False refuses a store that exists.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording, shape (n_samples, n_units), or dict of str to Recording
        One sample a token, image, or place in an image. Sites whose samples differ come back
        apart, by site.

    Raises
    ------
    NisslError
        A site is not known, never fires, or is not one number for each sample and unit; the
        recording does not fit in memory or on disk; a number overflows `dtype`.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()))
    >>> record(net, torch.zeros(5, 4), sites="1", progress=False).shape
    (5, 3)
    """
    plan = plan_of(
        net, inputs, batch_size=batch_size, window=window, stride=stride, bos=bos, padding=padding
    )
    plan = of_side(net, plan, net.find(sites))
    grids = grids_of(net, plan, sites)
    if out is not None and store is not None:
        raise NisslError("a recording goes to out= or to store=", do="give one of them")
    attrs = provenance(net, plan)
    if store is not None:
        return _to_store(net, plan, grids, attrs, store, dtype or "float32", resume, progress)
    groups = grouped(grids)
    if out is not None and len(groups) > 1:
        raise NisslError(
            f"sites of {len(groups)} kinds of samples do not fit into one array",
            where=", ".join(groups),
            do="record them apart, each into its own out=",
        )
    sinks = {name: Memory(net, plan, group, dtype, out) for name, group in groups.items()}
    where = {grid.site.name: name for name, group in groups.items() for grid in group}

    def keep(grid: Grid, x: Tensor, step: Step) -> None:
        sinks[where[grid.site.name]].write(grid, x, step)

    _run(net, plan, grids, keep, progress=progress)
    found = {name: sink.recording(attrs) for name, sink in sinks.items()}
    if len(found) == 1:
        return next(iter(found.values()))
    return {grid.site.name: _of_site(found[where[grid.site.name]], grid) for grid in grids}


def stream(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    consume: Callable[[Chunk], None],
    batch_size: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    bos: BosPolicy | None = None,
    first: int = 0,
    after: Callable[[int], None] | None = None,
    progress: bool = True,
) -> Plan:
    """Hand on the activity of sites as it is computed, keeping nothing.

    Parameters
    ----------
    net : Network
        The network; edits that are active are seen.
    inputs : texts, chats, token ids, images, tensor, mapping of tensors, or a plan
        What it reads; a plan made before is followed as it is.
    sites : str or iterable of str
        Names, globs or module paths.
    consume : callable
        Called with a `Chunk` for each batch and site, while the values are still in the
        processor's cache: float32, shape (n_rows, n_units), valid until it returns.
    batch_size, window, stride, bos : optional
        As in `record`.
    first : int
        The batch to begin with, when going on.
    after : callable, optional
        Called with the number of each batch when all its sites were consumed.
    progress : bool
        Show a bar.

    Returns
    -------
    Plan
        The plan that was followed: what every row was.

    Raises
    ------
    NisslError
        As in `record`.
    """
    plan = plan_of(net, inputs, batch_size=batch_size, window=window, stride=stride, bos=bos)
    plan = of_side(net, plan, net.find(sites))
    grids = grids_of(net, plan, sites)
    samples: dict[tuple[int, tuple[int, ...]], Mapping[str, np.ndarray[Any, Any]]] = {}

    def hand_on(grid: Grid, x: Tensor, step: Step) -> None:
        key = (step.items.start, () if grid.tokens else grid.places)
        if key not in samples:
            for old in [k for k in samples if k[0] != key[0]]:
                del samples[old]
            samples[key] = grid.samples(plan, step.items)
        values = grid.rows(x, step).float().contiguous().cpu().numpy()
        consume(Chunk(grid.site.name, values, samples[key], grid.start(step)))

    _run(net, plan, grids, hand_on, first=first, after=after, progress=progress)
    return plan


def provenance(net: BaseNetwork, plan: Plan) -> dict[str, str | int]:
    """Return where a recording came from, as scalars and strings."""
    import transformers

    import nissl

    attrs: dict[str, str | int] = {
        "network": net.name,
        "weights": net.weights_hash,
        "weights_dtype": str(net.dtype).removeprefix("torch."),
        "edits": "; ".join(map(repr, net.edit_blocks)),
        "edits_hash": fingerprint([block.given for block in net.edit_blocks]),
        "nissl": nissl.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    quantisation = getattr(getattr(net.model, "config", None), "nissl_quantisation", None)
    if quantisation:
        attrs["quantisation"] = str(quantisation)
    return attrs | plan.provenance(net)


def _run(
    net: BaseNetwork,
    plan: Plan,
    grids: list[Grid],
    keep: Callable[[Grid, Tensor, Step], None],
    *,
    first: int = 0,
    after: Callable[[int], None] | None = None,
    progress: bool,
) -> None:
    """Make the calls of a plan and hand each site's tensor to ``keep``."""
    by_name = {grid.site.name: grid for grid in grids}
    now: list[Step] = []
    batch: list[Batch] = []
    calls: dict[str, list[Tensor]] = {}

    def visit(site: Site, x: Tensor) -> Tensor:
        grid, whole = by_name[site.name], x
        if grid.calls > 1:
            calls.setdefault(site.name, []).append(x.clone())
            if len(calls[site.name]) < grid.calls:
                return x
            whole = torch.stack(calls.pop(site.name), 1)
        keep(grid, whole, now[0])
        if counted and number > first and fired.calls == expected:
            raise Stopped
        return x

    total, unit = plan.n_samples, plan.unit
    done = sum(map(plan.size, plan.batches[:first]))
    sites = [grid.site for grid in grids]
    # Where the order of a model is not known, how often each site fires tells when all is done, if
    # items are alike and the first batch, which is read to its end, shows the same counts.
    counted = not knows_order(net) and not net.editing and not plan.tokens
    expected = {grid.site.name: grid.calls for grid in grids}
    number = first
    visits = [(site, visit) for site in sites]
    with (
        evaluated(net.model),
        torch.inference_mode(),
        progress_bar(f"Recording {net.name}", total=total, unit=unit, progress=progress) as advance,
        watch_batch(net.model, net.body, lambda b: batch.__setitem__(slice(None), [b])),
        visiting(net.model, visits, batch=lambda: batch[0] if batch else None) as fired,
    ):
        advance(done)
        for number, step in steps(plan, net, first=first):
            now[:] = [step]
            fired.calls = dict.fromkeys(fired.calls, 0)
            call_model(net, step.call, until=sites)
            _require(fired.calls, by_name)
            if after is not None:
                after(number)
            advance(plan.size(step.items))


def _require(fired: Mapping[str, int], grids: Mapping[str, Grid]) -> None:
    for name, calls in fired.items():
        if calls != grids[name].calls:
            raise NisslError(
                f"the site fired {calls} times in this batch, {grids[name].calls} in the first",
                where=name,
                do="give items of one length, or batch_size=1",
            )


def _of_site(rec: Recording, grid: Grid) -> Recording:
    return rec.isel(unit=np.flatnonzero(rec["site"].values == grid.site.name))


def _to_store(
    net: BaseNetwork,
    plan: Plan,
    grids: list[Grid],
    attrs: Mapping[str, str | int],
    path: str | Path,
    dtype: str,
    resume: bool,
    progress: bool,
) -> Recording | dict[str, Recording]:
    from nissl.recording import open_store
    from nissl.recording.store.writer import StoreWriter

    groups = list(grouped(grids).values())
    axes = [_axis(plan, group[0]) for group in groups]
    others = zip(groups[1:], axes[1:], strict=True)
    with StoreWriter(
        path,
        sites={grid.site.name: grid.width for grid in grids},
        n_samples=axes[0].n_samples,
        boundaries=axes[0].boundaries,
        samples=axes[0].samples,
        axes={grid.site.name: axis for group, axis in others for grid in group},
        dtype=dtype,
        units={grid.site.name: unit_columns(grid.site, grid.width) for grid in grids},
        provenance=attrs,
        resume=resume,
    ) as writer:

        def keep(grid: Grid, x: Tensor, step: Step) -> None:
            writer.append(grid.site.name, grid.rows(x, step))

        _run(net, plan, grids, keep, first=writer.batch, progress=progress)
    return open_store(path)


def _axis(plan: Plan, grid: Grid) -> SampleAxis:
    """Return the samples of a site, and how many there are after each batch."""
    from nissl.recording.store._schema import SampleAxis

    ends = np.asarray([batch.stop for batch in plan.batches])
    boundaries = plan.first_row[ends] if grid.tokens else ends * grid.n_places
    return SampleAxis(grid.n_samples(plan), boundaries, grid.samples(plan))
