"""A Test holds what every tested method repeats, and refuses what cannot be at once."""

import re
from pathlib import Path

import numpy as np
import pytest

import nissl
from nissl.errors import NisslError, UnknownName
from nissl.statistics import CircularShift, MatchedUnits, PermutedLabels, Test
from nissl.statistics.nulls import LabelNull


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"tail": "gdp"}, "gpd"),
        ({"alternative": "twosided"}, "two-sided"),
        ({"correction": "b"}, "bh"),
    ],
)
def test_options_that_are_not_known_come_with_the_nearest(options, nearest):
    with pytest.raises(UnknownName, match=nearest):
        Test(**options)
    with pytest.raises(NisslError, match="1 draws are too few"):
        Test(n_permutations=1)


def test_a_method_has_draws_and_a_null_of_its_own():
    assert (Test().draws(19), Test(n_permutations=99).draws(19)) == (19, 99)
    own = PermutedLabels(exchange="query")
    assert Test(seed=3).null_or(own) is own
    other = PermutedLabels(within="run")
    assert Test(null=other).null_or(own) is other
    shift = CircularShift()
    assert Test(null=shift).null_or(own, LabelNull) is shift
    for null, kind in ((shift, None), (MatchedUnits(), LabelNull)):
        with pytest.raises(NisslError, match="answers another question"):
            Test(null=null).null_or(own, kind)


def test_what_a_method_cannot_follow_is_refused():
    Test().require(correction=("max",), null=(None,))
    with pytest.raises(NisslError, match="correction='bh' is not what this test can do"):
        Test(correction="bh").require(correction=("max",))


def test_the_methods_own_is_what_a_test_says_by_default():
    assert Test().own() == Test(tail="permutation", correction="max")
    assert Test(seed=2).own(tail="gpd", correction="bh") == Test(
        tail="gpd", correction="bh", seed=2
    )
    assert Test(correction=None).own(correction="bh").correction is None
    # So that a bare Test() can be given wherever nothing need be: no method has another default.
    source = Path(nissl.__file__).parent
    for path in source.rglob("*.py"):
        for default in re.findall(r"\btest: Test(?: \| None)? = (.*?),?$", path.read_text(), re.M):
            assert default.startswith("Test()"), path


def test_it_is_a_value_and_no_class_of_tests():
    assert Test(seed=1) == Test(seed=1) != Test()
    assert len({Test(), Test(), Test(correction=None)}) == 2
    assert not Test.__test__
    with pytest.raises(AttributeError):
        Test().seed = np.int64(3)
