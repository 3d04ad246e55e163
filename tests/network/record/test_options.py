"""Options of a recording are done or refused."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from tiny import ids, inputs, tiny

SITE = "blocks.1.resid_post"


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_numbers_are_kept_as_asked_in_memory_and_on_disk(dtype, stored, tmp_path):
    net = nissl.load(tiny("llama"))
    where = {"store": tmp_path / "a.zarr"} if stored else {}
    rec = nissl.record(net, ids(), sites=SITE, dtype=dtype, progress=False, **where)
    exact = net.run(ids(), sites=SITE)[SITE].flatten(0, 1)
    expected = exact.to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(np.asarray(rec.values, dtype=np.float32), expected)
    if not stored:
        assert rec.dtype == ("float16" if dtype == "float16" else "float32")


def test_types_that_a_recording_has_not_are_refused(tmp_path):
    net = nissl.load(tiny("llama"))
    for where in ({}, {"store": tmp_path / "a.zarr"}):
        with pytest.raises(NisslError, match="int8"):
            nissl.record(net, ids(), sites=SITE, dtype="int8", progress=False, **where)


def test_an_array_to_record_into_holds_one_recording(tmp_path):
    net, x = nissl.load(tiny("conv")), inputs("conv")
    first = nissl.record(net, x, sites="conv1", progress=False)
    out = np.empty(first.shape)
    with pytest.raises(NisslError, match="2 kinds of samples"):
        nissl.record(net, x, sites=["conv1", "head"], out=out, progress=False)
    with pytest.raises(NisslError, match="out= or to store="):
        nissl.record(net, x, sites="conv1", out=out, store=tmp_path / "a.zarr", progress=False)
    for dtype in ("float16", "float32", "bfloat16"):
        with pytest.raises(NisslError, match="dtype asks for"):
            nissl.record(net, x, sites="conv1", out=out, dtype=dtype, progress=False)
    for wrong in (out.astype(int), out.tolist(), out.astype(complex)):
        with pytest.raises(NisslError, match="not an array of floating"):
            nissl.record(net, x, sites="conv1", out=wrong, progress=False)
    fixed = out.copy()
    fixed.flags.writeable = False
    with pytest.raises(NisslError, match="cannot be written"):
        nissl.record(net, x, sites="conv1", out=fixed, progress=False)
    for fitting in (out, out.astype("float32"), np.asfortranarray(out)):
        rec = nissl.record(net, x, sites="conv1", out=fitting, progress=False)
        assert np.shares_memory(rec.values, fitting)
        np.testing.assert_allclose(fitting, first.values, rtol=1e-6)
