"""Rasters: spikes are drawn where they are, rates above are those of their counts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from nissl.brain import raster
from nissl.errors import NisslError, UnknownName
from nissl.recording import bin_spikes


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def ticks(axes):
    return [row.get_positions() for row in axes.collections]


def test_spikes_around_events_and_their_histogram():
    rng = np.random.default_rng(0)
    onsets = np.arange(40) * 2.0 + 1
    burst = (onsets[:, None] + rng.uniform(0.1, 0.2, (40, 5))).ravel()
    events = {"time": np.r_[burst, rng.uniform(0, 80, 300)], "unit": np.repeat([3, 10], [200, 300])}
    table = pd.DataFrame({"onset": np.r_[onsets, np.nan], "side": "left"})
    figure = raster(events, around=table, start=-0.3, stop=0.5, bin=0.1)
    above, other, below, _ = figure.axes
    assert (above.get_title(), other.get_title()) == ("3", "10")
    assert len(ticks(below)) == 40
    assert np.sort(ticks(below)[7]) == pytest.approx(np.sort(burst[35:40]) - onsets[7])
    rate = above.patches[0].get_data().values
    assert rate == pytest.approx([0, 0, 0, 0, 50, 0, 0, 0])  # five in a tenth of a second
    one = raster(events, around=onsets, units=[10])
    assert [axes.get_title() for axes in one.axes] == ["10", ""]


def test_a_recording_of_counts_is_drawn_as_its_spikes_in_time():
    events = {"time": [0.1, 0.1001, 0.6, 0.9], "unit": ["b", "b", "a", "b"]}
    rec = bin_spikes(events, bin=0.005, start=0, stop=1, units=["a", "b", "c"])
    above, below = raster(rec, bin=0.5, start=0.0, stop=1.0).axes
    assert [len(row) for row in ticks(below)] == [1, 3, 0]
    assert below.get_yticklabels()[1].get_text() == "b"
    assert above.patches[0].get_data().values == pytest.approx([2 / 0.5 / 3, 2 / 0.5 / 3])


def test_what_cannot_be_drawn_is_said():
    events = {"time": [0.1, 0.2], "unit": ["a", "b"]}
    with pytest.raises(UnknownName, match="'c'"):
        raster(events, units=["c"])
    with pytest.raises(UnknownName, match="column of spikes"):
        raster({"time": [0.1]})
    with pytest.raises(UnknownName, match="column of events"):
        raster(events, around={"when": [1.0]})
    with pytest.raises(NisslError, match="no event has a time"):
        raster(events, around=[np.nan])
    with pytest.raises(NisslError, match="nothing of"):
        raster(events, start=1, stop=0)
    for wrong in ({"units": []}, {"bin": -1}, {"bin": 9}):
        with pytest.raises(NisslError, match="nothing of"):
            raster(events, **wrong)
    with pytest.raises(NisslError, match="nothing of"):
        raster({"time": [], "unit": []})
