"""Fingerprints tell values of other content apart, and equal ones made apart together."""

import functools
import operator
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nissl import NisslError
from nissl.fingerprint import fingerprint

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(PLAIN, PLAIN)
def test_plain_values_are_equal_where_their_texts_are(a, b):
    assert (fingerprint(a) == fingerprint(b)) == (repr_of(a) == repr_of(b))


def repr_of(value):
    if isinstance(value, dict):
        return {"mapping": sorted((key, repr(repr_of(x))) for key, x in value.items())}
    return [repr_of(x) for x in value] if isinstance(value, list) else repr(value)


def made(scale, shift=0):
    def loss(x):
        return scale * x + shift

    return loss


class Counting:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return self.n * x


def quantised(seed):
    torch.manual_seed(seed)
    linear = nn.Sequential(nn.Linear(4, 3))
    return torch.ao.quantization.quantize_dynamic(linear, {nn.Linear}, torch.qint8)


DIFFERENT = [
    lambda: (np.arange(3), np.arange(3.0)),
    lambda: (np.zeros((2, 3)), np.zeros((3, 2))),
    lambda: (torch.zeros(3), torch.tensor([0.0, 0.0, 1e-30])),
    lambda: (torch.zeros(3), torch.zeros(3, dtype=torch.bfloat16)),
    lambda: (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
    lambda: (slice(1, None), slice(4, None)),
    lambda: (made(1.0), made(-2.0)),
    lambda: (made(1.0), made(1.0, shift=3)),
    lambda: (functools.partial(made, scale=1.0), functools.partial(made, scale=-2.0)),
    lambda: (Counting(1), Counting(2)),
    lambda: (Counting(1).__call__, Counting(2).__call__),
    lambda: (lambda x: x + 1, lambda x: x + 2),
    lambda: (nn.Linear(2, 2), nn.Linear(2, 2)),
    lambda: (quantised(0), quantised(1)),
    lambda: ([1, [2]], [[1], 2]),
    lambda: ({"a": 1}, [("a", 1)]),
    lambda: (len, max),
    lambda: (re.compile("a"), re.compile("b")),
    lambda: (operator.itemgetter(1), operator.itemgetter(2)),
]


@pytest.mark.parametrize("pair", DIFFERENT)
def test_other_content_has_another_fingerprint(pair):
    one, other = pair()
    assert fingerprint(one) != fingerprint(other)
    if not isinstance(one, nn.Linear):  # its weights are drawn
        assert [fingerprint(one), fingerprint(other)] == list(map(fingerprint, pair()))


def test_another_process_has_the_same_fingerprint():
    value = "{'to': 5.0, 'units': ['a', 'b'], 'at': {1, 2, 'x'}, 'f': len}"
    code = f"from nissl.fingerprint import fingerprint; print(fingerprint({value}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert told == {fingerprint(eval(value)) + "\n"}


def test_circles_end_and_what_cannot_be_read_is_refused():
    circle = [1]
    circle.append(circle)
    assert fingerprint(circle) == fingerprint(circle)
    with pytest.raises(NisslError, match="cannot be read"):
        fingerprint(iter([1]))
    with pytest.raises(NisslError, match="without memory"):
        fingerprint(torch.zeros(2, device="meta"))
