"""Aligned means the same things in the same order; anything else is refused, and said why."""

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import align, as_recording
from nissl.recording.align import require_aligned


def of(*stimuli, n_units=2):
    values = np.array([[sum(map(ord, str(s))) + u for u in range(n_units)] for s in stimuli], float)
    return as_recording(values, samples={"stimulus": np.asarray(stimuli)})


def test_equal_words_align():
    a = of("cat", "dog", "eel")
    b = of("zebra", "eel", "dog", "cat").isel(sample=[3, 2, 1])
    left, right = align(a, b)
    assert left is a
    np.testing.assert_array_equal(left.values, right.values)
    assert right["stimulus"].values.tolist() == ["cat", "dog", "eel"]


def test_different_words_do_not_align():
    with pytest.raises(NisslError, match="1 values of 'stimulus' are missing in the second"):
        align(of("cat", "dog"), of("cat", "cow"))


def test_another_order_is_refused_or_put_right():
    a, b = of("cat", "dog", "eel"), of("cat", "eel", "dog")
    with pytest.raises(NisslError, match="sample 1 is 'dog' in the first recording and 'eel'"):
        align(a, b)
    _, right = align(a, b, order="first")
    np.testing.assert_array_equal(right.values, a.values)


def test_gaps_are_refused_or_dropped():
    a, b = of("cat", "dog", "eel"), of("owl", "cat", "eel")
    with pytest.raises(NisslError, match="missing in the second recording: 'dog'"):
        align(a, b)
    with pytest.raises(NisslError, match="missing in the first recording: 'owl'"):
        align(of("cat"), of("owl", "cat"))
    left, right = align(a, b, missing="drop")
    assert left["stimulus"].values.tolist() == ["cat", "eel"]
    np.testing.assert_array_equal(left.values, right.values)
    with pytest.raises(NisslError, match="another order"):
        align(a, of("eel", "cat"), missing="drop")


def test_duplicates_are_refused():
    with pytest.raises(NisslError, match="more than once in the second recording: 'dog'") as caught:
        align(of("cat", "dog"), of("cat", "dog", "dog"), missing="drop")
    assert "aggregate" in caught.value.do


def test_jitter_is_refused_and_measured():
    time = np.arange(5) / 10
    a = as_recording(np.zeros((5, 1)), samples={"time": time})
    b = as_recording(np.zeros((5, 1)), samples={"time": time + 1e-9})
    with pytest.raises(NisslError, match="nearest is 1e-09 off") as caught:
        align(a, b, on="time")
    assert "round" in caught.value.do


def test_numbers_and_words_do_not_meet():
    with pytest.raises(NisslError, match="numbers in the first recording and words"):
        align(of(0, 1), of("0", "1"))
    assert align(of(0, 1), as_recording(np.zeros((2, 1)), samples={"stimulus": [0.0, 1.0]}))


def test_bad_input_is_said():
    a = of("cat", "dog")
    with pytest.raises(UnknownName, match="second recording is called 'stimulus'"):
        align(a, as_recording(np.zeros((2, 1)), samples={"stimuli": [0, 1]}))
    with pytest.raises(UnknownName, match="did you mean 'drop'"):
        align(a, a, missing="drops")
    nan = as_recording(np.zeros((2, 1)), samples={"stimulus": [0.0, np.nan]})
    with pytest.raises(NisslError, match="1 samples of the first recording have no"):
        align(nan, nan)


def test_lazy_recordings_stay_lazy():
    pytest.importorskip("dask")
    a = of("cat", "dog", "eel")
    _, right = align(a, of("eel", "dog", "cat").chunk(), order="first")
    assert right.chunks is not None
    np.testing.assert_array_equal(right.values, a.values)


def test_token_ids_of_other_tokenizers_do_not_align():
    a = as_recording(np.zeros((2, 1)), samples={"token": [1, 2]})
    b = a.copy()
    a["token"].attrs["names_from"] = "gpt2"
    with pytest.raises(NisslError, match="do not mean the same"):
        align(a, b, on="token")


def test_sites_are_aligned_or_refused():
    a, b = of("cat", "dog"), of("dog", "cat")
    bare = np.ones((2, 3))
    require_aligned({"a": a, "bare": bare}, {"again": a}, on="stimulus")
    require_aligned({"bare": bare}, {}, on="stimulus")
    with pytest.raises(NisslError, match="order"):
        require_aligned({"a": a}, {"b": b}, on="stimulus")
    with pytest.raises(NisslError, match=r"numbers of stimuli \(a: 2, bare: 3\)"):
        require_aligned({"a": a}, {"bare": np.ones((3, 3))}, on="stimulus")
    with pytest.raises(NisslError, match="'b' has no sample coordinate 'stimulus'"):
        require_aligned({"a": a}, {"b": b.drop_vars("stimulus")}, on="stimulus")
