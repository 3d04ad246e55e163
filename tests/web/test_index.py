"""Lists, units and texts of an atlas are what its tables say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nissl.atlas import open_atlas
from nissl.errors import NisslError, UnknownName
from nissl.web import Index


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
