"""Lists, units and texts of an atlas are what its tables say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nissl.atlas import open_atlas
from nissl.errors import NisslError, UnknownName
from nissl.web import Index
from nissl.web.suggestions import suggestions


@pytest.fixture(scope="module")
def index(atlas_folder: Path) -> Index:
    return Index(open_atlas(atlas_folder))


@pytest.fixture(scope="module")
def units(atlas_folder: Path) -> pd.DataFrame:
    return pd.read_parquet(atlas_folder / "units.parquet")


@pytest.mark.parametrize(
    ("where", "query"),
    [
        ("", "index == index"),
        ("density < 0.03", "density < 0.03"),
        ("density >= 0.03 and kind = token", "density >= 0.03 and kind == 'token'"),
        ("kind != token and layer = 2", "kind != 'token' and layer == 2"),
        ("dead = true", "dead"),
        ("unit ~ Blocks.1.", "unit.str.contains('blocks.1.', regex=False)"),
        ("token_effect > 3", "token_effect > 3"),  # missing values meet nothing
    ],
)
def test_conditions_are_those_of_pandas(
    index: Index, units: pd.DataFrame, where: str, query: str
) -> None:
    wanted = list(units.query(query, engine="python").index)
    found = index.units(where, limit=1000)
    assert [line["row"] for line in found["rows"]] == wanted
    assert found["total"] == len(wanted)


@pytest.mark.parametrize("descending", [True, False])
def test_sorting_puts_missing_values_last(
    index: Index, units: pd.DataFrame, descending: bool
) -> None:
    found = index.units(sort="token_effect", descending=descending, limit=1000)["rows"]
    wanted = units["token_effect"].sort_values(ascending=not descending, kind="stable").index
    assert [line["row"] for line in found] == list(wanted)
    assert found[-1]["token_effect"] is None


def test_an_answer_is_bounded_and_goes_on_where_the_last_ended(index: Index) -> None:
    whole = index.units(sort="mean", limit=10**9)["rows"]
    assert len(whole) == 96
    parts = [index.units(sort="mean", offset=start, limit=40)["rows"] for start in (0, 40, 80)]
    assert [line for part in parts for line in part] == whole
    assert index.units(offset=1000)["rows"] == []


def test_a_unit_is_told_as_the_page_tells_it(index: Index, units: pd.DataFrame) -> None:
    row = int(units.index[units["kind"] == "token"][0])
    told = index.unit(row)
    assert told["card"]["row"] == row
    assert told["card"]["tokens"][0][0] == units["token"][row]
    words = [told["strings"][t] for t in told["card"]["high"][0]["t"]]
    assert words[told["card"]["high"][0]["at"]].strip() == units["token"][row]


def test_units_are_found_by_what_they_are_high_at(
    index: Index, units: pd.DataFrame, atlas_folder: Path
) -> None:
    paris = set(units.index[units["token"] == "Paris"])
    found = index.find("paris")
    full = {line["row"] for line in found["rows"] if line["share"] == 1}
    assert paris <= full
    examples = pd.read_parquet(atlas_folder / "examples.parquet")
    high = examples[examples["sign"] > 0]
    tokens = np.asarray(open_atlas(atlas_folder).arrays["token"])
    hit = tokens[high["sample"]] == 11  # the number of Paris
    assert found["total"] == high.loc[hit, "row"].nunique()
    assert index.find("no such words here")["total"] == 0


def test_csv_has_all_that_meet_it(index: Index) -> None:
    import io

    table = pd.read_csv(io.StringIO(index.csv("kind = token", sort="density")))
    assert (table["kind"] == "token").all()
    assert len(table) == index.units("kind = token")["total"]
    assert table["density"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("densty < 1", "density"),
        ("density", "not a condition"),
        ("density < much", "holds numbers"),
        ("kind < token", "holds words"),
        ("__import__('os')", "not a condition"),
    ],
)
def test_what_is_not_understood_is_said(index: Index, where: str, says: str) -> None:
    with pytest.raises(NisslError, match=says):
        index.units(where)


def test_other_bad_questions(index: Index) -> None:
    with pytest.raises(NisslError, match="give 0 to 95"):
        index.unit(96)
    with pytest.raises(UnknownName):
        index.units(sort="densty")
    with pytest.raises(NisslError, match="nothing to look for"):
        index.find("  ")
    with pytest.raises(NisslError, match="below zero"):
        index.units(offset=-1)


def test_a_filter_knows_notes_sets_and_texts(index: Index, units: pd.DataFrame) -> None:
    held = index.atlas.notes
    held.write(units["unit"][5], "Capitals of states")
    held.keep("two of them", units["unit"][[5, 7]])
    try:
        assert [r["row"] for r in index.units("note ~ capitals")["rows"]] == [5]
        assert [r["row"] for r in index.units("set = two of them")["rows"]] == [5, 7]
        assert index.units("set != two of them and layer >= 0")["total"] == 94
        for text in ("note ~ capitals", "two of"):
            found = suggestions(index, text.removeprefix("note ~ "))
            assert {"note": 1, "set": 2}.items() >= {(f["what"], f["n"]) for f in found if "n" in f}
    finally:
        held.write(units["unit"][5], "")
        held.keep("two of them", [])
    shares = index.texts.shares("paris")
    assert [r["row"] for r in index.units("text ~ paris", limit=1000)["rows"]] == list(
        np.flatnonzero(shares)
    )
    with pytest.raises(NisslError, match="use text ~"):
        index.units("text = paris")


def test_shares_are_those_counted_one_by_one(index: Index, atlas_folder: Path) -> None:
    import json

    examples = pd.read_parquet(atlas_folder / "examples.parquet")
    words = json.loads((atlas_folder / "vocabulary.json").read_text())
    told = [words[str(t)].lower() for t in np.asarray(index.atlas.arrays["token"])]
    ends = np.cumsum([len(word) for word in told])
    whole = "".join(told)
    for text in ("paris", "the", "e", "catsat"):
        hit = [
            text in whole[max(0, begin - len(text) + 1) : end]
            for begin, end in zip(ends - [len(w) for w in told], ends, strict=True)
        ]
        high = examples[examples["sign"] > 0].assign(
            hit=np.array(hit)[examples["sample"][examples["sign"] > 0]]
        )
        wanted = high.groupby("row")["hit"].mean().reindex(range(96), fill_value=0)
        if text != "e":  # two ends in one word count once, as here
            assert np.allclose(index.texts.shares(text), wanted)


def test_a_suggestion_says_as_many_units_as_its_filter_finds(
    index: Index, units: pd.DataFrame
) -> None:
    for text in ("mat", "MAT", "token", "the cat", "cat", "layer 2", "neurons", "e"):
        found = suggestions(index, text)
        assert found, text
        for told in found:
            if "where" in told:
                assert index.units(told["where"])["total"] == told["n"] > 0
            elif "find" in told:
                assert index.find(told["find"])["total"] == told["n"]
    (mat,) = [f for f in suggestions(index, "MAT") if f.get("what") == "token"]
    met = (units["token"] == "mat") & (units["token_q"] <= 0.05)
    assert mat["n"] == met.sum() == 1
    assert mat["text"] == "mat"
    assert suggestions(index, "no such thing anywhere") == []
    assert suggestions(index, "  ") == []


@pytest.mark.parametrize(
    "text", ["1/7", "1.7", "blocks.1.mlp.neurons[7]", "BLOCKS.1.mlp.neurons[7]"]
)
def test_a_unit_is_found_by_its_place_first(index: Index, text: str) -> None:
    first = suggestions(index, text)[0]
    assert (first["row"], first["text"]) == (39, "blocks.1.mlp.neurons[7]")


def test_descriptions_and_labels_of_any_table_are_found(tmp_path: Path) -> None:
    from made_up_atlas import make_atlas

    folder = make_atlas(tmp_path)
    table = pd.read_parquet(folder / "units.parquet")
    table["description"] = [f"capital number {i}" if i < 3 else "" for i in range(len(table))]
    table["side_preferred"] = np.where(np.arange(len(table)) < 10, "left", "right")
    table["side_q"] = np.where(np.arange(len(table)) < 4, 0.01, 0.5)
    table["side_effect"] = 0.1
    table.to_parquet(folder / "units.parquet")
    index = Index(open_atlas(folder))
    (told,) = suggestions(index, "capital")
    assert (told["what"], told["n"], told["where"]) == ("description", 3, "description ~ capital")
    (told,) = [f for f in suggestions(index, "left") if f["what"] == "side"]
    assert (told["n"], told["sort"]) == (4, "side_effect")
    assert index.units("description ~ CAPITAL")["total"] == 3


def test_preferred_angles_are_in_degrees(tmp_path: Path) -> None:
    from made_up_atlas import make_atlas

    folder = make_atlas(tmp_path)
    table = pd.read_parquet(folder / "units.parquet")
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, len(table))
    table.assign(head_angle_preferred=angle).to_parquet(folder / "units.parquet")
    centres = (np.arange(8) + 0.5) * np.pi / 4
    pd.DataFrame(
        {"unit": ["a"], "coordinate": "head_angle", "kind": "circular", "levels": [centres]}
    ).to_parquet(folder / "tuning.parquet")
    index = Index(open_atlas(folder))
    found = index.units("head_angle_preferred >= 90 and head_angle_preferred < 180", limit=1000)
    degrees = np.degrees(angle)
    assert [r["row"] for r in found["rows"]] == list(
        np.flatnonzero((degrees >= 90) & (degrees < 180))
    )
    (column,) = [c for c in index.columns() if c["name"] == "head_angle_preferred"]
    assert column["unit"] == "°"


def test_csv_holds_no_formula_of_a_spreadsheet(atlas_folder: Path) -> None:
    import io

    index = Index(open_atlas(atlas_folder))
    words = ["=1+1", "+1", "-x", "@SUM(1)", "a=b", "", "\t=1"]
    index.table.loc[: len(words) - 1, "token"] = words
    table = pd.read_csv(io.StringIO(index.csv()), keep_default_na=False)
    assert table["token"][: len(words)].tolist() == [
        "'=1+1",
        "'+1",
        "'-x",
        "'@SUM(1)",
        "a=b",
        "",
        "'\t=1",
    ]
    assert (table["mean"] < 0).any()  # numbers stay numbers
    assert index.table["token"][0] == "=1+1"
