"""What an atlas gathers while SmolLM2 reads, each part as a ratio to the plain forward pass.

All arms stream the same 1,024 tokens of real text through all 30 x 1536 neurons; the plain one
consumes nothing. Extremes are found ever more rarely (as k / n), so those here have a history: the
same tokens forty times over, each time as if the neurons had changed places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.measure import Row, interleaved
from nissl.atlas.reading import Reading, reading_of
from nissl.network import TextPlan, load, plan_of, stream
from nissl.recording import Block
from nissl.specimens import load as specimen
from nissl.statistics import GroupMeans, Preference, Summary

N_TOKENS = 1024
SITES = "mlp.neurons"
WIDTH = 1536
HISTORY = 40 * N_TOKENS


def run(rounds: int = 3) -> list[Row]:
    """Return one row for each statistic: time with it over time without."""
    net = load("smollm2", progress=False)
    plan = plan_of(net, specimen("reader"))
    assert isinstance(plan, TextPlan)
    reading = reading_of(plan, n_tokens=2500, n_bigrams=1000)
    windows = plan.windows
    whole = [i for i, ids in enumerate(windows.ids) if len(ids) == windows.window]
    first = next(i for i in whole if i + 1 in whole)
    # Two windows that fill a batch: padding would be work of the plain arm alone.
    part = TextPlan(windows, [range(first, first + N_TOKENS // windows.window)], plan.padding)
    arms = {"plain": lambda block: None, **_consumers(reading)}
    runs = {name: _arm(net, part, consume) for name, consume in arms.items()}
    for arm in runs.values():
        arm()
    seconds = interleaved(runs, rounds=rounds)
    plain = seconds["plain"]
    targets = {"moments, extremes at both ends, histogram": 1.05}
    return [
        Row(
            name=f"{name} of every neuron while reading",
            ratio=seconds[name] / plain,
            unit="x forward",
            target=targets.get(name),
            limit=1.0,
            seconds=seconds[name],
        )
        for name in arms
        if name != "plain"
    ]


def _arm(net: Any, plan: TextPlan, consume: Callable[[Block], None]) -> Callable[[], None]:
    def arm() -> None:
        stream(net, plan, sites=SITES, consume=consume, progress=False)

    return arm


def _consumers(reading: Reading) -> dict[str, Callable[[Block], None]]:
    """Return what is done with each block, by name."""
    sites = [f"blocks.{i}.mlp.neurons" for i in range(30)]
    summaries = {site: Summary(WIDTH) for site in sites}
    n_groups = int(reading.groups.max()) + 1
    preferences = {site: Preference(WIDTH, reading.n_labels, n_groups) for site in sites}
    positions = {site: GroupMeans(WIDTH, int(reading.positions.max()) + 1) for site in sites}
    chosen = np.sort(np.random.default_rng(0).choice(len(reading.token), 2048, replace=False))
    sample = {site: np.zeros((len(chosen), WIDTH), np.float32) for site in sites}

    def rows(block: Block) -> slice:
        return slice(block.start, block.start + len(block.values))

    def summarise(block: Block) -> None:
        summary = summaries[block.site]
        # The first time there is no history; a moment is never given twice.
        while summary.moments.count[0] < HISTORY:
            turned = np.roll(block.values, int(summary.moments.count[0]) % WIDTH, axis=1)
            summary.update(turned, int(summary.moments.count[0]))
        start = int(summary.moments.count[0])
        summary.update(block.values, start, keep=reading.keep[rows(block)])

    def prefer(block: Block) -> None:
        r = rows(block)
        preferences[block.site].update(
            block.values,
            labels=reading.labels[r],
            weights=reading.weights[r],
            windows=reading.window[r],
            groups=reading.groups[r],
            keep=reading.keep[r],
        )

    def place(block: Block) -> None:
        positions[block.site].update(block.values, groups=reading.positions[rows(block)])

    def draw(block: Block) -> None:
        a, b = np.searchsorted(chosen, [block.start, block.start + len(block.values)])
        sample[block.site][a:b] = block.values[chosen[a:b] - block.start]

    return {
        "moments, extremes at both ends, histogram": summarise,
        "preferred tokens and bigrams, with their null": prefer,
        "share of variance explained by position": place,
        "the sample for the neighbours": draw,
    }
