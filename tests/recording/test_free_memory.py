"""What cannot fit into memory is refused with its size, before it is made."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import bin_spikes
from nissl.recording.free_memory import free_memory, require_memory


def test_what_fits_is_let_pass_and_what_does_not_is_measured(monkeypatch):
    assert free_memory() is None or free_memory() > 1 << 20
    monkeypatch.setattr("nissl.recording.free_memory.free_memory", lambda: 2_000_000)
    require_memory(2_000_000, "this", do="nothing")
    with pytest.raises(NisslError, match=r"this needs 3\.5 GB of memory, and 2\.0 MB are free"):
        require_memory(3_500_000_000, "this", do="less")
    monkeypatch.setattr("nissl.recording.free_memory.free_memory", lambda: None)
    require_memory(1 << 60, "this", do="nothing")


def test_spikes_in_milliseconds_taken_for_seconds_are_refused(monkeypatch):
    monkeypatch.setattr("nissl.recording.free_memory.free_memory", lambda: 1 << 20)
    events = {"time": np.array([0.0, 3.6e6]), "unit": [0, 1]}
    with pytest.raises(NisslError, match=r"36,000,001 bins of 2 units needs 288\.0 MB") as caught:
        bin_spikes(events, bin=0.1)
    assert "seconds" in caught.value.do
