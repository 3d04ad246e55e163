"""Activity over a plane: a cell that fires at one place, and what spans no plane."""

import json
import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nissl.atlas.page.write import write_page
from nissl.atlas.rate_map import rate_map
from nissl.atlas.recording_atlas import recording_atlas
from nissl.recording import as_recording
from nissl.statistics import Test

N = 6000


def walk(seed=0):
    """A walk in a box of 2 x 1, half of which lies outside of any run."""
    rng = np.random.default_rng(seed)
    x = 1 + np.cos(np.cumsum(rng.normal(0, 0.1, N)))
    z = 0.5 + 0.5 * np.cos(np.cumsum(rng.normal(0, 0.13, N)))
    x[: N // 4] = np.nan
    return x, z, rng


def recorded(**more):
    x, z, rng = walk()
    rate = 0.2 + 6.0 * np.exp(-((x - 1.5) ** 2 + (z - 0.25) ** 2) / 0.03)
    spikes = np.stack([rng.poisson(np.nan_to_num(rate, nan=0.2)), rng.poisson(0.5, N)], axis=1)
    samples = {"time": np.arange(N) * 0.1, "place_x": x, "place_z": z, **more}
    rec = as_recording(spikes.astype(np.float64), samples=samples)
    return rec.assign_attrs(quantity="spikes", bin=0.1)


def test_a_place_cell_is_drawn_where_it_fires_and_equals_histograms():
    rec = recorded()
    drawn = rate_map(rec)
    assert drawn.names == ("place_x", "place_z")
    np.testing.assert_allclose(np.diff(drawn.x), np.diff(drawn.y)[0])  # squares
    middle_x, middle_y = ((e[1:] + e[:-1]) / 2 for e in (drawn.x, drawn.y))
    row, column = np.unravel_index(np.nanargmax(drawn.values[0]), drawn.values[0].shape)
    assert abs(middle_x[column] - 1.5) < 0.15
    assert abs(middle_y[row] - 0.25) < 0.15
    x, z, _ = walk()
    there = np.isfinite(x)
    for unit in range(2):
        weights = rec.values[there, unit]
        edges = [drawn.y, drawn.x]
        total, _, _ = np.histogram2d(z[there], x[there], bins=edges, weights=weights)
        count, _, _ = np.histogram2d(z[there], x[there], bins=edges)
        with np.errstate(invalid="ignore"):
            expected = gaussian_filter(total, 1.0) / gaussian_filter(count, 1.0)
        expected[count == 0] = np.nan
        np.testing.assert_allclose(drawn.values[unit], expected, rtol=1e-5)


def test_missing_values_are_no_silence():
    rec = recorded()
    full = rate_map(rec)
    holes = rec.copy(data=np.where(np.random.default_rng(1).random(rec.shape) < 0.3, np.nan, rec))
    drawn = rate_map(holes)
    assert abs(np.nanmean(drawn.values[1]) - np.nanmean(full.values[1])) < 0.02


@pytest.mark.parametrize("names", [("place_x", "speed"), ("place_x",), ("side", "max")])
def test_what_spans_no_plane_is_not_drawn(names):
    x, z, _ = walk()
    samples = dict(zip(names, (x, z), strict=False))
    assert rate_map(as_recording(np.zeros((N, 1)), samples=samples)) is None


def test_few_samples_are_not_drawn():
    x, z, _ = walk()
    few = slice(N - 400, N)
    samples = {"x": x[few], "y": z[few]}
    assert rate_map(as_recording(np.zeros((400, 1)), samples=samples)) is None


def test_the_page_draws_it_in_hertz(tmp_path):
    rec = recorded()
    recording_atlas(rec, tmp_path, test=Test(n_permutations=19), progress=False)
    page = write_page(tmp_path).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    drawn = rate_map(rec).values
    for card in data["cards"]:
        shown = card["map"]
        assert (shown["names"], shown["what"]) == (["place x", "place z"], "Hz")
        low, high = shown["range"]
        assert low == 0
        cells = np.array(shown["cells"], float)
        cells[cells < 0] = np.nan
        np.testing.assert_allclose(cells / 255 * high, drawn[card["row"]] * 10, atol=high / 255)
