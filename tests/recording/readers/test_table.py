"""Tables arrive with their columns in place; damaged ones are refused, whatever their kind."""

import io
import tracemalloc
import zipfile
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers import read_file, read_table


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 3)), columns=["AVA", "AVB", "RIM"])
    table.insert(0, "stimulus", ["odour", "none"] * 100)
    table.insert(1, "time", np.arange(200) / 4)
    return table


WRITERS = {
    "cells.csv": lambda t, p: t.to_csv(p, index=False),
    "cells.csv.gz": lambda t, p: t.to_csv(p, index=False),
    "cells.tsv": lambda t, p: t.to_csv(p, index=False, sep="\t"),
    "cells.parquet": lambda t, p: t.to_parquet(p),
}


@pytest.mark.parametrize("name", WRITERS)
def test_columns_become_units_and_sample_coordinates(tmp_path, frame, name):
    path = tmp_path / name
    WRITERS[name](frame, path)
    rec = read_file(path, samples=["stimulus", "time"], quantity="calcium", units={"x": [1, 2, 3]})
    np.testing.assert_array_equal(rec.values, frame[["AVA", "AVB", "RIM"]].to_numpy())
    assert rec["unit"].values.tolist() == ["AVA", "AVB", "RIM"]
    assert rec["stimulus"].values.tolist() == frame["stimulus"].tolist()
    np.testing.assert_array_equal(rec["time"].values, frame["time"])
    assert rec["x"].values.tolist() == [1, 2, 3]
    assert rec.attrs == {"quantity": "calcium", "source": name}


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_tables_are_refused(tmp_path, frame, name):
    path = tmp_path / name
    WRITERS[name](frame, path)
    whole = path.read_bytes()
    cut = whole[: len(whole) // 2]
    if b"\n" in cut and not name.endswith("gz"):
        separator = b"\t" if name.endswith("tsv") else b","
        cut = cut[: cut.rindex(separator)]  # within a row: a cut between rows leaves a table
    path.write_bytes(cut)
    with pytest.raises(NisslError, match="damaged, cut short") as caught:
        read_file(path, samples=["stimulus", "time"])
    assert "again" in caught.value.do


def test_npz_columns_go_to_the_side_they_fit(tmp_path):
    path = tmp_path / "worm.npz"
    np.savez(path, dff=np.eye(5, 3), time=np.arange(5.0), unit=np.array(["a", "b", "c"]))
    rec = read_file(path)
    np.testing.assert_array_equal(rec.values, np.eye(5, 3))
    assert rec["time"].dims == ("sample",)
    assert rec["unit"].values.tolist() == ["a", "b", "c"]
    np.savez(path, dff=np.eye(5, 3), sample=np.arange(5), units=np.arange(3))
    assert {"array_sample", "units"} <= set(read_file(path).coords)
    np.save(tmp_path / "plain.npy", np.eye(2, dtype=np.float32))
    assert read_table(tmp_path / "plain.npy").dtype == np.float32


def test_npz_that_could_be_read_two_ways_is_asked_about(tmp_path):
    path = tmp_path / "two.npz"
    np.savez(path, a=np.eye(3), b=np.eye(3), side=np.arange(3))
    with pytest.raises(NisslError, match="2 arrays could be the values: a, b"):
        read_table(path)
    with pytest.raises(NisslError, match="'side' is as long as both sides"):
        read_table(path, values="a")
    assert "side" in read_table(path, values="a", samples="side").coords
    with pytest.raises(UnknownName, match="no array is called 'c'"):
        read_table(path, values="c")


def test_truncated_npz_is_refused(tmp_path):
    path = tmp_path / "cut.npz"
    np.savez(path, values=np.random.default_rng(0).normal(size=(50, 20)))
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.98):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(NisslError, match="damaged, cut short"):
            read_table(path)
    np.save(tmp_path / "cut.npy", np.eye(9))
    cut = tmp_path / "cut.npy"
    cut.write_bytes(cut.read_bytes()[:-8])
    with pytest.raises(NisslError, match="damaged, cut short"):
        read_table(cut)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, values=np.eye(2), bad=np.array([{"a": 1}, None]))
    with pytest.raises(NisslError, match="'bad' holds pickled objects"):
        read_table(path)


def test_columns_of_text_are_labels_and_slips_are_not(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("label,a\ncat,1\ndog,2\n")
    rec = read_table(path)
    assert rec["label"].values.tolist() == ["cat", "dog"]
    assert rec["unit"].values.tolist() == ["a"]
    with pytest.raises(UnknownName, match="did you mean 'label'"):
        read_table(path, samples="lable")
    with pytest.raises(NisslError, match="no column is left"):
        read_table(path, samples="a")
    path.write_text("a,b\n1,1\n2,1o\n3,5\n")
    with pytest.raises(NisslError, match="column 'b' holds '1o' among numbers") as caught:
        read_table(path)
    assert "row 1" in caught.value.where
    assert read_table(path, samples="b").shape == (3, 1)


def test_words_of_a_table_stay_words(tmp_path):
    pytest.importorskip("pyarrow")
    words = {"code": ["01", "2", None], "kind": pd.Categorical(["b", None, "é"])}
    pd.DataFrame({**words, "a": [1, 2, 3]}).to_parquet(tmp_path / "table.parquet")
    rec = read_table(tmp_path / "table.parquet")
    assert rec["unit"].values.tolist() == ["a"]
    assert rec["code"].values.tolist() == ["01", "2", ""]
    assert rec["kind"].values.tolist() == ["b", "", "é"]
    assert (rec["code"] == "01").values.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 fields"),
        (b"a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields"),
        (b"a,b\n1,\xff\xfe\n", "damaged"),
        (bytes(range(256)), "damaged"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, says):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(NisslError, match=says):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "options", "units", "values", "labels"),
    [
        ("1.5,2\n3,4\n", {}, ["0", "1"], [[1.5, 2], [3, 4]], {}),
        ("7,7\n3,4\n", {}, ["0", "1"], [[7, 7], [3, 4]], {}),
        ("1,2\n3,4\n", {"header": False}, ["0", "1"], [[1, 2], [3, 4]], {}),
        ("1,2\n3,4\n", {"header": True}, ["1", "2"], [[3, 4]], {}),
        ("0,1,2\n3,4,5\n", {}, ["0", "1", "2"], [[3, 4, 5]], {}),
        (",a,b\n0,1,2\n1,3,4\n", {}, ["a", "b"], [[1, 2], [3, 4]], {}),
        (",a,b\n0.5,1,2\n0.7,3,4\n", {}, ["a", "b"], [[1, 2], [3, 4]], {"index": [0.5, 0.7]}),
        (",a\nx,1\ny,2\n", {}, ["a"], [[1], [2]], {"index": ["x", "y"]}),
        ("a,b,\n1,2,\n3,4,\n", {}, ["a", "b"], [[1, 2], [3, 4]], {}),
        ("a;b\n1,5;2\n3;4\n", {}, ["a", "b"], [[1.5, 2], [3, 4]], {}),
        ("a;b\n1.5;2\n3;4\n", {}, ["a", "b"], [[1.5, 2], [3, 4]], {}),
        ("a|b\n1|2\n", {"sep": "|"}, ["a", "b"], [[1, 2]], {}),
        ("\ufeffa,b\n1,2\n", {}, ["a", "b"], [[1, 2]], {}),
        ("a,b\n99999999999999999999999,2\n", {}, ["a", "b"], [[1e23, 2]], {}),
        ("left,1.5\nright,2\n", {}, ["1"], [[1.5], [2]], {"0": ["left", "right"]}),
        ("2020-01-01,1.5\n2020-01-02,2\n", {}, ["1"], [[1.5], [2]],
         {"0": ["2020-01-01", "2020-01-02"]}),
        ("time,1,2\n0.5,3,4\n", {"samples": "time"}, ["1", "2"], [[3, 4]], {"time": [0.5]}),
        (",0.1,0.2\n0,3,4\n", {}, ["0.1", "0.2"], [[3, 4]], {}),
        ("side,a\nleft,3\n", {}, ["a"], [[3]], {"side": ["left"]}),
        ("sample,unit,a\nx,y,1\n", {}, ["a"], [[1]],
         {"column_sample": ["x"], "column_unit": ["y"]}),
        ("a,b\nTrue,2.5\nFalse,1\n", {}, ["a", "b"], [[1, 2.5], [0, 1]], {}),
    ],
)  # fmt: skip
def test_headers_indices_separators_and_numbers_of_csv(
    tmp_path, text, options, units, values, labels
):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    rec = read_table(path, **options)
    assert rec["unit"].values.tolist() == units
    np.testing.assert_array_equal(rec.values, values)
    assert {n: c.values.tolist() for n, c in rec.coords.items() if c.dims == ("sample",)} == labels


def test_a_row_that_could_be_ids_is_asked_about(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1,2\n3,4\n")
    for text in ("1,2\n3,4\n", "left,1\nright,2\n"):
        path.write_text(text)
        with pytest.raises(NisslError, match="names of units or values") as caught:
            read_table(path)
    assert "header=" in caught.value.do


def test_every_kind_of_column_of_parquet(tmp_path):
    """What pandas says of each column is the reference."""
    table = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "flag": [True, False, True],
            "half": [0.5, 1.5, 2.5],
            "money": [Decimal("1.25"), Decimal("2.5"), None],
            "when": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "zoned": pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin"),
            "took": pd.to_timedelta([1500, 0, 10], unit="ms"),
        },
        index=pd.Index([0.1, 0.2, 0.3], name="time"),
    )
    table.to_parquet(tmp_path / "t.parquet")
    rec = read_table(tmp_path / "t.parquet")
    assert rec["unit"].values.tolist() == ["whole", "flag", "half", "money"]
    expected = table[["whole", "flag", "half", "money"]].astype(float).to_numpy()
    np.testing.assert_array_equal(rec.values, expected)
    np.testing.assert_array_equal(rec["time"], [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(rec["took"], [1.5, 0.0, 0.01])
    assert (rec["zoned"].values == table["zoned"].dt.tz_convert(None).to_numpy()).all()
    assert np.isnat(rec["when"].values).tolist() == [False, True, False]
    table.set_index(["when", "half"], append=True)[["whole"]].to_parquet(tmp_path / "m.parquet")
    assert {"time", "when", "half"} <= set(read_table(tmp_path / "m.parquet").coords)
    wide = pd.DataFrame(np.eye(2), columns=pd.MultiIndex.from_product([["a"], ["x", "y"]]))
    wide.to_parquet(tmp_path / "w.parquet")
    assert read_table(tmp_path / "w.parquet")["unit"].values.tolist() == ["a.x", "a.y"]
    pd.DataFrame({"a": [1.0], "list": [[1, 2]]}).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(NisslError, match="'list' holds lists"):
        read_table(tmp_path / "l.parquet")


def test_npz_may_hold_a_readme_and_may_not_state_more_than_it_holds(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, values=np.eye(2))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert read_table(path).shape == (2, 2)
    body = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        body, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    )
    (tmp_path / "t.npy").write_bytes(body.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("values.npy", body.getvalue())
    for name in ("t.npy", "t.npz"):
        tracemalloc.start()
        with pytest.raises(NisslError, match="states 8,000,000,000,"):
            read_table(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1e7
        tracemalloc.stop()


def test_what_pynapple_saved(tmp_path):
    """Written as pynapple 0.11 does; its counts begin at the start of the time support."""
    times, index = np.array([0.05, 0.15, 0.17, 1.3]), np.array([3, 3, 7, 7])
    common = {"start": np.array([0.0]), "end": np.array([2.0])}
    kind = {name: np.array([name]) for name in ("TsGroup", "TsdFrame", "Tsd", "IntervalSet")}
    pickled = np.array({"region": ["a"]}, dtype=object)
    np.savez(
        tmp_path / "g.npz", t=times, index=index, type=kind["TsGroup"], _metadata=pickled, **common
    )
    with pytest.warns(UserWarning, match="is pickled, and not read"):
        rec = read_table(tmp_path / "g.npz", bin=0.1)
    assert rec["unit"].values.tolist() == ["3", "7"]
    assert rec.shape == (20, 2)
    assert np.argwhere(rec.values).tolist() == [[0, 0], [1, 0], [1, 1], [13, 1]]
    np.savez(
        tmp_path / "f.npz", t=times, d=np.eye(4, 2), columns=np.array(["a", "b"]),
        type=kind["TsdFrame"], **common,
    )  # fmt: skip
    rec = read_table(tmp_path / "f.npz", quantity="calcium")
    np.testing.assert_array_equal(rec.values, np.eye(4, 2))
    np.testing.assert_array_equal(rec["time"], times)
    np.savez(tmp_path / "i.npz", type=kind["IntervalSet"], **common)
    with pytest.raises(NisslError, match="IntervalSet of pynapple"):
        read_table(tmp_path / "i.npz")
