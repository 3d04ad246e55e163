"""Planted massive activations are found, where they are; in a rotated basis nothing is."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.selectivity import layer_ratios, massive
from nissl.statistics import Test, rate

TEXTS, LENGTH, WIDTH = 5, 30, 40


def stream(values: np.ndarray):
    """A recording of two layers of the residual stream."""
    layer = np.repeat([0, 1], WIDTH)
    return as_recording(
        values,
        samples={
            "document": np.repeat(np.arange(TEXTS), LENGTH),
            "position": np.tile(np.arange(LENGTH), TEXTS),
            "token": np.arange(TEXTS * LENGTH) + 100,
        },
        units={
            "site": np.asarray([f"blocks.{i}.resid_post" for i in layer]),
            "layer": layer,
            "index": np.tile(np.arange(WIDTH), 2),
        },
    )


@pytest.fixture
def planted():
    values = np.random.default_rng(0).standard_normal((TEXTS * LENGTH, 2 * WIDTH))
    values[::LENGTH, WIDTH + 7] = -1500.0  # layer 1, the first token of every text
    values[LENGTH + 9, WIDTH + 20] = 2000.0  # one token of one text
    values[::LENGTH, 3] = 30.0  # large, and not massive
    return stream(values)


def test_it_finds_where_they_are(planted):
    found = massive(planted)
    rows = found.table.set_index("unit")
    always = rows.loc["blocks.1.resid_post[7]"]
    assert (always["massive"], always["first"], always["position"]) == (1, 1, 0)
    assert always["largest"] == 1500
    assert always["layer"] == 1
    once = rows.loc["blocks.1.resid_post[20]"]
    assert (once["massive"], once["position"], once["token"]) == (1 / TEXTS, 9, 139)
    assert rows.loc["blocks.0.resid_post[3]", "massive"] == 0
    assert rows["massive"].gt(0).sum() == 2
    assert sorted(found.significant().units)[-1] == "blocks.1.resid_post[7]"
    assert "blocks.0.resid_post[3]" in found.significant().units
    assert not found.table.isna().any().any()


def test_against_a_loop_written_out(planted):
    rows = massive(planted).table.set_index("unit")
    for layer, unit in [(0, 0), (0, 3), (1, 7), (1, 39)]:
        ratios = []
        for text in range(TEXTS):
            here = planted.values[text * LENGTH : (text + 1) * LENGTH]
            block = np.abs(here[:, layer * WIDTH : (layer + 1) * WIDTH])
            ratios.append(block[:, unit].max() / np.median(block))
        name = f"blocks.{layer}.resid_post[{unit}]"
        assert rows.loc[name, "ratio"] == pytest.approx(np.mean(ratios))
    block = np.abs(planted.values[:, WIDTH:]).reshape(TEXTS, -1)
    found = layer_ratios(planted).set_index("site").loc["blocks.1.resid_post"]
    assert found["largest"] == pytest.approx(block.max(axis=1).mean())
    assert found["ratio"] == pytest.approx(
        block.max(axis=1).mean() / np.median(block, axis=1).mean()
    )
    assert found["unit"] == "blocks.1.resid_post[7]"


def test_nothing_where_there_is_nothing():
    rng = np.random.default_rng(1)
    p = []
    for repeat in range(150):
        values = rng.standard_normal((20, 12)) @ rng.standard_normal((12, 12))
        turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]  # no basis of its own
        rec = as_recording(values @ turn, samples={"document": np.repeat([0, 1], 10)})
        found = massive(rec, test=Test(seed=repeat)).table
        assert found["massive"].sum() == 0
        p.append(found["p"][0])
    assert rate(np.asarray(p)).holds
    assert rate(np.asarray(p), alpha=0.25).holds


def test_a_dimension_that_never_varies_is_marked(planted):
    planted.values[:, 5] = 0.0
    row = massive(planted).table.iloc[5]
    assert (row["ratio"], row["massive"], row["p"]) == (0, 0, 1)


def test_what_cannot_be_is_refused(planted):
    with pytest.raises(NisslError, match="did you mean 'document'"):
        massive(planted, document="documents")
    with pytest.raises(NisslError, match="one text gives no null"):
        massive(planted[:LENGTH])
    silent = planted.copy()
    silent.values[:, : WIDTH - 5] = 0.0
    for function in (massive, layer_ratios):
        with pytest.raises(NisslError, match="median activation is zero"):
            function(silent)
