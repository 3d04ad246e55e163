"""Shuffled rows: each row about once, mixed from anywhere, the same for the same step."""

import numpy as np
import pytest
import torch

from nissl import NisslError
from nissl.recording import as_recording, open_store, save
from nissl.training import ShuffledRows


@pytest.fixture
def small(monkeypatch):
    import sys

    module = sys.modules["nissl.training.shuffled_rows"]
    monkeypatch.setattr(module, "BLOCK", 16)
    monkeypatch.setattr(module, "POOL", 4)


def numbers(n=640):
    return as_recording(np.arange(2.0 * n, dtype=np.float32).reshape(n, 2))


def test_every_row_comes_once_in_an_epoch_and_pairs_stay_together(small):
    rec = numbers()
    rows = ShuffledRows([rec, rec * 10], batch_size=32)
    batches = [rows(step) for step in range(len(rows))]
    seen = torch.cat([x[:, 0] for x, _ in batches])
    assert sorted((seen / 2).int().tolist()) == list(range(640))
    for x, y in batches:
        assert torch.equal(10 * x, y)
    assert len(set(np.diff(seen[:32].numpy()))) > 8  # neighbours are apart
    blocks = {int(v) // 32 for v in batches[0][0][:, 0]}
    assert len(blocks) >= 3


def test_a_step_alone_decides_and_the_seed(small):
    rows, again = (ShuffledRows([numbers()], batch_size=32) for _ in range(2))
    later = rows(70)[0]
    rows(3)
    assert torch.equal(rows(70)[0], later)
    assert torch.equal(again(70)[0], later)
    other = ShuffledRows([numbers()], batch_size=32, seed=1)
    assert not torch.equal(other(70)[0], later)
    assert rows.fingerprint == again.fingerprint != other.fingerprint


def test_a_store_is_read_in_blocks(small, tmp_path):
    stored = open_store(save(numbers(), tmp_path / "a.zarr"))
    rows, plain = (ShuffledRows([rec], batch_size=32) for rec in (stored, numbers()))
    assert torch.equal(rows(5)[0], plain(5)[0])
    assert rows.fingerprint == plain.fingerprint


def test_what_is_no_number_is_refused(small):
    values = np.ones((64, 2), dtype=np.float32)
    values[60, 1] = np.nan
    rows = ShuffledRows([as_recording(values)], batch_size=32)
    with pytest.raises(NisslError, match="not finite"):
        [rows(step) for step in range(2)]
