"""Every figure of a page can be asked what it is compared with."""

import json
import re
from pathlib import Path

import pandas as pd

from made_up_atlas import make_atlas
from nissl.atlas.page.against import against
from nissl.atlas.page.statistic import statistics_of
from nissl.atlas.page.write import write_page
from nissl.atlas.tables import NETWORK_UNITS, UNITS

NULL = "labels shifted circularly in each document by a random amount"


def test_every_statistic_has_words_and_only_tests_name_a_null(tmp_path: Path) -> None:
    folder = make_atlas(tmp_path)
    units = pd.read_parquet(folder / "units.parquet")
    about = {"null": NULL, "n_units": 96, "n_labels": {"tokens": 30, "bigrams": 2}}
    said = against(units.columns, about)
    for statistic in statistics_of(units):
        tested = statistic.name.endswith(("_q", "_effect"))
        assert ("Null:" in said[statistic.name]) == tested, statistic.name
        assert tested or "not a test" in said[statistic.name]
    assert NULL in said["token_effect"]
    assert "96 units and 30 tokens" in said["token_q"]
    assert "96 units and 2 pairs" in said["bigram_q"]


def test_a_tuning_says_what_was_shifted_inside_what() -> None:
    about = {
        "nulls": {
            "side": "PermutedLabels(exchange='trial', within='run')",
            "angle": "CircularShift(within='epoch', min_shift=1)",
            "other": "Unheard(of)",
        },
        "n_permutations": 1000,
        "correction": "max",
    }
    columns = [f"{name}_{f}" for name in about["nulls"] for f in ("eta2", "effect", "q")]
    said = against(columns, about)
    assert "the values permuted over trials inside each run 1,000 times" in said["side_effect"]
    assert "shifted in a circle by a random time inside each epoch" in said["angle_eta2"]
    assert "all units and 3 coordinates by the maximum statistic" in said["angle_q"]
    assert "Unheard(of)" in said["other_q"]


def test_an_atlas_that_says_nothing_of_its_null_is_not_given_one() -> None:
    said = against([c.name for c in (*UNITS, *NETWORK_UNITS)], {})
    assert said["token_q"] == "This atlas does not say what its null of tokens was."
    assert all(words.strip() and "{" not in words for words in said.values())


def test_the_page_holds_them(tmp_path: Path) -> None:
    page = write_page(make_atlas(tmp_path)).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert {s["name"] for s in data["statistics"]} <= set(data["against"])
    assert {"neighbours", "promoted", "places", "histogram", "kind"} <= set(data["against"])
