"""A Recording is a plain DataArray with two labelled sides; what is not one is said to be."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from nissl.recording import (
    NotARecording,
    as_recording,
    check,
    samples_table,
    units_table,
)


def test_values_are_kept_without_a_copy():
    values = np.zeros((4, 3), np.float16)
    rec = as_recording(values, quantity="gradient", attrs={"seed": 3})
    assert np.shares_memory(rec.values, values)
    assert rec.attrs == {"quantity": "gradient", "seed": 3}
    assert type(rec) is xr.DataArray


def test_attributes_of_a_column_are_kept():
    given = xr.DataArray(["b", "a"], dims="row", attrs={"long_name": "picture"})
    rec = as_recording(np.zeros((2, 1)), samples={"stimulus": given})
    assert rec["stimulus"].attrs == {"long_name": "picture"}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["a", None, "b"]), ["a", "", "b"]),
        (np.array([1, 2, 3], dtype=object), [1, 2, 3]),
        (pd.array([1, None, 3], dtype="Int64"), [1.0, np.nan, 3.0]),
        (pd.Categorical(["a", "b", "a"]), ["a", "b", "a"]),
        (np.array(["a", 1, None], dtype=object), ["a", "1", ""]),
        (np.array(["a", "bc", "a"], dtype=np.dtypes.StringDType()), ["a", "bc", "a"]),
        (np.array([True, False, True]), [True, False, True]),
    ],
)
def test_columns_of_objects_become_numbers_or_words(column, expected):
    rec = as_recording(np.zeros((3, 3)), samples={"label": column}, units={"kind": column})
    np.testing.assert_array_equal(rec["label"].values, expected)
    np.testing.assert_array_equal(rec["kind"].values, expected)


def test_tables_give_back_what_was_put_in():
    samples = pd.DataFrame({"trial": [0, 0, 1], "side": ["l", "r", "l"]})
    units = pd.DataFrame({"unit": ["a", "b"], "x": [0.5, 1.5]})
    rec = as_recording(np.zeros((3, 2)), samples=samples, units=units)
    assert samples_table(rec).to_dict("list") == samples.to_dict("list")
    assert units_table(rec).to_dict("list") == units.to_dict("list")
    again = as_recording(rec.values, samples={"side": rec["side"]})
    assert again["side"].values.tolist() == ["l", "r", "l"]


def test_addresses_come_from_site_and_index():
    rec = as_recording(np.zeros((1, 2)), units={"site": ["a.b", "c"], "index": [5, 0]})
    assert rec["unit"].values.tolist() == ["a.b[5]", "c[0]"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"values": np.zeros(3)}, "shape"),
        ({"values": np.zeros((2, 2)), "samples": {"trial": [1]}}, "2 samples"),
        ({"values": np.zeros((2, 2)), "units": {"x": [1]}}, "2 units"),
        ({"values": np.zeros((2, 2)), "units": {"unit": ["a", "a"]}}, "repeat: 'a'"),
        ({"values": np.zeros((2, 2)), "units": {"unit": [0, 1]}}, "not strings"),
        ({"values": np.zeros((2, 2)), "samples": {"x": [0, 1]}, "units": {"x": [0, 1]}}, "'x' is"),
        ({"values": np.zeros((2, 2)), "attrs": {"texts": ["a"]}}, "'texts' is a list"),
        ({"values": np.array([["a"]])}, "holds numbers"),
        ({"values": np.zeros((2, 2)), "samples": {"sample": [0, 1]}}, "index"),
    ],
)
def test_what_does_not_fit_is_said(arguments, says):
    with pytest.raises(NotARecording, match=says):
        as_recording(**arguments)


def test_an_index_on_samples_is_refused_whatever_its_name():
    rec = as_recording(np.zeros((2, 2)), samples={"trial": [0, 1]})
    with pytest.raises(NotARecording, match="index"):
        check(rec.set_xindex("trial"))
    with pytest.raises(NotARecording, match="dims"):
        check(rec.T)
    with pytest.raises(NotARecording, match="addresses"):
        check(rec.drop_vars("unit"))


@pytest.mark.parametrize(
    "column",
    [np.array([b"a", b"b"]), np.array(["a", "b"], np.dtypes.StringDType()), np.array(["a", None])],
)
@pytest.mark.parametrize("side", ["sample", "unit"])
def test_what_is_neither_a_number_nor_a_word_is_refused(column, side):
    rec = as_recording(np.zeros((2, 2)))
    with pytest.raises(NotARecording, match="neither numbers nor words"):
        check(rec.assign_coords(label=(side, column)))
    assert check(rec.assign_coords(label=(side, ["a", "b"])))["label"].values.tolist() == ["a", "b"]
