"""Changed bytes, lost shards, links and odd names: noticed, mended or kept apart."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nissl.errors import NisslError
from nissl.recording import as_recording, open_store, save
from nissl.recording.readers import read_table
from nissl.recording.store.writer import StoreWriter

N, SITES = 40, {"a": 5, "b/c": 3}
VALUES = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
VALUES[3, 1] = np.nan


def write(folder):
    samples = {"trial": np.arange(N), "units": ["x", "é"] * 20, "nissl": np.ones(N, bool)}
    samples["trial"] = xr.Variable("sample", samples["trial"], {"meaning": "row"})
    with StoreWriter(
        folder, sites=SITES, n_samples=N, boundaries=[10, 20, 30, 40], samples=samples,
        units={"a": {"my region/part": list("uvwxy")}}, provenance={"network": "planted"},
        _layout={"chunk_rows": 4, "chunk_units": 4, "shard_rows": 8},
    ) as writer:  # fmt: skip
        for batch in range(writer.batch, 4):
            rows = slice(batch * 10, batch * 10 + 10)
            writer.append("a", VALUES[rows, :5])
            writer.append("b/c", VALUES[rows, 5:])
    return folder


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("store") / "s")


def test_any_changed_byte_is_noticed_or_changes_nothing(store, tmp_path):
    """The reference is the store as it was written; indices and zarr.json are for other readers."""
    right = open_store(store).load()
    rng = np.random.default_rng(0)
    noticed = 0
    copy = shutil.copytree(store, tmp_path / "copy")
    for path, data in files(store).items():
        for place in {*rng.integers(0, len(data), 3).tolist(), 0, len(data) - 1}:
            changed = bytearray(data)
            changed[place] ^= 1 << int(rng.integers(8))
            (copy / path).write_bytes(bytes(changed))
            try:
                xr.testing.assert_identical(open_store(copy).load(), right)
            except NisslError:
                noticed += 1
        (copy / path).write_bytes(data)
    assert noticed > 60


@pytest.mark.parametrize("what", [b"", b"\0\0\0\0"])
def test_an_emptied_chunk_of_any_column_is_noticed(store, tmp_path, what):
    columns = [p for p in files(store) if p.parts[-2:-1] == ("c",) and "nonfinite" not in str(p)]
    assert len(columns) > 5
    copy = shutil.copytree(store, tmp_path / "copy")
    for column in columns:
        (copy / column).write_bytes(what)
        with pytest.raises(NisslError, match="cannot be read"):
            open_store(copy).load()
        (copy / column).write_bytes((store / column).read_bytes())


def test_columns_may_be_called_as_folders_of_the_store_are(store):
    rec = open_store(store)
    assert rec["units"].values.tolist() == ["x", "é"] * 20
    assert rec["nissl"].values.all()
    assert rec["trial"].attrs == {"meaning": "row"}
    assert rec["my region/part"].values.tolist() == [*"uvwxy", "", "", ""]
    assert set(xr.open_zarr(store, chunks=None)) == {"a", "b%2Fc"}


@pytest.mark.parametrize(
    "name",
    ["../../../../OUT", "/tmp/OUT", "..", ".", "", "a b", "c", "zarr.json", "\x01", "é" * 60],
)
@pytest.mark.parametrize("side", ["sample", "unit"])
def test_no_name_of_a_column_leads_out_of_the_folder(tmp_path, name, side):
    columns = {f"{side}s": {name: np.arange(3 if side == "sample" else 2)}}
    rec = as_recording(np.eye(3, 2), **columns)
    inner = tmp_path / "a" / "b" / "c" / "d" / "store"
    save(rec, inner, progress=False)
    assert {p.relative_to(tmp_path).parts[:5] for p in tmp_path.rglob("*") if p.is_file()} == {
        ("a", "b", "c", "d", "store")
    }
    xr.testing.assert_identical(open_store(inner).load(), rec)


def test_an_array_of_npz_that_is_called_as_a_path_stays_in_the_store(tmp_path):
    arrays = {"../../OUT": np.arange(3), "values": np.eye(3, 2)}
    np.savez(tmp_path / "t.npz", **arrays)
    rec = read_table(tmp_path / "t.npz")
    save(rec, tmp_path / "x" / "store", progress=False)
    assert not (tmp_path / "OUT").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"t.npz", "x"}
    xr.testing.assert_identical(open_store(tmp_path / "x" / "store").load(), rec)


@pytest.mark.parametrize("lost", ["a/c/0/0", "a/c/2/0", "b%2Fc/c/4/0"])
@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_lost_shard_is_recorded_again_by_the_same_run(store, tmp_path, lost, how):
    copy = shutil.copytree(store, tmp_path / "s")
    if how == "removed":
        (copy / lost).unlink()
    else:
        os.truncate(copy / lost, 10)
    with pytest.raises(NisslError, match="a shard of") as caught:
        open_store(copy)
    assert "records what is missing" in caught.value.do
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(copy)
    assert files(copy) == files(store)


@pytest.mark.parametrize(
    "link", ["nissl/lock", "nissl/manifest.json.partial", "nissl", "a", "zarr.json"]
)
def test_links_in_a_folder_are_not_followed(tmp_path, store, link):
    target = tmp_path / "mine"
    folder = tmp_path / "s"
    if link in ("a", "zarr.json"):
        shutil.copytree(store, folder)
        (folder / link).rename(tmp_path / "kept")
        target = tmp_path / "kept"
    elif link == "nissl":
        target.mkdir()
    else:
        target.write_text("mine")
    path = folder / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    before = files(target) if target.is_dir() else target.read_bytes()
    with pytest.raises(NisslError, match="holds a link"):
        write(folder)
    assert (files(target) if target.is_dir() else target.read_bytes()) == before


def test_a_manifest_of_other_types_is_refused(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "s")
    path = Path(copy, "nissl", "manifest.json")
    for text in ("[]", "{}", "null", '{"format": 3, "version": []}', "\x00", "[" * 100000):
        path.write_text(text)
        with pytest.raises(NisslError, match=r"manifest|version"):
            open_store(copy)
