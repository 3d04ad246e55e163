"""A label is its words, in memory and in a store; pandas says how words behave."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from nissl.errors import NisslError, UnknownName
from nissl.recording import (
    aggregate,
    align,
    as_recording,
    chunks,
    concat,
    info,
    open_store,
    samples_table,
    save,
    select,
    units_table,
)
from nissl.recording.labels import as_column, coordinate, word_codes

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

quick = hypothesis.settings(
    max_examples=30,
    deadline=None,
    database=None,
    derandomize=True,
)
WORDS = st.one_of(
    st.sampled_from(
        ["", "1", "01", "1.0", "nan", "None", "True", "é", "e\u0301", "京都", "🧠", " a "]
    ),
    st.text(st.characters(codec="utf-8"), max_size=3),
)
CELLS = st.lists(st.one_of(WORDS, st.sampled_from([None, np.nan, pd.NA])), min_size=2, max_size=9)


def as_pandas(cells):
    """What the words are: missing cells are empty."""
    return pd.Series(["" if pd.isna(c) else c for c in cells], dtype=object)


def made(cells, units=("u", "", "é")):
    values = np.arange(3.0 * len(cells)).reshape(len(cells), 3)
    return as_recording(
        values,
        samples={"label": pd.Series(cells, dtype=object), "place": range(len(cells))},
        units={"region": pd.Series(units, dtype=object)},
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where recordings come from: memory, or a store."""
    number = iter(range(10**6))

    def keep(rec, where):
        if where == "memory":
            return rec
        path = tmp_path_factory.getbasetemp() / f"labels{next(number)}"
        save(rec, path, progress=False)
        return open_store(path)

    return keep


@pytest.mark.parametrize("where", ["memory", "store"])
@quick
@hypothesis.given(CELLS, st.data())
def test_a_label_compares_sorts_and_groups_as_its_words(kept, where, cells, data):
    words = as_pandas(cells)
    rec = kept(made(cells), where)
    label = rec["label"]
    assert label.values.tolist() == words.tolist()
    assert samples_table(rec)["label"].tolist() == words.tolist()
    asked = data.draw(st.one_of(st.sampled_from(words.tolist()), WORDS))
    np.testing.assert_array_equal(label == asked, words == asked)
    np.testing.assert_array_equal(label != asked, words != asked)
    np.testing.assert_array_equal(label.isin([asked, "cat"]), words.isin([asked, "cat"]))
    assert rec[label == asked]["place"].values.tolist() == np.flatnonzero(words == asked).tolist()
    assert rec.sortby("label")["label"].values.tolist() == sorted(words)
    assert [rec[i]["label"].item() for i in range(len(words))] == words.tolist()
    assert repr(rec[0]["label"])
    if not any("\0" in word for word in words):  # pandas' groups, which xarray uses, end at NUL
        means = pd.Series(rec.values[:, 0]).groupby(words).mean()
        grouped = rec.groupby("label").mean()
        assert grouped["label"].values.tolist() == means.index.tolist()
        np.testing.assert_allclose(grouped.values[:, 0], means)


@pytest.mark.parametrize("where", ["memory", "store"])
@quick
@hypothesis.given(CELLS)
def test_what_combines_recordings_sees_words(kept, where, cells):
    words = as_pandas(cells)
    rec = kept(made(cells), where)
    for word in dict.fromkeys(words):
        found = select(rec, samples={"label": [word]})
        assert found["place"].values.tolist() == np.flatnonzero(words == word).tolist()
    with pytest.raises(UnknownName):
        select(rec, samples={"label": "no such word"})
    result = aggregate(rec, by="label", how="last")
    assert result["label"].values.tolist() == words.unique().tolist()
    last = [np.flatnonzero(words == w)[-1] for w in words.unique()]
    np.testing.assert_array_equal(result.values, rec.values[last])
    both = concat([rec, made(["another", *cells])])
    assert both["label"].values.tolist() == [*words, "another", *words]
    one, other = align(result, result[::-1], on="label", order="first")
    np.testing.assert_array_equal(one.values, other.values)
    assert one["label"].values.tolist() == other["label"].values.tolist()
    assert [w for b in chunks(rec, size=2) for w in b.samples["label"]] == words.tolist()
    about = info(rec)["sample coordinates"]["label"]
    assert (about["missing"], about["different"]) == (
        (words == "").sum(),
        words[words != ""].nunique(),
    )
    # By appearance, as pandas numbers them.
    numbers = {word: i for i, word in enumerate(words.unique())}
    assert word_codes(coordinate(rec, "label")).tolist() == [numbers[w] for w in words]


@quick
@hypothesis.given(CELLS, CELLS.filter(lambda cells: len(cells) >= 3))
def test_a_store_gives_back_what_was_put_in(kept, cells, regions):
    rec = made(cells, regions[:3])
    again = kept(rec, "store")
    assert again.load().identical(rec)
    # numpy's fixed width ends at NUL.
    expected = [word.rstrip("\0") for word in as_pandas(regions[:3])]
    assert again["region"].values.tolist() == expected == units_table(again)["region"].tolist()
    np.testing.assert_array_equal(again["region"] == expected[0], np.array(expected) == expected[0])


@pytest.mark.parametrize("chunks", [None, {}])
def test_xarray_shows_the_words_of_a_store(tmp_path, chunks):
    if chunks is not None:
        pytest.importorskip("dask")
    cells = ["b", "", "京都", "b"]
    save(made(cells), tmp_path / "store", progress=False)
    plain = xr.open_zarr(tmp_path / "store", chunks=chunks)
    assert plain["label"].values.tolist() == cells
    assert (plain["label"] == "b").values.tolist() == [True, False, False, True]
    assert plain["label"].isin(["京都", "x"]).values.tolist() == [False, False, True, False]
    means = plain["recording"].load().groupby(plain["label"].load()).mean()
    assert means.sel(label="b").values.tolist() == [4.5, 5.5, 6.5]
    table = xr.open_zarr(tmp_path / "store", group="units/recording", chunks=chunks)
    assert (table["region"] == "é").values.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2"], ["1", "2"]),
        ([1, 2], [1, 2]),
        ([1, None], [1.0, np.nan]),
        ([True, False], [True, False]),
        ([True, None], [1.0, np.nan]),
        (["True", True], ["True", "True"]),
        (["a", np.nan], ["a", ""]),
        ([None, None], ["", ""]),
        ([b"caf\xc3\xa9", "x"], ["café", "x"]),
        (np.array([b"caf\xc3\xa9", b"x"]), ["café", "x"]),
        (np.array(["é", "x"], np.dtypes.StringDType(na_object=None)), ["é", "x"]),
        (pd.Series(["é", None], dtype="string"), ["é", ""]),
        (pd.Series(["é", None], dtype="category"), ["é", ""]),
        (pd.Series([3, 1], dtype="category"), [3, 1]),
        (pd.Series([True, pd.NA], dtype="boolean"), [1.0, np.nan]),
    ],
)
def test_cells_become_numbers_or_words(kept, cells, expected):
    rec = as_recording(np.zeros((2, 2)), samples={"label": cells}, units={"kind": cells})
    for found in (rec, kept(rec, "store")):
        np.testing.assert_array_equal(found["label"].values, expected)
        np.testing.assert_array_equal(found["kind"].values, expected)
    assert (as_column(cells).dtype == object) == isinstance(expected[0], str)


def test_equal_words_are_one_object(kept):
    rng = np.random.default_rng(0)
    cells = np.array([f"relation {i}" for i in range(5)])[rng.integers(0, 5, 70_000)]
    rec = as_recording(np.zeros((70_000, 1), np.int8), samples={"label": cells})
    lazy = kept(rec, "store")
    for found in (rec, rec[::2], lazy, concat([rec, rec])):
        values = found["label"].values
        assert values.nbytes == 8 * len(values)
        # A store is read in chunks, each with words of its own.
        assert len(set(map(id, values.tolist()))) <= (10 if found is lazy else 5)
    assert lazy["label"][65_530:65_540].values.tolist() == cells[65_530:65_540].tolist()
    assert lazy["label"][[69_999, 3]].values.tolist() == cells[[69_999, 3]].tolist()


def test_what_cannot_be_a_word_is_said():
    with pytest.raises(NisslError, match="UTF-8"):
        as_column([b"\xff"])
    with pytest.raises(NisslError, match="UTF-8"):
        as_recording(np.zeros((1, 1)), samples={"label": ["\ud800"]})
    rec = as_recording(np.zeros((1, 1)), samples={"label": ["a"]})
    with pytest.raises(UnknownName, match="did you mean 'label'"):
        coordinate(rec, "labels")
    with pytest.raises(UnknownName, match="unit coordinate"):
        coordinate(rec, "label", "unit")


def test_a_chunk_of_labels_that_was_emptied_or_changed_is_refused(tmp_path):
    save(made(["a", "b"]), tmp_path / "store", progress=False)
    chunk = tmp_path / "store" / "label" / "c" / "0"
    whole = chunk.read_bytes()
    # The checksum of nothing is 0.
    for damaged in (bytes(4), whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        chunk.write_bytes(damaged)
        with pytest.raises(NisslError, match="cannot be read"):
            open_store(tmp_path / "store")["label"].load()
    chunk.write_bytes(whole)
    assert open_store(tmp_path / "store")["label"].values.tolist() == ["a", "b"]
