"""Rasters as they are drawn: ticks or heat, rows that end, words for those who do not see them."""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest


def told(rows: Sequence[Sequence[int]], **more: Any) -> dict[str, Any]:
    """What the renderer reads, of levels in rows of equal length."""
    return {
        "cells": base64.b64encode(bytes(v for row in rows for v in row)).decode(),
        "columns": len(rows[0]),
        "range": [0, 254],
        "counts": True,
        "what": "spikes",
        "rows": "trial",
        "n": len(rows),
        "each": 1,
        "starts": list(range(1, len(rows) + 1)),
        "ends": [0, 0.1 * len(rows[0])],
        "measure": "s",
        "rate": "Hz",
        **more,
    }


def spikes(at: int, n: int = 10) -> list[int]:
    return [3 if c == at else 1 for c in range(n)]


ENDED = [*spikes(4, 6), 0, 0, 0, 0]
PSTH = [0.0] * 4 + [20.0] + [0.0] * 3 + [None] * 2


def boxes(picture: Any, selector: str) -> list[list[float]]:
    """Left end, top and width of what paths draw: each run of cells begins with M."""
    paths = "nodes => nodes.map(node => node.getAttribute('d')).join('')"
    drawn = picture.locator(selector).evaluate_all(paths)
    found = re.findall(r"M([-.0-9]+),([-.0-9]+)h([-.0-9]+)", drawn)
    return [[float(v) for v in box] for box in found]


def draw(canvas: Any, data: dict[str, Any], room: int = 560) -> Any:
    canvas.evaluate("([data, room]) => drawn(raster(data, { room }))", [data, room])
    return canvas.locator("svg.raster")


def test_spikes_are_ticks_over_the_samples_there_are(
    canvas: Any, violations: Callable[[Any], str]
) -> None:
    picture = draw(canvas, told([spikes(4), ENDED, spikes(4)], mean=PSTH))
    ticks, ground = (boxes(picture, f"path[fill='var(--{n})']") for n in ("accent", "faint"))
    left, column = 52, 50
    assert [t[0] for t in ticks] == [left + 4.5 * column - 1] * 3
    assert len({t[1] for t in ticks}) == 3
    assert [g[2] for g in ground] == [500, 300, 500]  # the second ended
    label = picture.get_attribute("aria-label")
    assert label.startswith("3 trials, each from its first sample, 1 s at most; ticks are spikes")
    assert label.endswith("The mean is highest at 0.45 s: 20 Hz")
    assert picture.locator("path.mean").get_attribute("d").count("L") == 7
    texts = picture.locator("text").all_text_contents()
    assert {"1", "2", "3", "trial", "0.2", "0.8", "mean while half of the trials last, Hz"} <= set(
        texts
    )
    assert "faintest 1 spike, strongest 2" in texts
    assert not violations(canvas)


def test_much_or_signed_activity_is_heat(canvas: Any, violations: Callable[[Any], str]) -> None:
    dense = draw(canvas, told([[2, 3, 4, 1]] * 4))
    assert "stronger colour is more spikes" in dense.get_attribute("aria-label")
    assert dense.locator("path").count() == 4  # one for each of the counts
    assert "3 spikes" in dense.locator("text").all_text_contents()
    data = told([[1, 128, 255, 0]], counts=False, range=[-1, 1], what="µV", rate="")
    data |= {"rows": "", "starts": [60.0], "ends": [0, 30]}
    signed = draw(canvas, data)
    label = signed.get_attribute("aria-label")
    assert (
        label
        == "The whole recording in 1 row of 30 s, from above; colour is mean activity in 7.5 s."
    )
    (below,) = boxes(signed, "path[fill='var(--low)']")
    above = boxes(signed, "path[fill='var(--accent)']")
    assert below[0] < above[0][0]
    assert {"60", "begins, s", "1 µV", "-1"} <= set(signed.locator("text").all_text_contents())
    assert not violations(canvas)


def test_trials_that_share_rows_are_said(canvas: Any) -> None:
    picture = draw(canvas, told([spikes(2)] * 3, n=5, each=2, measure="samples", ends=[0, 10]), 280)
    says = "5 trials, 2 to a row (the last 1), each from its first sample, 10 samples at most; "
    assert picture.get_attribute("aria-label") == f"{says}ticks are spikes in 1 sample."
    wide = picture.evaluate("node => node.viewBox.baseVal.width")
    assert wide == 280


@pytest.mark.parametrize("level", [0, 1])
def test_nothing_and_silence_differ(canvas: Any, level: int) -> None:
    picture = draw(canvas, told([[level] * 5] * 3))
    assert len(boxes(picture, "path[fill='var(--faint)']")) == 3 * level
    assert not boxes(picture, "path[fill='var(--accent)']")
