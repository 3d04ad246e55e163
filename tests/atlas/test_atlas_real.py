"""The atlas of a real language model: stories15m over a little real text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nissl import record
from nissl.atlas import Atlas, make_atlas, open_atlas
from nissl.network import load

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory, reader_texts: pd.DataFrame) -> Atlas:
    out = tmp_path_factory.mktemp("stories")
    texts = reader_texts.iloc[np.linspace(0, len(reader_texts) - 1, 24).astype(int)]
    return make_atlas("stories15m", texts, out=out, dtype="float32", progress=False)


def test_every_neuron_has_its_row(stories: Atlas) -> None:
    units = stories.units
    assert len(units) == 6 * 768
    assert units["unit"].is_unique
    assert (units["count"] == units["count"].iloc[0]).all()
    assert (units["nonfinite"] == 0).all()
    assert stories.summary()["units"].tolist() == [768] * 6
    assert stories.page.exists()


def test_statistics_are_those_of_the_recording(stories: Atlas, reader_texts: pd.DataFrame) -> None:
    texts = reader_texts.iloc[np.linspace(0, len(reader_texts) - 1, 24).astype(int)]
    site = "blocks.4.mlp.neurons"
    rec = record(load("stories15m", progress=False), texts, sites=site, progress=False)
    x = rec.values[rec["position"].values > 0].astype(float)
    units = stories.units[stories.units["site"] == site]
    np.testing.assert_allclose(units["mean"], x.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(units["sd"], x.std(axis=0), rtol=1e-3)
    np.testing.assert_allclose(units["max"], x.max(axis=0), rtol=1e-3)
    row = units.iloc[100]
    active = np.abs(x[:, 100]) > row["active_above"]
    assert abs(row["density"] - active.mean()) < 2e-3


def test_early_neurons_prefer_tokens_and_contexts_show_them(stories: Atlas) -> None:
    units = stories.units
    early = units[(units["layer"] == 0) & (units["kind"] == "token")]
    assert len(early) > 20
    assert (early["token_q"] < 0.01).all()
    strongest = early.loc[early["token_effect"].abs().idxmax()]
    examples = stories.examples(strongest["unit"])
    side = examples[examples["sign"] == np.sign(strongest["token_effect"])]
    assert (side["token"] == strongest["token_id"]).mean() >= 0.5


def test_neighbours_are_correlated_over_the_whole_text(
    stories: Atlas, reader_texts: pd.DataFrame
) -> None:
    texts = reader_texts.iloc[np.linspace(0, len(reader_texts) - 1, 24).astype(int)]
    rec = record(load("stories15m", progress=False), texts, sites="mlp.neurons", progress=False)
    keep = rec["position"].values > 0
    place = {unit: column for column, unit in enumerate(rec["unit"].values)}
    units = stories.units.iloc[::301]
    for unit, others, r in zip(
        units["unit"], units["neighbours"], units["neighbour_r"], strict=True
    ):
        x = rec.values[keep][:, [place[unit], *(place[other] for other in others)]]
        whole = np.corrcoef(x.T.astype(float))[0, 1:]
        # The sample of 2,048 moments is part of the 11,000 of the text.
        assert np.abs(whole - r).max() < 0.15


def test_units_of_classes_prefer_images_of_them(tmp_path: Path) -> None:
    """ImageNet's outputs over small photographs: the class tells which label it should prefer."""
    from nissl.cli import main

    arguments = ["efficientnet-lite0", "-i", "cifar10", "--n-images", "120", "--sites", "fc"]
    with pytest.raises(SystemExit, match="0"):
        main(["atlas", *arguments, "--out", str(tmp_path), "--quiet"])
    units = open_atlas(tmp_path).units.set_index("index")
    classes = {404: "airplane", 817: "automobile", 32: "frog", 867: "truck", 628: "ship"}
    for number, label in classes.items():
        assert units.loc[number, "label_preferred"] == label
        assert units.loc[number, "label_q"] <= 0.05
    assert len(list((tmp_path / "images").iterdir())) > 50
