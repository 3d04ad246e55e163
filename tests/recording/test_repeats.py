"""Repeats: side by side in the order they came, and in halves that share none."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.recording import aggregate, as_recording
from nissl.recording.repeats import aligned_responses, halves_of_repeats

RNG = np.random.default_rng(0)


def test_repeats_stand_side_by_side_and_lacking_ones_are_not_numbers():
    stimuli = ["b", "a", "b", "c", "a", "b"]
    rec = as_recording(RNG.standard_normal((6, 4)), samples={"stimulus": stimuli})
    [found], [means] = aligned_responses([{"site": rec}], "stimulus", repeats=True)
    assert found["site"].shape == (3, 3, 4)
    rows = {0: [0, 2, 5], 1: [1, 4], 2: [3]}  # in the order in which stimuli come
    for stimulus, samples in rows.items():
        assert np.array_equal(found["site"][stimulus, : len(samples)], rec.values[samples])
        assert np.isnan(found["site"][stimulus, len(samples) :]).all()
    assert means["site"].equals(aggregate(rec))


def test_arrays_have_their_repeats_already():
    x = RNG.standard_normal((5, 3, 2))
    x[1, 2] = np.nan
    sites = {"both": x, "flat": x[:, 0]}
    [found], [means] = aligned_responses([sites], "stimulus", repeats=True)
    assert np.array_equal(found["both"], x, equal_nan=True)
    assert np.allclose(means["both"][1], x[1, :2].mean(0))
    assert means["flat"] is found["flat"]


def test_halves_share_no_sample_and_leave_none_out():
    stimuli = RNG.permutation(np.repeat(list("abcd"), 6))
    rec = as_recording(2.0 ** np.arange(24)[:, None], samples={"stimulus": stimuli})
    one, two = halves_of_repeats(rec, "stimulus", np.random.default_rng(1))
    assert one["stimulus"].values.tolist() == two["stimulus"].values.tolist()
    for name, a, b in zip(one["stimulus"].values, one.values[:, 0], two.values[:, 0], strict=True):
        # Sums of powers of two say which samples were taken.
        taken = [{i for i in range(24) if round(3 * x) >> i & 1} for x in (a, b)]
        assert [len(t) for t in taken] == [3, 3]
        assert taken[0] | taken[1] == set(np.flatnonzero(stimuli == name))
    other, _ = halves_of_repeats(rec, "stimulus", np.random.default_rng(2))
    assert not np.array_equal(other.values, one.values)


def test_sides_are_read_as_they_are_or_refused():
    one, two = {"a": RNG.random((4, 2))}, {"b": RNG.random((4, 3))}
    read, means = aligned_responses([one, two], "stimulus", repeats=False)
    assert read == means == [one, two]
    for repeats in (False, True):
        with pytest.raises(NisslError, match="numbers of stimuli"):
            aligned_responses([one, {"b": RNG.random((5, 3))}], "stimulus", repeats=repeats)
