"""A store opens lazily, with both tables; what is missing or damaged is an error, never NaN."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import xarray as xr
from xarray.core.indexing import LazilyIndexedArray

from nissl.errors import NisslError, UnknownName
from nissl.recording import check, open_store
from nissl.recording.store import _arrays as arrays
from nissl.recording.store._site_reader import SiteReader
from nissl.recording.store.manifest import fingerprint, is_store
from nissl.recording.store.writer import StoreWriter

SITES = {"blocks.0.mlp": 10, "blocks.1.mlp": 7, "blocks.1.out": 3}
N = 60
VALUES = np.random.default_rng(0).normal(size=(N, 20)).astype("float32")


@pytest.fixture
def store(tmp_path):
    edges = np.cumsum([0, *SITES.values()])
    with StoreWriter(
        tmp_path / "store",
        sites=SITES,
        n_samples=N,
        samples={"token": np.arange(N), "language": ["en", "de"] * 30},
        units={"blocks.1.mlp": {"layer": np.ones(7, int), "region": ["r"] * 7}},
        provenance={"network": "planted", "quantity": "gradient"},
        _layout={"chunk_rows": 8, "chunk_units": 4, "shard_rows": 24},
    ) as writer:
        for (site, _), first, last in zip(SITES.items(), edges, edges[1:], strict=False):
            writer.append(site, VALUES[:, first:last])
    return tmp_path / "store"


def test_both_tables_come_back(store):
    rec = check(open_store(store))
    assert rec["unit"].values[[0, 10, 19]].tolist() == [
        "blocks.0.mlp[0]",
        "blocks.1.mlp[0]",
        "blocks.1.out[2]",
    ]
    assert rec["site"].values.tolist() == [s for s, n in SITES.items() for _ in range(n)]
    assert rec["index"].values.tolist() == [i for n in SITES.values() for i in range(n)]
    assert rec["layer"].values.tolist() == [-1] * 10 + [1] * 7 + [-1] * 3
    assert rec["region"].values.tolist() == [""] * 10 + ["r"] * 7 + [""] * 3
    assert rec["language"].values.tolist() == ["en", "de"] * 30
    assert rec.attrs == {"network": "planted", "quantity": "gradient"}


def test_nothing_is_read_before_it_is_looked_at(store, monkeypatch):
    rec = open_store(store)
    monkeypatch.setattr(SiteReader, "read", None)
    repr(rec), repr(rec[3:5]), rec.isel(unit=[1, 2])
    assert all(
        isinstance(rec[name].variable._data, LazilyIndexedArray) for name in ("token", "language")
    )


def test_one_token_reads_only_its_chunks(store, monkeypatch):
    read, real = [], os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda f, parts, at: read.append(len(parts[0])) or real(f, parts, at)
    )
    rec = open_store(store, sites="blocks.1.mlp")
    assert rec[11].values.tolist() == VALUES[11, 10:17].tolist()
    assert sum(read) == 2 * (8 * 4 * 4 + 4)
    read.clear()
    # Chunks that are known to be sound are not read again: one row of each.
    assert rec[12, 3:].values.tolist() == VALUES[12, 13:17].tolist()
    assert sum(read) == 2 * (4 * 4)


def test_sites_are_chosen_by_name_and_pattern_in_the_order_asked(store):
    rec = open_store(store, sites=["blocks.1.out", "*.mlp"])
    np.testing.assert_array_equal(rec.values, VALUES[:, [17, 18, 19, *range(17)]])
    with pytest.raises(UnknownName, match=r"did you mean 'blocks.0.mlp'"):
        open_store(store, sites="blocks.0.mpl")
    with pytest.raises(NisslError, match="no site is asked for"):
        open_store(store, sites=[])


@pytest.mark.parametrize(
    "key",
    [
        (slice(None), slice(None)),
        (5, slice(None)),
        (slice(None), 13),
        (slice(50, 3, -7), slice(19, 2, -5)),
        ([4, 4, 59, 0], [19, 0, 0, 11]),
        (np.arange(N) % 3 == 0, slice(2, 12)),
        (slice(3, 3), slice(None)),
    ],
)
def test_any_selection_equals_numpy(store, key):
    expected = VALUES[key[0]][..., key[1]]
    np.testing.assert_array_equal(open_store(store)[key].values, expected)


def test_selection_by_the_tables(store):
    rec = open_store(store)
    np.testing.assert_array_equal(rec.sel(unit="blocks.1.mlp[2]").values, VALUES[:, 12])
    chosen = rec[:, rec["layer"].values == 1][rec["token"].values > 50]
    np.testing.assert_array_equal(chosen.values, VALUES[51:, 10:17])


def test_it_pickles_and_computes_with_dask(store):
    rec = open_store(store)
    xr.testing.assert_identical(pickle.loads(pickle.dumps(rec)).load(), rec.load())
    pytest.importorskip("dask")
    mean = open_store(store).chunk(sample=24).mean("sample").values
    np.testing.assert_allclose(mean, VALUES.mean(0), atol=1e-6)


def test_a_missing_shard_is_refused(store):
    (store / "blocks.1.mlp" / "c" / "1" / "0").unlink()
    with pytest.raises(NisslError, match=r"a shard of 'blocks.1.mlp' is missing"):
        open_store(store)
    assert open_store(store, sites="blocks.0.mlp").shape == (N, 10)


def test_a_truncated_shard_is_refused(store):
    path = store / "blocks.1.mlp" / "c" / "2" / "0"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(NisslError, match="bytes instead of"):
        open_store(store)


def test_a_shard_that_goes_while_the_store_is_open(store):
    rec = open_store(store)
    path = store / "blocks.1.mlp" / "c" / "2" / "0"
    os.truncate(path, 10)
    with pytest.raises(NisslError, match="ends too early"):
        rec.load()
    path.unlink()
    with pytest.raises(NisslError, match="cannot be opened"):
        rec.load()


@pytest.mark.parametrize("place", [0, 100, 131, 132 * 3 + 5])
def test_a_changed_byte_is_found(store, place):
    path = store / "blocks.0.mlp" / "c" / "1" / "0"
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(NisslError, match="is damaged: its checksum differs"):
        open_store(store).load()
    column, row_group = divmod(place, 132)[0] % 3, divmod(place, 132)[0] // 3
    with pytest.raises(NisslError, match="samples"):
        open_store(store)[24 + 8 * row_group, 4 * column].load()
    assert open_store(store, verify=False).load().shape == (N, 20)


def test_a_changed_byte_of_a_column_is_found(store):
    path = store / "token" / "c" / "0"
    damaged = bytearray(path.read_bytes())
    damaged[8] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(NisslError, match="checksum"):
        open_store(store)["token"].load()


def test_a_manifest_that_is_not_one(store, tmp_path):
    assert is_store(store)
    assert not is_store(tmp_path)
    with pytest.raises(NisslError, match="no such folder"):
        open_store(tmp_path / "nothing")
    with pytest.raises(NisslError, match="no store here"):
        open_store(tmp_path)
    path = store / "nissl" / "manifest.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(NisslError, match="manifest cannot be read"):
        open_store(store)
    path.write_text(text.replace('"version": 3', '"version": 99'))
    with pytest.raises(NisslError, match="version 99"):
        open_store(store)


def test_a_long_column_spans_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "COLUMN_ROWS", 16)
    column = np.arange(50, dtype="int16")
    metadata = arrays.write_column(tmp_path / "column", column, "sample", {})
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [16]
    described = fingerprint(column, {})
    found = arrays.read_column(tmp_path / "column", described)
    np.testing.assert_array_equal(found, column)
    import zarr

    np.testing.assert_array_equal(zarr.open_array(tmp_path / "column", mode="r")[:], column)
