"""What is drawn is the numbers that were given, beside their null."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from nissl.statistics.figure import bar, by_layer, curve, heatmap, panels, ranked, save_figure


@pytest.fixture
def axes():
    return Figure().subplots()


def offsets(collection):
    return np.asarray(collection.get_offsets())


def test_effects_are_drawn_from_the_largest_over_the_band_of_their_null(axes):
    effect = np.random.default_rng(0).standard_normal(50)
    ranked(effect, null_sd=np.full(50, 0.3), found=effect > 1, axes=axes)
    band, every, found = axes.collections
    assert offsets(every)[:, 1] == pytest.approx(np.sort(effect)[::-1])
    assert (offsets(found)[:, 1] > 1).all()
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((-0.588, 0.588))
    assert axes.get_legend().get_texts()[1].get_text() == f"{(effect > 1).sum()} found"


def test_effects_stay_in_their_layer(axes):
    effect, layer = np.random.default_rng(0).standard_normal(60), np.arange(60) % 4
    by_layer(effect, layer, found=effect > 0, axes=axes)
    every, found = map(offsets, axes.collections)
    assert every[:, 0].round() == pytest.approx(layer)
    assert every[:, 1] == pytest.approx(effect)
    assert len(found) == (effect > 0).sum()


def test_bars_stand_beside_their_nulls_and_on_each_other(axes):
    table = pd.DataFrame({"own": [3.0, 1.0], "other": [0.5, -0.2]}, index=["french", "thai"])
    bar(table, null=table - 1, null_sd=table * 0 + 0.1, found=table > 0.7, axes=axes)
    assert [p.get_height() for p in axes.patches] == [3.0, 1.0, 0.5, -0.2]
    assert [p.get_alpha() for p in axes.patches] == [1.0, 1.0, 0.35, 0.35]
    nulls = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    assert [c[0].get_ydata().tolist() for c in nulls] == [[2.0, 0.0], [-0.5, -1.2]]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["french", "thai"]
    axes.clear()
    bar(table.abs(), stacked=True, axes=axes)
    assert [p.get_y() for p in axes.patches] == [0, 0, 3.0, 1.0]
    axes.clear()
    bar({"a": 0.5}, interval=([0.4], [0.7]), axes=axes)
    ends = axes.collections[0].get_segments()[0][:, 1]
    assert ends.tolist() == [0.4, 0.7]


def test_curves_go_over_their_index_with_null_and_levels(axes):
    table = pd.DataFrame({"kept": [0.2, 0.6], "cut": [0.1, 0.3]}, index=pd.Index([3, 9], name="p"))
    curve(
        table,
        interval=(table - 0.1, table + 0.1),
        null=[0.1, 0.2],
        null_sd=[0.01, 0.01],
        levels={"chance": 0.05},
        axes=axes,
    )
    null, kept, cut, chance = axes.lines
    assert null.get_ydata().tolist() == [0.1, 0.2]
    assert (kept.get_xdata().tolist(), cut.get_ydata().tolist()) == ([3, 9], [0.1, 0.3])
    assert chance.get_ydata() == [0.05, 0.05]
    assert len(axes.collections) == 3  # the band of the null, and those of the lines
    assert axes.get_xlabel() == "p"
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["null", "kept", "cut"]


def test_a_heatmap_is_white_at_zero_and_frames_what_is_found(axes):
    matrix = pd.DataFrame([[1.0, -2.0], [0.0, np.nan]], index=["a", "b"], columns=["x", "y"])
    heatmap(matrix, numbers=True, found=matrix > 0.5, label="nats", axes=axes)
    assert axes.images[0].get_clim() == (-2.0, 2.0)
    assert [t.get_text() for t in axes.texts][:3] == ["1.0", "-2.0", "0.0"]
    (frame,) = axes.lines
    assert (frame.get_xdata().mean().round(), frame.get_ydata().mean().round()) == (0, 0)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert axes.figure.axes[1].get_ylabel() == "nats"


def test_a_heatmap_of_no_negative_number_begins_at_zero_and_holds_words(axes):
    heatmap([[0.0, 0.5]], words=[[" ", "a\n$x$"]], axes=axes)
    assert axes.images[0].get_clim() == (0, 0.5)
    assert [t.get_text() for t in axes.texts] == ["\N{OPEN BOX}", "a\\n\\$x\\$"]


def test_figures_are_made_and_written(tmp_path):
    import matplotlib.pyplot as plt

    figure, axes = panels(2, 3)
    assert axes.shape == (3, 2)
    assert not axes[0, 0].spines["top"].get_visible()
    assert save_figure(figure, tmp_path / "new" / "f.png").stat().st_size > 5000
    assert curve([[1.0], [2.0]]).figure is plt.gcf()
    plt.close("all")
