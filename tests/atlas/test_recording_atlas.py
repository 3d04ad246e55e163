"""The atlas of a recording: the tables it writes, and what they say of planted units."""

import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import zarr

from nissl.atlas import make_atlas, recording_atlas, tables
from nissl.atlas.centred import CentredRecording
from nissl.atlas.neighbours import neighbours_of
from nissl.atlas.page.write import write_page
from nissl.atlas.recording_tables import histograms, summary
from nissl.errors import NisslError
from nissl.recording import NotARecording, as_recording, samples_table
from nissl.recording.store._lock import Lock
from nissl.statistics import Test


@pytest.fixture
def planted():
    """Six units over 200 trials in two runs: a tuned to side, b against c, f dead."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 6)) + np.repeat([0, 50], 100)[:, None]  # a jump between runs
    side = rng.integers(0, 2, 200)
    values[:, 0] += 2 * (side == 1)
    values[:, 2] = -values[:, 1] + 0.1 * rng.standard_normal(200) + np.repeat([0, 100], 100)
    values[:, 5] = 3.0
    values[17, 3] = 99.0
    values[20, 4] = np.inf
    return as_recording(
        values,
        samples={
            "run": np.repeat([0, 1], 100),
            "trial": np.arange(200),
            "side": np.array(["left", "right"])[side],
        },
        units={"unit": list("abcdef"), "region": ["V1"] * 3 + ["V2"] * 3, "x": range(6)},
        quantity="calcium",
        attrs={"specimen": "planted"},
    )


@pytest.fixture
def atlas(planted, tmp_path):
    about = recording_atlas(
        planted, tmp_path / "out", test=Test(n_permutations=199), progress=False
    )
    return about, tmp_path / "out"


def test_the_folder_is_what_the_schema_says(atlas, planted):
    about, out = atlas
    assert sorted(path.name for path in out.iterdir()) == [
        "arrays.zarr",
        "atlas.json",
        "examples.parquet",
        "tuning.parquet",
        "units.parquet",
    ]
    for name, schema in {
        "units": tables.UNITS,
        "tuning": tables.TUNING,
        "examples": tables.EXAMPLES,
    }.items():
        table = pd.read_parquet(out / f"{name}.parquet")
        assert list(table.columns[: len(schema)]) == [column.name for column in schema]
    assert json.loads((out / "atlas.json").read_text()) == about
    assert about["name"] == "planted"
    assert about["kinds"] == {"tuned": 1, "unexplained": 4, "dead": 1}
    assert about["tuned"] == {"side": 1}
    assert about["nulls"] == {"side": "PermutedLabels(exchange='trial', within='run')"}
    assert set(about["skipped"]) == {"run", "trial"}
    assert write_page(out).stat().st_size > 1000


def test_units_say_what_was_planted(atlas):
    units = pd.read_parquet(atlas[1] / "units.parquet").set_index("unit")
    assert units["kind"].to_dict() == {
        "a": "tuned",
        **dict.fromkeys("bcde", "unexplained"),
        "f": "dead",
    }
    assert units["tuned_to"]["a"] == "side"
    assert units["side_preferred"]["a"] == "right"
    assert units["side_q"]["a"] <= 0.01
    assert units["side_q"]["f"] == 1
    assert units["site"].tolist() == ["V1"] * 3 + ["V2"] * 3
    assert units["x"].tolist() == list(range(6))
    assert (units["nonfinite"]["e"], units["first_nonfinite"]["e"]) == (1, 20)
    assert units["max"]["d"] == 99
    # Inside runs the pair is opposed; over the whole recording both jump together.
    assert units["neighbours"]["b"][0] == "c"
    assert units["neighbour_r"]["b"][0] < -0.97
    assert len(units["neighbours"]["f"]) == 0


def test_extremes_carry_the_coordinates_of_their_samples(atlas, planted):
    examples = pd.read_parquet(atlas[1] / "examples.parquet")
    assert len(examples) == 6 * 2 * 20
    top = examples[(examples["unit"] == "d") & (examples["sign"] == 1)].iloc[0]
    assert (top["sample"], top["value"], top["rank"], top["trial"]) == (17, 99, 1, 17)
    table = samples_table(planted)
    assert examples["side"].tolist() == table["side"][examples["sample"]].tolist()
    assert (
        (examples["start"] <= examples["sample"]) & (examples["sample"] < examples["stop"])
    ).all()
    assert top["activity"].tolist() == [99]  # a trial of one sample has no other context


def test_documents_that_are_words_are_numbered(planted, tmp_path):
    named = planted.assign_coords(document=("sample", np.repeat(["b", "a"], 100)))
    recording_atlas(named, tmp_path / "out", test=Test(n_permutations=19), progress=False)
    examples = pd.read_parquet(tmp_path / "out" / "examples.parquet")
    assert examples["document"].tolist() == (examples["sample"] // 100).tolist()


def test_histograms_count_every_finite_value(atlas, planted):
    arrays = zarr.open_group(atlas[1] / "arrays.zarr", mode="r")
    counts, edges = np.asarray(arrays["histogram"]), np.asarray(arrays["edges"])
    assert counts.sum(axis=1).tolist() == [200, 200, 200, 200, 199, 200]
    expected = np.histogram(planted.values[:, 1], bins=edges[1])[0]
    assert np.abs(counts[1] - expected).sum() <= 2  # a value on an edge may fall either side


def test_spike_counts_have_bins_of_whole_spikes():
    rng = np.random.default_rng(1)
    values = rng.poisson(2.0, (300, 2)).astype(np.float32)
    values[:, 1] = 0
    rec = as_recording(values, samples={"time": range(300)}, quantity="spikes")
    moments, _, rule = summary(rec, k=3)
    assert "spike" in rule
    assert moments["density"].tolist() == [(values[:, 0] > 0).mean(), 0]
    counts, edges = histograms(rec, moments)
    for spikes in range(5):
        assert counts[0, spikes] == (values[:, 0] == spikes).sum()
        assert edges[0, spikes] == spikes - 0.5


def test_neighbours_with_missing_values_equal_a_slow_reading():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((80, 5)) @ rng.standard_normal((5, 5))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[15:, 4] = np.nan  # too few in common with any
    rec = as_recording(values, samples={"run": np.repeat([0, 1], 40)})
    centred = values.copy()
    for r in (slice(0, 40), slice(40, 80)):
        centred[r] -= np.nansum(values[r], axis=0) / np.maximum(np.isfinite(values[r]).sum(0), 1)
    partners, r, inside = neighbours_of(rec, k=3)
    assert inside == "run"
    assert not CentredRecording(rec).complete
    for unit in range(4):
        expected = {}
        for other in set(range(4)) - {unit}:
            both = np.isfinite(centred[:, unit]) & np.isfinite(centred[:, other])
            expected[other] = np.corrcoef(centred[both][:, [unit, other]].T)[0, 1]
        order = sorted(expected, key=lambda o: -abs(expected[o]))
        assert partners[unit].tolist() == order
        assert r[unit] == pytest.approx([expected[o] for o in order])
    assert partners[4].tolist() == [-1, -1, -1]


def test_lazy_recordings_give_the_same_tables(planted, atlas, tmp_path):
    recording_atlas(
        planted.chunk(sample=64, unit=2),
        tmp_path / "lazy",
        test=Test(n_permutations=199),
        progress=False,
    )
    for name in ("units", "examples"):
        eager = pd.read_parquet(atlas[1] / f"{name}.parquet")
        lazy = pd.read_parquet(tmp_path / "lazy" / f"{name}.parquet")
        pd.testing.assert_frame_equal(eager, lazy)


def test_a_stopped_atlas_goes_on_and_gives_the_same(planted, atlas, tmp_path, monkeypatch):
    module = import_module("nissl.atlas.tuning")  # the package's attribute is the function
    calls, whole = [], module.eta_squared

    def stopping(rec, plan, units, n, *, seed):
        calls.append(units.start)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(rec, plan, units, n, seed=seed)

    monkeypatch.setattr(module, "eta_squared", stopping)
    options = {"test": Test(n_permutations=199), "batch_size": 2, "progress": False}
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        recording_atlas(planted, out, **options)
    assert not (out / "atlas.json").exists()
    recording_atlas(planted, out, **options)
    assert calls == [0, 2, 4, 4]  # the two finished batches were not made again
    assert not list(out.glob("*.partial"))
    for name in ("units", "tuning"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(atlas[1] / f"{name}.parquet"), pd.read_parquet(out / f"{name}.parquet")
        )


def test_an_atlas_replaces_the_one_before_it(planted, tmp_path):
    recording_atlas(planted[:, :4], tmp_path, test=Test(n_permutations=19), progress=False)
    recording_atlas(planted[:, :2], tmp_path, test=Test(n_permutations=19), progress=False)
    assert len(pd.read_parquet(tmp_path / "units.parquet")) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_what_cannot_be_looked_at_is_refused(planted, tmp_path):
    with pytest.raises(NotARecording):
        recording_atlas(np.eye(3), tmp_path)
    with pytest.raises(NisslError, match="nothing to look at"):
        recording_atlas(planted[:0], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NisslError, match="cannot be written"):
        recording_atlas(planted, tmp_path / "file", test=Test(n_permutations=19), progress=False)


@pytest.mark.real
@pytest.mark.parametrize(
    ("specimen", "least"),
    [
        ("head_direction", {"head_direction": 7, "ripple": 8}),
        ("haxby", {"category": 100}),
        ("hcp", {}),
        ("worm", {"stimulus_ganglion": 3}),
    ],
)
def test_atlases_of_real_recordings(request, specimen, least, tmp_path):
    rec = request.getfixturevalue(specimen)
    about = recording_atlas(rec, tmp_path, test=Test(n_permutations=499), progress=False)
    units = pd.read_parquet(tmp_path / "units.parquet")
    tuned = pd.read_parquet(tmp_path / "tuning.parquet")
    assert len(units) == rec.sizes["unit"]
    assert tuned[["p", "q"]].notna().all(axis=None)
    assert ((tuned["p"] == 1) | (tuned["note"] == "")).all()
    for coordinate, n in least.items():
        assert about["tuned"][coordinate] >= n
    assert write_page(tmp_path).exists()


def test_two_atlases_are_not_written_into_one_folder(tmp_path):
    """The first goes on; the second is told, also where a third died."""
    rec = as_recording(np.random.default_rng(0).standard_normal((20, 2)))
    lock = Lock(tmp_path / "atlas.lock", what="atlas", where=tmp_path)
    with pytest.raises(NisslError, match="is writing this atlas"):
        make_atlas(rec, out=tmp_path, progress=False)
    lock.release()
    (tmp_path / "atlas.lock").write_text("12345")  # of one that died
    make_atlas(rec, out=tmp_path, progress=False)
    assert not (tmp_path / "atlas.lock").exists()
