"""Chunks cover a recording once, in order, and read no more than they yield."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import as_recording, chunks


def test_blocks_put_together_are_the_recording():
    values = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    rec = as_recording(values, samples={"trial": np.arange(23), "side": list("lr" * 11 + "l")})
    seen = list(chunks(rec, size=5))
    assert [b.start for b in seen] == [0, 5, 10, 15, 20]
    np.testing.assert_array_equal(np.concatenate([b.values for b in seen]), values)
    for name in ("trial", "side"):
        together = np.concatenate([b.samples[name] for b in seen])
        np.testing.assert_array_equal(together, rec[name].values)


def test_blocks_are_what_accumulators_take():
    for dtype, expected in [
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.bool_, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.float64, np.float64),
        (">f4", np.float32),
    ]:
        rec = as_recording(np.ones((3, 4), dtype=dtype)[:, ::2])
        (chunk,) = chunks(rec)
        assert chunk.values.dtype == expected
        assert chunk.values.dtype.isnative
        assert chunk.values.flags.c_contiguous


def test_values_in_memory_are_not_copied():
    values = np.zeros((10, 3), np.float32)
    assert all(np.shares_memory(b.values, values) for b in chunks(as_recording(values), size=4))


def test_site_is_named_where_there_is_one():
    one = as_recording(np.zeros((1, 2)), units={"site": ["embed", "embed"]})
    two = as_recording(np.zeros((1, 2)), units={"site": ["embed", "logits"], "index": [0, 0]})
    assert next(chunks(one)).site == "embed"
    assert next(chunks(two)).site == ""
    assert next(chunks(as_recording(np.zeros((1, 2))))).site == ""


def test_lazy_recordings_are_read_a_block_at_a_time():
    dask_array = pytest.importorskip("dask.array")
    read = []

    def chunk(block_info=None):
        (rows, _) = block_info[None]["array-location"]
        read.append(rows)
        return np.full((rows[1] - rows[0], 2), rows[0], np.float32)

    lazy = dask_array.map_blocks(chunk, chunks=((4, 4, 4), (2,)), dtype=np.float32)
    iterator = chunks(as_recording(lazy), size=4)
    read.clear()
    assert next(iterator).values[0, 0] == 0
    assert read == [(0, 4)]
    assert next(iterator).values[0, 0] == 4
    assert read == [(0, 4), (4, 8)]


def test_a_recording_without_samples_has_no_blocks():
    assert list(chunks(as_recording(np.zeros((0, 3))))) == []


def test_a_size_below_one_is_refused_at_the_call():
    with pytest.raises(NisslError, match="0 samples"):
        chunks(as_recording(np.zeros((2, 2))), size=0)
