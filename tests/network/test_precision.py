"""The probe of the number type: it measures, the faster type is taken, and it is said."""

import pytest
import torch

import nissl
from nissl.network import precision
from tiny import tiny


@pytest.mark.parametrize(
    ("seconds", "chosen"), [(0.5, torch.bfloat16), (0.9, torch.float32), (3.0, torch.float32)]
)
def test_a_type_that_is_not_much_faster_is_not_taken(
    monkeypatch, capsys, tmp_path, seconds, chosen
):
    tiny("llama", dtype=torch.float32).save_pretrained(tmp_path)
    capsys.readouterr()
    timed = []

    def fake(x, weight):
        timed.append((x.dtype, tuple(weight.shape)))
        return 1.0 if x.dtype is torch.float32 else seconds

    monkeypatch.setattr(precision, "_seconds", fake)
    net = nissl.load(tmp_path, dtype="auto")
    assert net.dtype == chosen
    assert set(timed) == {(torch.float32, (24, 16)), (torch.bfloat16, (24, 16))}
    number = len(timed)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{str(chosen).removeprefix('torch.')}: bfloat16 is multiplied {1 / seconds:.1f}" in said
    assert nissl.load(tmp_path, dtype="float32").dtype == torch.float32
    assert nissl.load(tmp_path).dtype == torch.float32
    assert len(timed) == number
    assert not capsys.readouterr().err


def test_this_processor_is_measured():
    dtype, ratio = precision.faster_dtype(256, 512)
    assert ratio > 0
    assert dtype in (torch.float32, torch.bfloat16)
