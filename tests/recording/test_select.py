"""Either table selects; what is not there is named with what is near."""

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording, select

SITES = ["blocks.0.mlp.neurons", "blocks.1.mlp.neurons", "blocks.1.attn.out", "blocks.10.mlp.gate"]


@pytest.fixture
def rec():
    return as_recording(
        np.arange(6 * 12).reshape(6, 12),
        samples={"stimulus": list("abcabc"), "time": np.arange(6) / 2, "trial": [0, 0, 0, 1, 1, 1]},
        units={"site": np.repeat(SITES, 3), "index": np.tile([0, 5, 55], 4)},
        attrs={"seed": 1},
    )


@pytest.mark.parametrize(
    ("samples", "rows"),
    [
        ({"stimulus": "a"}, [0, 3]),
        ({"stimulus": ["c", "a"]}, [0, 2, 3, 5]),
        ({"stimulus": {"b"}, "trial": 1}, [4]),
        ({"time": lambda t: t > 1}, [3, 4, 5]),
        ({"stimulus": lambda s: s == "b", "time": [0.5]}, [1]),
        ({"trial": []}, []),
        (np.array([True, False] * 3), [0, 2, 4]),
        ([True] + [False] * 5, [0]),
        ([4, 0, -1], [4, 0, 5]),
        (2, [2]),
        (slice(1, None, 2), [1, 3, 5]),
        ([], []),
    ],
)
def test_samples(rec, samples, rows):
    found = select(rec, samples=samples)
    np.testing.assert_array_equal(found.values, rec.values[rows])
    np.testing.assert_array_equal(found["time"].values, rec["time"].values[rows])
    assert found.attrs == rec.attrs


@pytest.mark.parametrize(
    ("units", "columns"),
    [
        ("blocks.1.mlp.neurons[5]", [4]),
        ("blocks.*.mlp.neurons[5]", [1, 4]),
        ("blocks.*.mlp.*[5]", [1, 4, 10]),
        ("blocks.1.mlp.neurons", [3, 4, 5]),
        ("blocks.1.*", [3, 4, 5, 6, 7, 8]),
        (["blocks.1.attn.out[0]", "blocks.0.mlp.neurons[*]"], [6, 0, 1, 2]),
        (["blocks.1.attn.out[0]", "blocks.1.attn.out"], [6, 7, 8]),
        (np.array(["blocks.1.attn.out[55]"]), [8]),
        ({"site": "blocks.1.attn.out", "index": [0, 5]}, [6, 7]),
        ({"index": lambda i: i > 50}, [2, 5, 8, 11]),
        ({"unit": ["blocks.1.attn.out[0]"]}, [6]),
        ([3, 1], [3, 1]),
        (slice(2), [0, 1]),
        (np.arange(12) == 7, [7]),
    ],
)
def test_units(rec, units, columns):
    found = select(rec, units=units)
    np.testing.assert_array_equal(found.values, rec.values[:, columns])
    np.testing.assert_array_equal(found["unit"].values, rec["unit"].values[columns])


def test_both_sides_at_once(rec):
    found = select(rec, samples={"trial": 1}, units="blocks.0.mlp.neurons")
    np.testing.assert_array_equal(found.values, rec.values[3:, :3])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": {"stimuls": "a"}}, "did you mean 'stimulus'"),
        ({"samples": {"site": "a"}}, "no sample coordinate is called 'site'"),
        ({"samples": {"stimulus": "d"}}, "no stimulus is called 'd'"),
        ({"units": "blocks.1.mlp.neuron[5]"}, r"did you mean 'blocks.1.mlp.neurons\[5\]'"),
        ({"units": ["blocks.2.*"]}, "no unit is called"),
        ({"units": {"site": "blocks.1.mlp.neuron"}}, "did you mean 'blocks.1.mlp.neurons'"),
    ],
)
def test_unknown_names_come_with_the_nearest(rec, options, says):
    with pytest.raises(UnknownName, match=says):
        select(rec, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": {"trial": 7}}, "no sample has trial 7"),
        ({"samples": {"trial": "0"}}, "no sample has trial '0'"),
        ({"samples": [True, False]}, r"shape \(2,\) does not fit 6 samples"),
        ({"samples": [0, 6]}, "no sample 6"),
        ({"samples": [0.5]}, "float64"),
        ({"samples": "a"}, "cannot be selected"),
        ({"samples": {"time": lambda t: t}}, "returned float64"),
        ({"samples": {"time": lambda t: True}}, r"returned bool of shape \(\)"),
    ],
)
def test_what_does_not_fit_is_said(rec, options, says):
    with pytest.raises(NisslError, match=says):
        select(rec, **options)


def test_lazy_recordings_stay_lazy(rec):
    pytest.importorskip("dask")
    found = select(rec.chunk(), samples={"trial": 1}, units="blocks.1.*")
    assert found.chunks is not None
    np.testing.assert_array_equal(found.values, rec.values[3:, 3:9])
