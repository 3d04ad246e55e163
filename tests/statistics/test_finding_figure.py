"""A finding is drawn by the columns it has: effects, layers, bars, a curve, a heatmap."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nissl.errors import NisslError, UnknownName
from nissl.statistics import Finding


@pytest.fixture
def layers():
    """Voids of two kinds of tokens: a row for each label and layer."""
    table = pd.DataFrame(
        {
            "unit": [f"blocks.{i}" for i in range(6)] * 2,
            "layer": [*range(6)] * 2,
            "label": ["prompt"] * 6 + ["response"] * 6,
            "share": np.linspace(0, 1, 12),
            "effect": np.linspace(-0.5, 0.5, 12),
            "null_mean": 0.5,
            "null_sd": 0.1,
            "q": [0.01] + [0.9] * 11,
        }
    )
    return Finding(table, "voids", "n", score="share")


@pytest.fixture
def heads():
    rows = [(f"blocks.{i}.attn.z[head {h}]", i, h) for i in (1, 0) for h in range(3)]
    table = pd.DataFrame(rows, columns=["unit", "layer", "head"])
    table = table.assign(damage=[0.0, 1, 2, 3, 4, 5], q=[0.9] * 5 + [0.01])
    return Finding(table, "head_damage", "n", score="damage")


def test_every_row_is_drawn_and_the_significant_are_marked(layers, tmp_path):
    ranked, by_layer = layers.plot().axes
    assert [len(c.get_offsets()) for c in ranked.collections[1:]] == [12, 1]
    assert [len(c.get_offsets()) for c in by_layer.collections] == [12, 1]
    assert ranked.get_ylabel() == "share, above its null"
    layers.plot().savefig(tmp_path / "found.png")
    assert (tmp_path / "found.png").stat().st_size > 5000


def test_a_finding_is_drawn_where_it_is_told(layers):
    figure = Figure()
    mine, other = figure.subplots(1, 2)
    for kind in ("effects", "layers", "bars", "curve"):
        assert layers.plot(kind, axes=mine) is figure
    assert not other.has_data()


def test_a_curve_has_a_line_for_each_label_and_the_null(layers):
    (axes,) = layers.plot("curve").axes
    null, prompt, response = axes.lines
    assert null.get_ydata().tolist() == [0.5] * 6
    assert prompt.get_ydata() == pytest.approx(layers.table["share"][:6])
    assert response.get_ydata() == pytest.approx(layers.table["share"][6:])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layer", "share")


def test_a_curve_over_many_rows_has_their_mean_and_spread():
    x = np.random.default_rng(0).random(90)
    table = pd.DataFrame(
        {"unit": [f"u[{i}]" for i in range(90)], "layer": np.arange(90) % 3, "r": x}
    )
    (axes,) = Finding(table, "m", "none").plot("curve").axes
    assert axes.lines[0].get_ydata() == pytest.approx([x[i::3].mean() for i in range(3)])
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(max(np.quantile(x[i::3], 0.95) for i in range(3)))


def test_bars_are_of_labels_side_by_side_or_of_what_is_asked(layers):
    (axes,) = layers.plot("bars", by=("label", "layer")).axes
    assert len(axes.patches) == 12
    assert [t.get_text() for t in axes.get_xticklabels()] == ["prompt", "response"]
    assert [p.get_alpha() for p in axes.patches].count(1.0) == 1
    one = Finding(layers.table.iloc[:1].assign(unit="kept"), "pruning_effect", "n", score="share")
    assert len(one.plot("bars", value="effect").axes[0].patches) == 1


def test_a_heatmap_is_of_heads_by_layers_in_their_order(heads, layers):
    axes = heads.plot("heatmap").axes[0]
    assert axes.images[0].get_array().tolist() == [[3, 0], [4, 1], [5, 2]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layer", "head")
    frame = axes.lines[0]
    assert (frame.get_xdata().mean().round(), frame.get_ydata().mean().round()) == (0, 2)
    axes = layers.plot("heatmap", by=("label", "layer"), value="share").axes[0]
    assert np.allclose(np.ravel(axes.images[0].get_array()), layers.table["share"])


def test_layers_and_heads_are_read_from_addresses(heads, layers):
    for found in (heads, layers):
        bare = Finding(found.table.drop(columns=["layer", "head"], errors="ignore"), "m", "none")
        bare = Finding(bare.table, "m", "none", score=found.score)
        assert bare.layers == found.layers == found.table["layer"].tolist()
        for kind in ("layers", "curve", "heatmap"):
            mine, told = (f.plot(kind).axes[0] for f in (bare, found))
            assert mine.get_xlabel() == told.get_xlabel()
            for a, b in zip(mine.get_lines(), told.get_lines(), strict=True):
                assert np.array_equal(a.get_xydata(), b.get_xydata())
            for a, b in zip(mine.collections, told.collections, strict=True):
                assert np.array_equal(a.get_offsets(), b.get_offsets())
            for a, b in zip(mine.images, told.images, strict=True):
                assert np.array_equal(a.get_array(), b.get_array())
        assert "layer" not in bare.table
    edge = "blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]"
    units = ["blocks.2.mlp.neurons[7]", "AVA left", "embed[3]", edge]
    mixed = Finding(pd.DataFrame({"unit": units, "r": [0.1, 0.2, 0.3, 0.4]}), "m", "none")
    assert mixed.layers == [2, None, None, 4]
    assert len(mixed.plot("layers").axes[0].collections[0].get_offsets().compressed()) == 4


def test_what_cannot_be_drawn_is_refused(layers):
    bare = Finding(pd.DataFrame({"unit": ["a"], "r": [0.5]}), "m", "none")
    assert len(bare.plot().axes) == 1
    for kind in ("curve", "heatmap"):
        with pytest.raises(NisslError, match="give by="):
            bare.plot(kind)
    for options in ({"kind": "bar"}, {"kind": "layers"}, {"by": "layr"}, {"value": "shar"}):
        with pytest.raises(UnknownName):
            bare.plot(**options)
