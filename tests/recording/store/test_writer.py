"""What is written is what zarr and xarray read; what cannot be written loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections import namedtuple

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nissl.errors import NisslError, UnknownName
from nissl.recording import open_store
from nissl.recording.store import _direct_file as direct_file
from nissl.recording.store._schema import SampleAxis
from nissl.recording.store.writer import StoreWriter

LAYOUT = {"chunk_rows": 8, "chunk_units": 4, "shard_rows": 16}


def write(folder, values, *, cuts=(), **options):
    """Write one or more sites, in batches that end at `cuts`."""
    values = values if isinstance(values, dict) else {"site": values}
    n = len(next(iter(values.values())))
    boundaries = [*cuts, n]
    sites = {site: array.shape[1] for site, array in values.items()}
    options = {"_layout": LAYOUT, **options}
    with StoreWriter(folder, sites=sites, n_samples=n, boundaries=boundaries, **options) as writer:
        for batch in range(writer.batch, len(boundaries)):
            for site, array in values.items():
                writer.append(
                    site, array[(boundaries[batch - 1] if batch else 0) : boundaries[batch]]
                )
    return folder


def plain(folder, **options):
    """Open with xarray alone, any warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(folder, chunks=None, **options)


DTYPES = ["float32", "float16", "float64", "bfloat16", "int16", "uint8", "bool"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    n=st.integers(0, 40),
    width=st.integers(1, 13),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_round_trip(tmp_path_factory, n, width, dtype, data):
    folder = tmp_path_factory.mktemp("store")
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=3)))
    values = np.random.default_rng(n).integers(0, 2, (n, width)) * 100
    values = values.astype("float32" if dtype == "bfloat16" else dtype)
    write(folder, values, cuts=cuts, dtype=dtype)
    rec = open_store(folder)
    assert rec.dtype == values.dtype
    np.testing.assert_array_equal(rec.values, values)
    read = plain(folder)["site"].values
    if dtype == "bfloat16":
        read = (read.astype("uint32") << 16).view("float32")
    np.testing.assert_array_equal(read, values)
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=5)) if n else []
    units = data.draw(st.lists(st.integers(0, width - 1), max_size=5))
    for _ in range(2):  # the second time chunks are known to be sound, and rows are read alone
        np.testing.assert_array_equal(
            rec.isel(sample=rows, unit=units).values, values[np.ix_(rows, units)]
        )
    if n:
        np.testing.assert_array_equal(rec[n // 2].values, values[n // 2])
        np.testing.assert_array_equal(rec[::-3, -1].values, values[::-3, -1])


@pytest.mark.parametrize("consolidated", [None, True, False])
def test_plain_xarray_opens_it_without_a_warning(tmp_path, consolidated):
    values = {
        "blocks.0.mlp": np.random.default_rng(0).normal(size=(300, 200)).astype("float32"),
        "layer/0:in": np.ones((300, 5), "float32"),
        "units": np.zeros((300, 5), "float32"),
    }
    write(
        tmp_path,
        values,
        samples={
            "token": xr.Variable("sample", np.arange(300), {"names_from": "tokenizer"}),
            "language": ["en", "de", "en"] * 100,
        },
        units={"blocks.0.mlp": {"layer": np.zeros(200, int), "region": ["a"] * 200}},
        provenance={"network": "planted", "seed": 3},
        _layout={},
    )
    ds = plain(tmp_path, consolidated=consolidated)
    for site, array in values.items():
        (name,) = (n for n in ds.data_vars if ds[n].attrs["site"] == site)
        np.testing.assert_array_equal(ds[name].values, array)
    assert set(ds.coords) == {"token", "language"}
    assert ds.attrs == {"network": "planted", "seed": 3, "quantity": "activity"}
    assert ds["language"].values.tolist() == ["en", "de", "en"] * 100
    assert ds["token"].attrs == {"names_from": "tokenizer"}
    table = zarr.open_group(tmp_path / "units" / "blocks.0.mlp", mode="r")
    assert table["layer"][:].tolist() == [0] * 200
    assert list(table["region"][:]) == ["a"] * 200


def test_the_bytes_are_those_that_zarr_writes(tmp_path):
    values = np.random.default_rng(0).normal(size=(70, 10)).astype("float32")
    write(tmp_path / "ours", values)
    ours = zarr.open_array(tmp_path / "ours" / "site", mode="r")
    theirs = zarr.create_array(
        tmp_path / "theirs",
        shape=values.shape,
        dtype="float32",
        chunks=(8, 4),
        shards=(16, 12),
        compressors=[zarr.codecs.Crc32cCodec()],
        fill_value=np.nan,
    )
    theirs[:] = values
    assert ours.metadata.codecs == theirs.metadata.codecs
    assert ours.metadata.chunk_grid == theirs.metadata.chunk_grid
    # Zarr is free to put the chunks of a shard in another order, so only their sizes are compared.
    for number in range(5):
        ours_size = (tmp_path / "ours" / "site" / "c" / str(number) / "0").stat().st_size
        assert ours_size == (tmp_path / "theirs" / "c" / str(number) / "0").stat().st_size


def test_nothing_written_is_nan(tmp_path):
    with (
        pytest.warns(UserWarning, match="batches"),
        StoreWriter(tmp_path, sites={"a": 2}, n_samples=4),
    ):
        pass
    assert np.isnan(plain(tmp_path)["a"].values).all()


def test_numbers_that_are_not_finite_are_counted_by_unit(tmp_path):
    values = np.ones((40, 9), "float32")
    values[[5, 30, 31], [2, 2, 8]] = np.nan, np.inf, -np.inf
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        folder = write(tmp_path / dtype, values, dtype=dtype)
        table = zarr.open_group(folder / "units" / "site", mode="r")
        assert table["nonfinite"][:].tolist() == [0, 0, 2, 0, 0, 0, 0, 0, 1]
        assert table["nonfinite_first"][:].tolist() == [-1, -1, 5, -1, -1, -1, -1, -1, 31]
        manifest = json.loads((folder / "nissl" / "manifest.json").read_text())
        assert manifest["sites"]["site"]["nonfinite"] == {
            "values": 3,
            "units": 2,
            "first_sample": 5,
        }
        assert open_store(folder).attrs["nonfinite"] == 3
        np.testing.assert_array_equal(open_store(folder).values, values)


def test_a_large_finite_sum_is_not_taken_for_infinity(tmp_path):
    folder = write(tmp_path, np.full((40, 9), 3e38, "float32"))
    assert "nonfinite" not in open_store(folder).attrs


def test_numbers_that_are_not_finite_can_be_refused(tmp_path):
    values = np.ones((40, 9), "float32")
    values[17, 6] = np.nan
    for _ in range(2):  # nor does the same run pass by resuming
        with pytest.raises(NisslError, match="NaN or infinite") as caught:
            write(tmp_path, values, nonfinite="error")
        assert caught.value.where == "site[6], sample 17"
    write(tmp_path, values)
    assert open_store(tmp_path).attrs["nonfinite"] == 1


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", 70_000.0), ("bfloat16", 3.4e38), ("float32", 1e39)]
)
def test_overflow_names_unit_and_sample_and_keeps_what_came_before(tmp_path, dtype, value):
    values = np.ones((40, 9), "float64" if dtype == "float32" else "float32")
    values[27, 6] = value
    with pytest.raises(NisslError, match=f"does not fit into {dtype}") as caught:
        write(tmp_path, values, cuts=[10, 20, 30], dtype=dtype)
    assert caught.value.where == "site[6], sample 27"
    with pytest.warns(UserWarning, match="2 of 4 batches"):
        assert open_store(tmp_path).values.tolist() == values[:20].tolist()


def test_bfloat16_rounds_ties_to_even(tmp_path):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=(40, 9)).astype("float32")
    values[0] = [1, 1 + 2**-8, 1 + 3 * 2**-8, -0.0, 0, 1e-40, np.nan, np.inf, -np.inf]
    rec = open_store(write(tmp_path / "array", values, dtype="bfloat16"))
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(rec.values, expected)


def test_tensors_of_any_float_type_are_taken(tmp_path):
    torch = pytest.importorskip("torch")
    values = torch.randn(40, 9, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        folder = write(tmp_path / str(dtype), values.to(dtype).requires_grad_())
        np.testing.assert_array_equal(open_store(folder).values, values.to(dtype).float().numpy())


def test_a_caller_may_reuse_its_buffer(tmp_path):
    buffer = np.empty((10, 3), "float32")
    with StoreWriter(
        tmp_path, sites={"a": 3}, n_samples=40, boundaries=[10, 20, 30, 40], _layout=LAYOUT
    ) as writer:
        for batch in range(4):
            buffer[:] = batch
            writer.append("a", buffer)
    np.testing.assert_array_equal(open_store(tmp_path)[:, 0].values, np.repeat(range(4), 10))


def test_append_returns_while_the_thread_writes_and_waits_when_its_blocks_are_used_up(
    tmp_path, monkeypatch
):
    gate, waiting, real = threading.Event(), threading.Event(), direct_file.write_all

    def held(file, data, offset):
        waiting.set()
        gate.wait(30)
        real(file, data, offset)

    monkeypatch.setattr(direct_file, "write_all", held)
    values = np.ones((800, 4), "float32")
    writer = StoreWriter(
        tmp_path, sites={"a": 4}, n_samples=800, boundaries=range(8, 801, 8), _layout=LAYOUT
    )
    done = []

    def feed():
        for start in range(0, 800, 8):
            writer.append("a", values[start : start + 8])
            done.append(start)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert waiting.wait(30)
    feeder.join(0.3)
    # Some row groups went in while the first was being written; memory holds no more than a few.
    assert feeder.is_alive()
    assert 1 <= len(done) <= 8
    gate.set()
    feeder.join(30)
    writer.close()
    assert open_store(tmp_path).values.sum() == 3200


@pytest.mark.parametrize("direct", [True, False])
def test_a_full_disk_keeps_what_was_whole_and_resumes(tmp_path, monkeypatch, direct):
    monkeypatch.setattr(direct_file, "DIRECT_BYTES", 0 if direct else 1 << 30)
    values = np.random.default_rng(0).normal(size=(100, 6)).astype("float32")
    real, calls = os.pwrite, []

    def full(file, data, offset):
        calls.append(offset)
        if len(calls) > 5:
            real(file, data[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NisslError, match="disk is full"):
        write(tmp_path / "full", values, cuts=range(10, 100, 10))
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="batches"):
        rec = open_store(tmp_path / "full")
    # How much depends on how far the thread that seals shards has come.
    kept = rec.sizes["sample"]
    assert 0 < kept < 100
    np.testing.assert_array_equal(rec.values, values[:kept])
    write(tmp_path / "full", values, cuts=range(10, 100, 10))
    np.testing.assert_array_equal(open_store(tmp_path / "full").values, values)


@pytest.mark.parametrize("n", [10, 700, 1024, 1100])
def test_writing_past_the_cache_gives_the_same_bytes(tmp_path, monkeypatch, n):
    values = np.random.default_rng(0).normal(size=(n, 70)).astype("float32")
    layout = {"chunk_rows": 256, "shard_rows": 512}
    for name, least in (("direct", 0), ("cached", 1 << 30)):
        monkeypatch.setattr(direct_file, "DIRECT_BYTES", least)
        write(tmp_path / name, values, _layout=layout)
    for number in range(-(-n // 512)):
        one, other = (tmp_path / k / "site" / "c" / str(number) / "0" for k in ("direct", "cached"))
        assert one.read_bytes() == other.read_bytes()
    np.testing.assert_array_equal(open_store(tmp_path / "direct").values, values)


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1000))
    with pytest.raises(NisslError, match=r"needs 46\.\d GB; 1\.0 kB are free"):
        StoreWriter(tmp_path, sites={"a": 1152}, n_samples=10_000_000)
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(NisslError, match="cannot be written"):
        StoreWriter(tmp_path / "store", sites={"a": 2}, n_samples=4)


def test_a_file_system_that_refuses(tmp_path, monkeypatch):
    def refuse(path, *args, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NisslError, match="cannot be written") as caught:
        StoreWriter(tmp_path / "store", sites={"a": 2}, n_samples=4)
    assert "choose a folder" in caught.value.do


def test_one_writer_at_a_time(tmp_path):
    first = StoreWriter(tmp_path, sites={"a": 2}, n_samples=4)
    with pytest.raises(NisslError, match=rf"another process \({os.getpid()}\)"):
        StoreWriter(tmp_path, sites={"a": 2}, n_samples=4)
    first.append("a", np.zeros((4, 2)))
    first.close()
    assert not (tmp_path / "nissl" / "lock").exists()


def test_the_lock_of_a_dead_writer_is_taken_over(tmp_path):
    (tmp_path / "nissl").mkdir()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    (tmp_path / "nissl" / "lock").write_bytes(gone.stdout)
    write(tmp_path, np.zeros((4, 2)))


@pytest.mark.filterwarnings("ignore:.*0 of 2 batches")
def test_rows_beyond_the_batch_are_refused(tmp_path):
    writer = StoreWriter(tmp_path, sites={"a": 2, "b": 2}, n_samples=4, boundaries=[2, 4])
    writer.append("a", np.zeros((1, 2)))
    writer.append("a", np.zeros((1, 2)))
    with pytest.raises(NisslError, match="batch 0 ends at row 2"):
        writer.append("a", np.zeros((1, 2)))
    with pytest.raises(NisslError, match="are expected"):
        writer.append("b", np.zeros((2, 3)))
    with pytest.raises(UnknownName, match="did you mean"):
        writer.append("aa", np.zeros((2, 3)))
    with pytest.raises(NisslError, match="cannot be kept"):
        writer.append("b", np.zeros((2, 2), complex))
    writer.close()
    with pytest.raises(NisslError, match="closed"):
        writer.append("a", np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": {}}, "no site"),
        ({"boundaries": [2, 3]}, "boundaries"),
        ({"boundaries": [3, 2, 4]}, "boundaries"),
        ({"dtype": "floot32"}, "did you mean"),
        ({"dtype": "complex64"}, "does not keep"),
        ({"samples": {"token": [1, 2]}}, "shape"),
        ({"samples": {"x" * 300: [1, 2, 3, 4]}}, "too long"),
        ({"units": {"b": {}}}, "no site is called 'b'"),
        ({"units": {"a": {"layer": [1]}}}, "unit column"),
        ({"provenance": {"list": {}}}, "attribute 'list'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(NisslError, match=message):
        StoreWriter(tmp_path / "store", **{"sites": {"a": 2}, "n_samples": 4, **options})
    assert not (tmp_path / "store").exists()


def test_sites_with_samples_of_their_own(tmp_path):
    axis = SampleAxis(8, [4, 8], {"stimulus": np.repeat([0, 1], 4), "row": [0, 0, 1, 1] * 2})
    with StoreWriter(
        tmp_path,
        sites={"logits": 2, "conv1": 3, "conv2": 3},
        n_samples=2,
        boundaries=[1, 2],
        samples={"stimulus": [0, 1]},
        axes={"conv1": axis, "conv2": axis},
    ) as writer:
        for batch in range(2):
            writer.append("logits", np.full((1, 2), batch))
            writer.append("conv1", np.full((4, 3), batch))
            writer.append("conv2", np.full((4, 3), batch))
    recs = open_store(tmp_path)
    assert {site: rec.shape for site, rec in recs.items()} == {
        "logits": (2, 2),
        "conv1": (8, 3),
        "conv2": (8, 3),
    }
    assert recs["conv1"]["row"].values.tolist() == [0, 0, 1, 1] * 2
    assert open_store(tmp_path, sites="conv*").shape == (8, 6)
    assert plain(tmp_path).sizes["sample.1"] == 8
