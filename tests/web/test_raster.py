"""The raster of a unit of a recording: in the explorer and in the file beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nissl.atlas import open_atlas
from nissl.atlas.page.write import write_page
from nissl.atlas.recording_atlas import recording_atlas
from nissl.recording import as_recording
from nissl.statistics import Test


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight trials of 80 bins of 10 ms; one unit fires in bin 25 of each."""
    folder = tmp_path_factory.mktemp("trials")
    spikes = np.random.default_rng(0).poisson([0.01, 0.01], (640, 2))
    spikes[25::80, 0] = 2
    rec = as_recording(
        spikes,
        samples={"trial": np.repeat(range(8), 80), "time": np.arange(640) * 0.01},
        units={"unit": ["a", "b"]},
        quantity="spikes",
        attrs={"bin": 0.01},
    )
    recording_atlas(rec, folder, test=Test(n_permutations=19), progress=False)
    write_page(folder)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_a_unit_shows_its_trials_and_what_they_are_no_test_of(
    folder: Path, serve: Callable[..., str], visit: Callable[..., Any], scheme: str, width: int
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(f"{serve(open_atlas(folder))}#a", scheme, width)
    picture = page.locator("#unit").get_by_role("img", name="8 trials")
    says = "8 trials, each from its first sample, 0.8 s at most; ticks are spikes in 0.01 s."
    mean = "The mean is highest at 0.255 s: 200 Hz"
    expect(picture).to_have_attribute("aria-label", f"{says} {mean}")
    ask = page.get_by_role("button", name="against what").and_(
        page.locator("h3", has_text="8 trials").locator("button")
    )
    ask.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#unit .against", has_text="a mean over trials has peaks")).to_be_visible()
    box, sheet = picture.bounding_box(), page.locator("#unit").bounding_box()
    assert sheet["x"] < box["x"] < box["x"] + box["width"] < sheet["x"] + sheet["width"]
    result = axe.run(page)
    assert not result.violations_count, result.generate_report()


def test_the_file_and_a_notebook_draw_the_same(
    folder: Path, visit: Callable[..., Any], tmp_path: Path
) -> None:
    alone = tmp_path / "alone.html"
    alone.write_bytes((folder / "index.html").read_bytes())
    cell = tmp_path / "cell.html"
    html = open_atlas(folder).unit("a")._repr_html_()
    cell.write_text(f'<!doctype html><html lang="en"><title>Cell</title><body>{html}')
    page = visit(f"{alone.as_uri()}#a")
    drawn = page.locator("#unit svg.raster path[fill='var(--accent)']").count()
    assert drawn
    notebook = visit(cell.as_uri()).locator("iframe").content_frame
    notebook.locator("svg.raster").wait_for()
    assert notebook.locator("svg.raster path[fill='var(--accent)']").count() == drawn
