"""Sites of recordings, arrays and mappings of them."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.recording import as_recording
from nissl.recording.units_by_site import by_site


def recording(*sites):
    return as_recording(np.arange(2.0 * len(sites)).reshape(2, -1), units={"site": list(sites)})


def test_each_site_is_one_by_itself():
    rec = recording("b", "a", "b")
    found = by_site(rec)
    assert list(found) == ["b", "a"]
    assert found["b"].values.tolist() == [[0, 2], [3, 5]]
    assert list(by_site(recording("a", "a"))) == ["a"]
    assert list(by_site(as_recording(np.ones((2, 2))))) == ["first"]
    assert list(by_site([[1, 2], [3, 4]], "second")) == ["second"]


def test_of_a_mapping_the_names_are_its_own():
    array, one, two = np.ones((2, 3)), recording("a"), recording("b", "c")
    assert list(by_site({"x": array, "y": one, "z": two})) == ["x", "y", "b", "c"]
    assert by_site({"x": np.ones((2, 4, 3))}, repeats=True)["x"].shape == (2, 4, 3)


def test_what_cannot_be_is_said():
    with pytest.raises(NisslError, match="nothing to compare"):
        by_site({})
    for bad in (np.ones(3), np.ones((2, 4, 3)), [["a", "b"]]):
        with pytest.raises(NisslError, match="activity of shape"):
            by_site(bad)
    with pytest.raises(NisslError, match="two recordings have a site 'b'"):
        by_site({"one": recording("b", "c"), "two": recording("a", "b")})
