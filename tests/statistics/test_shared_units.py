"""Shared units: chance is that of all draws."""

import itertools

import numpy as np
import pandas as pd
import pytest

from nissl.statistics import shared_units


def test_chance_of_an_overlap_is_that_of_all_draws():
    units = pd.DataFrame({"unit": list("abcdefgh"), "layer": [0] * 4 + [1] * 4})
    first, second = ["a", "b", "e"], ["a", "c", "e", "f"]
    drawn = [
        len({*one, other} & set(second))
        for one in itertools.combinations("abcd", 2)
        for other in "efgh"
    ]
    found = shared_units(first, second, units)
    assert found["shared"] == 2
    assert found["shared_by_chance"] == pytest.approx(np.mean(drawn))
    assert found["p_shared"] == pytest.approx(np.mean(np.array(drawn) >= 2))
