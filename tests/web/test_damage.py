"""Atlases half made, older and damaged: what can be shown is shown, the rest says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from asgi import ask
from made_up_atlas import make_atlas
from nissl.atlas import open_atlas
from nissl.atlas.page.write import write_page
from nissl.atlas.recording_atlas import recording_atlas
from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.statistics import Test
from nissl.web import server

AGAIN = "make the atlas again"
LISTS = (
    "promoted",
    "promoted_logit",
    "suppressed",
    "suppressed_logit",
    "neighbours",
    "neighbour_r",
)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_atlas(tmp_path_factory.mktemp("small"), layers=2, width=8, n_tokens=200, seed=1)
    write_page(folder)
    return folder


@pytest.fixture
def folder(whole_folder: Path, tmp_path: Path) -> Path:
    """A copy without its page, which is made of what can be read."""
    copy = Path(shutil.copytree(whole_folder, tmp_path / "atlas"))
    (copy / "index.html").unlink()
    return copy


def opened(folder: Path) -> Any:
    return server(open_atlas(folder), token="secret")


def card(app: Any, row: int | None = None) -> dict[str, Any]:
    """Open a unit; one that prefers a token if not given."""
    if row is None:
        found = ask(app, "/api/units", query={"where": "kind = token"})
        row = json.loads(found.text)["rows"][0]["row"]
    found = ask(app, f"/api/unit/{row}")
    assert found.status == 200, found.text
    return dict(json.loads(found.text)["card"])


def cut(path: Path) -> None:
    """Leave the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scratch(path: Path, columns: tuple[str, ...] = ()) -> None:
    """Write over the values of a table, and leave what says where they are."""
    held, about = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata
    for group in range(about.num_row_groups):
        for i in range(about.num_columns):
            part = about.row_group(group).column(i)
            if columns and part.path_in_schema.partition(".")[0] not in columns:
                continue
            start = part.dictionary_page_offset or part.data_page_offset
            held[start : start + part.total_compressed_size] = b"\xff" * part.total_compressed_size
    path.write_bytes(held)


def away(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def written(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


@pytest.mark.parametrize(
    ("name", "damage", "gone", "kept"),
    [
        ("examples.parquet", away, {"high", "low"}, {"histogram", "promoted", "neighbours"}),
        ("examples.parquet", cut, {"high", "low"}, {"histogram", "promoted", "neighbours"}),
        ("examples.parquet", scratch, {"high", "low"}, {"histogram", "promoted", "neighbours"}),
        ("examples.parquet", written(""), {"high", "low"}, {"histogram", "promoted"}),
        ("arrays.zarr", away, {"histogram"}, {"high", "low", "promoted"}),
        ("arrays.zarr/zarr.json", written("{"), {"histogram"}, {"high", "low", "promoted"}),
        ("arrays.zarr/histogram/zarr.json", written("["), {"histogram"}, {"high", "low"}),
        ("arrays.zarr/histogram/c", away, {"histogram"}, {"high", "low"}),
        ("vocabulary.json", written("{"), set(), {"high", "low", "histogram"}),
        ("vocabulary.json", written("[1]"), set(), {"high", "low", "histogram"}),
        ("vocabulary.json", away, set(), {"high", "low", "histogram"}),
        ("tokens.parquet", cut, {"tokens"}, {"high", "low", "histogram"}),
        ("bigrams.parquet", cut, set(), {"high", "low", "histogram"}),
    ],
)
def test_the_rest_of_a_unit_is_shown(
    folder: Path, name: str, damage: Callable[[Path], None], gone: set[str], kept: set[str]
) -> None:
    whole = card(opened(folder))
    assert whole["broken"] == []
    damage(folder / name)
    app = opened(folder)
    assert ask(app, "/").status == 200
    assert json.loads(ask(app, "/api/units").text)["total"] == 16
    found = card(app)
    assert (set(found) & set(whole)) >= kept
    assert not set(found) & gone
    (said,) = found["broken"]
    assert name.partition("/")[0] in said
    assert said.endswith(AGAIN)


@pytest.fixture(scope="module")
def recording_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    values = np.random.default_rng(0).poisson(1, (600, 3))
    rec = as_recording(values, samples={"trial": np.repeat(range(6), 100)}, quantity="spikes")
    recording_atlas(rec, folder, test=Test(n_permutations=19), progress=False)
    return folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("raster/c", away),
        ("raster/zarr.json", written("{")),
        ("raster_range", away),
        ("raster_range/c", away),
        ("raster_mean/zarr.json", written("[")),
        ("raster_start/c", away),
        ("raster_edges/c", away),
    ],
)
def test_a_damaged_raster_is_said_and_the_rest_is_shown(
    recording_folder: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    whole = card(opened(recording_folder), 1)
    assert whole["broken"] == []
    assert whole["raster"]["n"] == 6
    folder = Path(shutil.copytree(recording_folder, tmp_path / "atlas"))
    damage(folder / "arrays.zarr" / name)
    found = card(opened(folder), 1)
    assert set(whole) - set(found) == {"raster"}
    (said,) = found["broken"]
    assert "arrays.zarr" in said
    assert said.endswith(AGAIN)


def test_a_raster_without_its_mean_is_drawn_without(recording_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recording_folder, tmp_path / "atlas"))
    away(folder / "arrays.zarr/raster_mean/c")
    assert "mean" not in card(opened(folder), 1)["raster"]


def test_texts_of_another_atlas_are_not_shown_as_those_of_this_one(folder: Path) -> None:
    """Zarr reads a file that is missing as zeros: every place would be said to be token 0."""
    assert "t" in card(opened(folder))["high"][0]
    away(folder / "arrays.zarr/token/c")
    found = card(opened(folder))
    told = [place for place in (*found["high"], *found["low"]) if "t" in place]
    assert all(place["v"] for place in found["high"])
    assert not told
    assert "are not those of examples.parquet" in found["broken"][0]


def test_what_is_missing_is_said_on_the_page(folder: Path) -> None:
    cut(folder / "examples.parquet")
    page = ask(opened(folder), "/").text
    assert '"broken":["examples.parquet cannot be read' in page


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("examples.parquet", away),
        ("examples.parquet", scratch),
        ("arrays.zarr", away),
        ("arrays.zarr/token", away),
        ("arrays.zarr/token/zarr.json", written("{")),
        ("vocabulary.json", written("[1]")),
    ],
)
def test_texts_that_cannot_be_searched_are_said(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    assert json.loads(ask(opened(folder), "/api/find", query={"text": "a"}).text)["total"]
    damage(folder / name)
    app = opened(folder)
    for path, query in (("/api/find", {"text": "a"}), ("/api/units", {"where": "text ~ a"})):
        found = ask(app, path, query=query)
        assert found.status == 400, path
        assert name.partition("/")[0] in found.text
    assert ask(app, "/api/search", query={"text": "a"}).status == 200


def test_a_damaged_column_is_left_out(whole_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole_folder, tmp_path / "atlas"))
    scratch(folder / "units.parquet", ("density", "kind"))
    app = opened(folder)  # with the page that was made when all was well
    found = json.loads(ask(app, "/api/units", query={"sort": "mean"}).text)
    assert found["total"] == 16
    assert [what.partition(" cannot")[0] for what in found["broken"]] == [
        "the column density of units.parquet",
        "the column kind of units.parquet",
    ]
    assert "density" not in found["rows"][0]
    assert "no column is called" in ask(app, "/api/units", query={"where": "density < 1"}).text
    scratch(folder / "units.parquet")
    app = opened(folder)
    assert ask(app, "/").status == 200
    assert "lacks the column unit" in ask(app, "/api/units").text


@pytest.mark.parametrize("column", LISTS)
def test_damaged_lists_leave_the_columns(folder: Path, column: str) -> None:
    scratch(folder / "units.parquet", (column,))
    app = opened(folder)
    assert json.loads(ask(app, "/api/units").text)["total"] == 16
    found = card(app)
    assert found["high"]
    assert "units.parquet" in found["broken"][0]


def test_an_older_atlas_without_some_columns_is_shown(whole_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole_folder, tmp_path / "atlas"))
    units = pd.read_parquet(folder / "units.parquet")
    (folder / "index.html").unlink()
    for name in units.columns:
        units.drop(columns=name).to_parquet(folder / "units.parquet")
        if name in ("unit", "site", "layer", "index", "kind"):
            with pytest.raises(NisslError, match=f"lacks the columns {name}"):
                opened(folder)
            continue
        app = opened(folder)
        for path in ("/", "/api/columns", "/api/units"):
            assert ask(app, path).status == 200, (name, path)
        for kind in units["kind"].unique():
            assert card(app, int(units.index[units["kind"] == kind][0]))["reason"], name


@pytest.mark.parametrize("text", ["{", "null", "[1]", "\xff", ""])
def test_without_its_settings_it_is_refused_in_words(folder: Path, text: str) -> None:
    (folder / "atlas.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(NisslError, match=r"atlas\.json cannot be read"):
        opened(folder)


def test_settings_without_keys_are_enough(folder: Path) -> None:
    (folder / "atlas.json").write_text('{"rules": null, "thresholds": null, "tuned": null}')
    app = opened(folder)
    assert ask(app, "/").status == 200
    assert card(app)["high"]
    found = ask(app, "/api/try", method="POST", body={"text": "a"})
    assert found.status == 400
    assert "no network to ask" in found.text


def test_what_was_begun_says_how_it_goes_on(folder: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "atlas.state").write_bytes(b"accumulators")
    with pytest.raises(NisslError, match="has not ended") as error:
        open_atlas(begun)
    assert "goes on where it was" in str(error.value.do)
    (folder / "atlas.json").unlink()  # what is put in place last
    with pytest.raises(NisslError, match=r"atlas\.json is missing"):
        open_atlas(folder)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format": "nissl.notes"}', "\xff"])
def test_damaged_notes_are_said_and_kept(folder: Path, text: str) -> None:
    held = text.encode("latin-1")
    (folder / "notes.json").write_bytes(held)
    app = opened(folder)
    assert json.loads(ask(app, "/api/units").text)["total"] == 16
    unit = "blocks.0.mlp.neurons[0]"
    for found in (
        ask(app, "/api/notes"),
        ask(app, "/api/note", method="POST", body={"unit": unit, "text": "x"}),
        ask(app, "/api/set", method="POST", body={"name": "x", "where": ""}),
    ):
        assert found.status == 400
        assert "the notes cannot be read" in found.text
    assert (folder / "notes.json").read_bytes() == held
