"""Tables arrive with their columns in place; damaged ones are refused, whatever their kind."""

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
    with pytest.raises(NisslError, match="damaged"):
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
