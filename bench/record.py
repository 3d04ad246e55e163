"""Recording SmolLM2: to memory, to disk, and statistics on the way, beside the plain forward pass.

A pass of the whole text cannot be set against another pass: a shared machine is not the same ten
seconds later. So a twin of the network reads each batch, plainly, right before the network that is
recorded reads it, inside the same recording; the ratio is the median over these pairs. What a
recording costs once, however long it is, is said in the note.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nissl
from bench.measure import Row, one_thread, ratio
from nissl.cache import cache_dir
from nissl.network import Network, stream
from nissl.network.run.windows import windows_of

SITES = ["mlp.neurons", "resid_post"]
LENGTH, BATCH = 256, 8  # tokens of a window, windows of a batch
Ids = list[np.ndarray[Any, Any]]


class Stopped(Exception):
    """The recording is interrupted on purpose."""


@dataclass
class Pairs:
    """Seconds of process CPU time, batch by batch, of the twin and of the network with its work."""

    plain: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    opening: float = 0.0
    closing: float = 0.0

    def row(self, name: str, target: float | None, limit: float | None, note: str = "") -> Row:
        """Return the median ratio as a row."""
        value, spread = ratio(self.work, self.plain)
        return Row(
            name=name,
            ratio=value,
            unit="x forward",
            target=target,
            limit=limit,
            seconds=statistics.median(self.work),
            note=f"{spread}{note and f'; {note}'}",
        )


class Subject:
    """The network that is recorded, its twin, and the text both read."""

    def __init__(self) -> None:
        self.net: Network = nissl.load("smollm2", progress=False)
        # Weights mapped from their file are slower by some per cent, and not always by the same.
        for parameter in self.net.model.parameters():
            parameter.data = parameter.data.clone()
        self.twin = copy.deepcopy(self.net.body)
        self.ids = full_windows(self.net)

    def text(self, n_batches: int) -> Ids:
        """Return the windows of so many batches."""
        return self.ids[: n_batches * BATCH]

    @contextmanager
    def paired(self, stop_at: int = -1) -> Iterator[Pairs]:
        """Let the twin read every whole batch first, and time both; stop before a batch."""
        pairs, marks = Pairs(), [time.process_time()]

        def before(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            ids = kwargs["input_ids"]
            if ids.shape != (BATCH, LENGTH):
                return  # the small call that shows the shapes
            marks.append(time.process_time())
            if len(pairs.plain) == stop_at:
                raise Stopped
            with torch.inference_mode():
                self.twin(input_ids=ids, use_cache=False)
            pairs.plain.append(time.process_time() - marks[-1])
            marks.append(time.process_time())

        def after(module: torch.nn.Module, args: Any, output: Any) -> None:
            if len(pairs.work) < len(pairs.plain):
                pairs.work.append(time.process_time() - marks[-1])
                marks.append(time.process_time())

        # The twin's turn comes before the recording's own hooks, and the end after them.
        handles = [
            self.net.body.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
            # A pass that is cut short after its last block ends here too.
            self.net.body.register_forward_hook(after, always_call=True),
        ]
        try:
            yield pairs
        finally:
            for handle in handles:
                handle.remove()
            pairs.opening = marks[1] - marks[0]
            pairs.closing = time.process_time() - marks[-1]


def full_windows(net: Network) -> Ids:
    """Return the windows of the text that are full: no padding, so that both read the same."""
    texts = list(nissl.read("reader")["text"])
    windows = windows_of(net, texts, window=LENGTH, bos="never")
    return [ids for ids in windows.ids if len(ids) == LENGTH]


def run() -> list[Row]:
    """Return the rows; some four minutes on one core."""
    one_thread()
    subject = Subject()
    return [_memory(subject), *_disk(subject), _clone(subject), _summary(subject)]


def _memory(subject: Subject, n: int = 5) -> Row:
    width = sum(width for _, width in _widths(subject.net))
    out = np.empty((BATCH * LENGTH, width), np.float32)
    # The first touch of memory is not the recording's.
    record(subject, 1, out=out)
    with subject.paired() as pairs:
        for _ in range(n):
            record(subject, 1, out=out)
    note = f"once a recording {pairs.opening + pairs.closing:.2f} s"
    return pairs.row("record 30 x 1,536 neurons and residuals to memory", 1.01, 1.00, note)


def _disk(subject: Subject, n: int = 5) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=cache_dir("bench")) as folder:
        record(subject, 1, store=Path(folder) / "first")
        with subject.paired(stop_at=n - 1) as pairs, suppress(Stopped):
            record(subject, n, store=Path(folder) / "store")
        # Opened again, checked to the last block, and gone on with.
        with subject.paired() as again:
            record(subject, n, store=Path(folder) / "store")
        with subject.paired() as fresh:
            record(subject, 1, store=Path(folder) / "fresh")
    pairs.plain += again.plain
    pairs.work += again.work
    batch = statistics.median(pairs.plain)
    note = f"once a recording {fresh.opening + fresh.closing:.2f} s"
    return [
        pairs.row("the same streamed to disk", 1.03, 1.01, note),
        Row(
            name=f"resume a recording interrupted after {n - 1} batches of {BATCH * LENGTH:,}",
            ratio=again.opening / batch,
            unit="batches",
            target=None,
            limit=None,
            seconds=again.opening,
            note=f"opening a new store {fresh.opening / batch:.3f}",
        ),
    ]


def _clone(subject: Subject, n: int = 4) -> Row:
    """The hooks that everybody writes first."""
    kept: list[torch.Tensor] = []

    def keep_input(module: torch.nn.Module, args: Any) -> None:
        kept.append(args[0].clone())

    def keep_output(module: torch.nn.Module, args: Any, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output).clone())

    layers: Any = subject.net.body.layers
    with subject.paired() as pairs:
        handles = [x.mlp.down_proj.register_forward_pre_hook(keep_input) for x in layers]
        handles += [x.register_forward_hook(keep_output) for x in layers]
        try:
            with torch.inference_mode():
                for first in range(0, n * BATCH, BATCH):
                    ids = torch.from_numpy(np.stack(subject.ids[first : first + BATCH]))
                    subject.net.body(input_ids=ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
    return pairs.row("the same by hooks that clone", None, 1.00)


def _summary(subject: Subject, n: int = 4) -> Row:
    from nissl.statistics import Summary

    summaries = {site: Summary(width) for site, width in _widths(subject.net, "mlp.neurons")}
    inside = [0.0]

    def consume(block: Any) -> None:
        start = time.process_time()
        summaries[block.site].update(block.values, block.start)
        inside[0] += time.process_time() - start

    options: dict[str, Any] = {
        "sites": "mlp.neurons",
        "consume": consume,
        "window": LENGTH,
        "batch_size": BATCH,
        "bos": "never",
        "progress": False,
    }
    stream(subject.net, subject.text(1), **options)  # compile, and fill the lists of extremes
    inside[0] = 0.0
    with subject.paired() as pairs:
        stream(subject.net, subject.text(n), **options)
    note = f"the accumulators alone {1 + inside[0] / sum(pairs.plain):.3f}"
    name = "moments, density, 20 extremes at both ends, histogram while recording"
    return pairs.row(name, 1.05, 1.003, note)


def record(subject: Subject, n_batches: int, **where: Any) -> None:
    """Record so many batches."""
    nissl.record(
        subject.net,
        subject.text(n_batches),
        sites=SITES,
        window=LENGTH,
        batch_size=BATCH,
        bos="never",
        progress=False,
        **where,
    )


def _widths(net: Network, sites: str | list[str] | None = None) -> list[tuple[str, int]]:
    from nissl.network import plan_of
    from nissl.network.record.site_samples import grids_of

    plan = plan_of(net, [np.arange(4)], bos="never")
    return [(g.site.name, g.width) for g in grids_of(net, plan, sites or SITES)]
