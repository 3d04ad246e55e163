"""Tokens, bigrams, positions and neighbours of every neuron, each beside the plain forward pass.

Every part is given every chunk of one pass and timed by itself, inside the pass, where the chunk is
as warm in the cache as it will be; the plain pass is the twin's, batch by batch.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bench.measure import Row
from bench.record import BATCH, LENGTH, Subject
from nissl.atlas.corpus import Corpus, corpus_of
from nissl.network import plan_of, stream
from nissl.recording import Chunk
from nissl.statistics import GroupMeans, best_partners
from nissl.statistics.preference import Preference

SITES, WIDTH, N_UNITS = "mlp.neurons", 1536, 30 * 1536
N_TOKENS, N_BIGRAMS, N_SAMPLED = 2650, 1140, 2048  # what the atlas keeps of this network
PARTNERS = 8192  # units on which the search for neighbours is timed

Consume = Callable[[Chunk], None]


def run(n_batches: int = 4) -> list[Row]:
    """Return one row for each statistic: the forward pass with it, over that without."""
    subject = Subject()
    plan = plan_of(subject.net, subject.ids, window=LENGTH, batch_size=BATCH, bos="never").text(
        "corpora"
    )
    corpus = corpus_of(plan, n_tokens=N_TOKENS, n_bigrams=N_BIGRAMS)
    parts = _parts(corpus, n_rows=n_batches * BATCH * LENGTH)
    seconds: dict[str, list[float]] = defaultdict(list)
    spent = dict.fromkeys(parts, 0.0)

    def consume(chunk: Chunk) -> None:
        for name, part in parts.items():
            start = time.process_time()
            part(chunk)
            spent[name] += time.process_time() - start

    def after(batch: int) -> None:
        for name in parts:
            seconds[name].append(spent[name])
            spent[name] = 0.0

    some = replace(plan, batches=plan.batches[:n_batches])
    with subject.paired() as pairs:
        stream(subject.net, some, sites=SITES, consume=consume, after=after, progress=False)
    rows = []
    for name in parts:
        # The first batch compiles, and touches memory for the first time.
        pair = zip(seconds[name][1:], pairs.plain[1:], strict=True)
        ratios = sorted(1 + s / p for s, p in pair)
        rows.append(
            Row(
                name=name,
                ratio=statistics.median(ratios),
                unit="x forward",
                target=None,
                limit=1.0,
                seconds=statistics.median(seconds[name]),
                note=f"{ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} batches",
            )
        )
    forward = statistics.median(pairs.plain) * len(corpus.token) / (BATCH * LENGTH)
    drawn = rows.pop()
    return [*rows, _neighbours(drawn, forward, len(corpus.token))]


def _parts(corpus: Corpus, n_rows: int) -> dict[str, Consume]:
    """Return what is done with each chunk, by name; the neighbours' sample is the last."""
    n_groups, n_tokens = int(corpus.groups.max()) + 1, len(corpus.tokens)
    sites = [f"blocks.{i}.mlp.neurons" for i in range(30)]
    both = {
        "preferred tokens": (n_tokens, corpus.labels[:, :1]),
        "preferred bigrams": (
            len(corpus.bigrams),
            np.where(corpus.labels[:, 1:] >= 0, corpus.labels[:, 1:] - n_tokens, -1),
        ),
    }
    positions = {site: GroupMeans(WIDTH, int(corpus.positions.max()) + 1) for site in sites}
    # As dense among the rows that are read here as the atlas's are among all.
    n = max(1, N_SAMPLED * n_rows // len(corpus.token))
    chosen = np.sort(np.random.default_rng(0).choice(n_rows, n, replace=False))
    sample = {site: np.ones((n, WIDTH), np.float32) for site in sites}

    def prefer(column: int, n_labels: int, labels: np.ndarray[Any, Any]) -> Consume:
        found = {site: Preference(WIDTH, n_labels, n_groups) for site in sites}
        for preference in found.values():
            # Memory is touched for the first time only once in a pass over the whole text.
            preference.sums.fill(1)
            preference.exponentials.fill(1)

        def consume(chunk: Chunk) -> None:
            r = slice(chunk.start, chunk.start + len(chunk.values))
            found[chunk.site].update(
                chunk.values,
                labels=labels[r],
                weights=corpus.weights[r, column : column + 1],
                windows=corpus.window[r],
                groups=corpus.groups[r],
                keep=corpus.keep[r],
            )

        return consume

    def place(chunk: Chunk) -> None:
        r = slice(chunk.start, chunk.start + len(chunk.values))
        positions[chunk.site].update(chunk.values, groups=corpus.positions[r])

    def draw(chunk: Chunk) -> None:
        a, b = np.searchsorted(chosen, [chunk.start, chunk.start + len(chunk.values)])
        sample[chunk.site][a:b] = chunk.values[chosen[a:b] - chunk.start]

    return {
        **{name: prefer(i, *what) for i, (name, what) in enumerate(both.items())},
        "share of variance explained by position": place,
        "neighbours": draw,
    }


def _neighbours(drawn: Row, forward: float, n_tokens: int) -> Row:
    """Add the search, which is made once: its share of a pass over the whole text."""
    x = np.random.default_rng(0).standard_normal((N_SAMPLED, PARTNERS), np.float32)
    best_partners(x[:, :64])
    start = time.process_time()
    best_partners(x)
    search = (time.process_time() - start) * (N_UNITS / PARTNERS) ** 2
    return Row(
        name=f"neighbours of every neuron, over the {n_tokens:,} tokens of the text",
        ratio=drawn["ratio"] + search / forward,
        unit="x forward",
        target=None,
        limit=1.0,
        seconds=search,
        note=f"the sample {drawn['ratio']:.4f}; the search {search:.0f} s once, scaled from "
        f"{PARTNERS:,} units",
    )
