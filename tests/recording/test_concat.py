"""Put together, recordings keep every number and name; what does not fit is refused."""

import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording, concat


def run(stimuli, seed=0, n_units=3, **samples):
    values = np.random.default_rng(seed).normal(size=(len(stimuli), n_units)).astype(np.float32)
    return as_recording(
        values,
        samples={"stimulus": stimuli, **samples},
        units={"unit": [f"v[{i}]" for i in range(n_units)], "x": np.array([0.5, np.nan, 2.0])},
        attrs={"subject": 1, "run": seed},
    )


class Counted(BackendArray):
    """An array that remembers how much of it was read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __getitem__(self, key):
        def read(k):
            part = self.values[
                np.ix_(*(np.arange(n)[i] for n, i in zip(self.shape, k, strict=True)))
            ]
            self.read += part.size
            return part

        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, read
        )


def lazy(rec):
    counted = Counted(rec.values)
    variable = xr.Variable(rec.dims, indexing.LazilyIndexedArray(counted))
    return xr.DataArray(variable, coords=rec.coords, attrs=rec.attrs), counted


def test_samples_follow_one_another():
    a, b = run(["cat", "dog"], 0), run(["eel", "dog", "cat"], 1)
    rec = concat([a, b])
    np.testing.assert_array_equal(rec.values, np.concatenate([a.values, b.values]))
    assert rec["stimulus"].values.tolist() == ["cat", "dog", "eel", "dog", "cat"]
    np.testing.assert_array_equal(rec["x"].values, a["x"].values)
    assert rec.attrs == {"quantity": "activity", "subject": 1, "run": "[0, 1]"}
    assert rec.dtype == np.float32


def test_units_stand_side_by_side():
    a = run(["cat", "dog"])
    b = as_recording(
        np.ones((2, 2)),
        samples={"stimulus": ["cat", "dog"], "time": [0.0, 1.0]},
        units={"unit": ["c", "d"], "region": ["V1", "V2"], "layer": [1, 2]},
    )
    rec = concat([a, b], along="unit")
    np.testing.assert_array_equal(rec.values, np.concatenate([a.values, b.values], axis=1))
    assert rec["region"].values.tolist() == ["", "", "", "V1", "V2"]
    assert rec["layer"].values.tolist() == [-1, -1, -1, 1, 2]
    np.testing.assert_array_equal(rec["x"].values, [0.5, np.nan, 2.0, np.nan, np.nan])
    assert rec["time"].values.tolist() == [0.0, 1.0]


def test_one_recording_is_itself():
    a = run(["cat", "dog"])
    assert concat([a]).identical(a)
    assert concat([a], along="unit").identical(a)


@pytest.mark.parametrize("along", ["sample", "unit"])
def test_lazy_recordings_are_read_only_where_looked_at(along):
    a, b = run(["cat", "dog"], 0), run(["eel", "cow"], 1)
    if along == "unit":
        b = b.assign_coords(unit=[f"w[{i}]" for i in range(3)], stimulus=a["stimulus"])
    (left, read_left), (right, read_right) = lazy(a), lazy(b)
    rec = concat([left, right], along=along)
    whole = np.concatenate([a.values, b.values], axis=0 if along == "sample" else 1)
    assert (read_left.read, read_right.read) == (0, 0)
    np.testing.assert_array_equal(rec[0, :2].values, whole[0, :2])
    assert (read_left.read, read_right.read) == (2, 0)
    np.testing.assert_array_equal(rec[[1, 0], [2, 0]].values, whole[[1, 0]][:, [2, 0]])
    np.testing.assert_array_equal(rec.values, whole)


def test_dask_stays_dask():
    pytest.importorskip("dask")
    a, b = run(["cat", "dog"], 0), run(["eel", "cow"], 1)
    rec = concat([a.chunk(), lazy(b)[0]])
    assert rec.chunks is not None
    np.testing.assert_array_equal(rec.values, np.concatenate([a.values, b.values]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b.isel(unit=[0, 1]), r"1 units are only in 0, 0 only in 1 \(v\[2\]\)"),
        (lambda b: b.isel(unit=[1, 0, 2]), "another order"),
        (lambda b: b.assign_coords(x=("unit", [0.0, 1.0, 2.0])), "differ in 'x'"),
        (lambda b: b.drop_vars("x"), "differ in 'x'"),
        (lambda b: b.drop_vars("stimulus"), "same sample coordinates: stimulus"),
        (lambda b: b.assign_coords(stimulus=("sample", [0, 1])), "words in one recording"),
        (lambda b: b.assign_attrs(quantity="spikes"), "activity, spikes"),
    ],
)
def test_samples_of_different_units_are_refused(change, says):
    a = run(["cat", "dog"])
    with pytest.raises(NisslError, match=says):
        concat([a, change(a)])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b, r"3 addresses occur in more than one recording: v\[0\]"),
        (lambda b: b.isel(sample=[0]), "2 samples, recording 1 1"),
        (lambda b: b.isel(sample=[1, 0]), "differ in the sample coordinate 'stimulus'"),
        (lambda b: b.assign_coords(x=("unit", list("abc"))), "words in one recording"),
        (lambda b: b.drop_vars("x").assign_coords(x=("sample", [0, 1])), "of samples in one"),
        (lambda b: b.rename(x="k").assign_coords(k=("unit", [1, 2, 3])), "addresses"),
    ],
)
def test_units_of_different_samples_are_refused(change, says):
    a = run(["cat", "dog"])
    with pytest.raises(NisslError, match=says):
        concat([a, change(a)], along="unit")


def test_scalar_coordinates_that_differ_become_columns():
    a, b = run(["cat", "dog"]), run(["cat", "dog"])
    a = a.assign_coords(subject="ann", site=3)
    b = b.assign_coords(subject="bob", site=3)
    rec = concat([a, b])
    assert rec["subject"].values.tolist() == ["ann", "ann", "bob", "bob"]
    assert int(rec["site"]) == 3
    b = b.assign_coords(unit=["d", "e", "f"])
    assert concat([a, b], along="unit")["subject"].values.tolist() == ["ann"] * 3 + ["bob"] * 3


def test_numbers_of_other_tables_are_refused():
    a, b = run(["cat", "dog"], token=[1, 2]), run(["cat", "dog"], token=[1, 2])
    b = b.assign_coords(unit=["d", "e", "f"])
    b["token"].attrs["names_from"] = "gpt2"
    for recs, along in (([a, b.assign_coords(unit=a["unit"])], "sample"), ([a, b], "unit")):
        with pytest.raises(NisslError, match="'token' do not mean the same"):
            concat(recs, along=along)


def test_bad_input_is_said():
    with pytest.raises(NisslError, match="nothing"):
        concat([])
    with pytest.raises(UnknownName, match="did you mean 'unit'"):
        concat([run(["a"])], along="units")


def stated(**attrs):
    return as_recording(np.zeros((2, 1)), units={"unit": [str(sorted(attrs.items()))]}, attrs=attrs)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("measured_in", "V", "uV"),
        ("sampling_rate", 100.0, 1000.0),
        ("bin", 0.1, 0.5),
        ("repetition_time", 2.0, 2.5),
    ],
)
@pytest.mark.parametrize("along", ["sample", "unit"])
def test_what_was_measured_otherwise_is_not_joined(name, one, other, along):
    a, b = stated(**{name: one}), stated(**{name: other})
    if along == "sample":
        b = b.assign_coords(unit=a["unit"].values)
    elif name == "measured_in":  # units side by side each know their own
        both = concat([a, b], along="unit")
        assert both["measured_in"].values.tolist() == [one, other]
        assert "measured_in" not in both.attrs
        return
    with pytest.raises(NisslError, match=f"differ in '{name}': {one}, {other}"):
        concat([a, b], along=along)
    assert concat([a, a], along="sample").attrs[name] == one


def test_units_whose_coordinates_mean_something_else_are_not_joined():
    a, b = (as_recording(np.zeros((2, 1)), units={"x": [1.0]}) for _ in range(2))
    a["x"].attrs["unit"], b["x"].attrs["unit"] = "mm", "m"
    with pytest.raises(NisslError, match="differ in 'x'"):
        concat([a, b])
    with pytest.raises(NisslError, match="do not mean the same"):
        concat([a, b.assign_coords(unit=["other"])], along="unit")
