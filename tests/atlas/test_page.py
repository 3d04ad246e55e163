"""The page is one file, holds what the tables say, and fetches nothing."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nissl.atlas.page.featured import effect_size, featured_units
from nissl.atlas.page.histogram import display_bins
from nissl.atlas.page.statistic import float24, statistics_of
from nissl.atlas.page.write import write_page
from nissl.errors import NisslError


@pytest.fixture(scope="module")
def page(made_up_atlas: Path) -> Path:
    return write_page(made_up_atlas)


@pytest.fixture(scope="module")
def data(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    loaded: dict[str, Any] = json.loads(found.group(1))
    return loaded


@pytest.fixture(scope="module")
def units(made_up_atlas: Path) -> pd.DataFrame:
    return pd.read_parquet(made_up_atlas / "units.parquet")


def decoded(text: str, dtype: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), dtype)


class Elements(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_nothing_is_fetched_from_anywhere(page: Path) -> None:
    text = page.read_text()
    parser = Elements()
    parser.feed(text)
    assert not [t for t, a in parser.seen if t in ("link", "img", "iframe") or "src" in a]
    assert "default-src 'none'" in text
    # The namespace of SVG is a name, not an address that is fetched.
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


def test_no_text_of_the_data_is_read_as_html(page: Path) -> None:
    parser = Elements()
    parser.feed(page.read_text())
    tags = [tag for tag, _ in parser.seen]
    assert tags.count("script") == 2
    assert "b" not in tags
    assert "innerHTML" not in page.read_text()


def test_every_control_and_picture_has_a_name(page: Path) -> None:
    parser = Elements()
    parser.feed(page.read_text())
    for tag, attributes in parser.seen:
        if tag in ("input", "button") and attributes.get("id") not in ("more",):
            assert "aria-label" in attributes
        if tag == "section" and attributes.get("id"):
            assert attributes["aria-labelledby"] == f"{attributes['id']}-title"


def test_the_columns_are_those_of_the_table(data: dict[str, Any], units: pd.DataFrame) -> None:
    assert data["n"] == len(units)
    kinds = [k["name"] for k in data["kinds"]]
    assert [kinds[k] for k in decoded(data["columns"]["kind"], "u1")] == list(units["kind"])
    sites = [s["name"] for s in data["sites"]]
    site, index = (decoded(data["columns"][n], d) for n, d in (("site", "<u2"), ("index", "<u4")))
    addresses = [f"{sites[s]}[{i}]" for s, i in zip(site, index, strict=True)]
    assert addresses == list(units["unit"])
    tokens = [data["strings"][t] for t in decoded(data["columns"]["token"], "<u2")]
    assert tokens == list(units["token"])
    for statistic in data["statistics"]:
        kept = decoded(statistic["data"], "u1").reshape(-1, 3)
        values = np.ascontiguousarray(np.pad(kept, ((0, 0), (1, 0)))).view("<f4").ravel()
        expected = units[statistic["name"]].to_numpy()
        np.testing.assert_allclose(values, expected, rtol=1 / 65_536)


def test_kinds_are_counted(data: dict[str, Any], units: pd.DataFrame) -> None:
    for kind in data["kinds"]:
        assert kind["count"] == (units["kind"] == kind["name"]).sum()
    assert sum(k["count"] for k in data["kinds"]) == len(units)


def test_contexts_are_the_text_around_the_place(
    data: dict[str, Any], made_up_atlas: Path, units: pd.DataFrame
) -> None:
    examples = pd.read_parquet(made_up_atlas / "examples.parquet")
    words = json.loads((made_up_atlas / "vocabulary.json").read_text())
    checked = 0
    for card in data["cards"]:
        for sign, name in ((1, "high"), (-1, "low")):
            chosen = examples[(examples["row"] == card["row"]) & (examples["sign"] == sign)]
            for context, example in zip(card[name], chosen.to_dict("records"), strict=True):
                assert context["v"] == pytest.approx(example["value"], rel=1e-3)
                assert data["strings"][context["t"][context["at"]]] == words[str(example["token"])]
                assert len(context["t"]) == example["stop"] - example["start"]
                if len(example["activity"]):
                    scaled = np.array(context["a"]) / 127 * chosen["value"].abs().max()
                    np.testing.assert_allclose(scaled, example["activity"], atol=0.03)
                checked += 1
    assert checked >= len(units)


def test_neighbours_are_rows_of_this_page(data: dict[str, Any], units: pd.DataFrame) -> None:
    card = data["cards"][0]
    named = list(units["neighbours"].iloc[card["row"]])
    assert [units["unit"].iloc[row] for row, _ in card["neighbours"]] == named


HALF_OCTAVES = np.concatenate([[2.0**k, 1.5 * 2.0**k] for k in range(-9, 6)])
OPEN_EDGES = np.concatenate([[-np.inf], -HALF_OCTAVES[::-1], HALF_OCTAVES, [np.inf]])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50))
def test_histograms_lose_no_value_and_keep_its_side(values: list[float]) -> None:
    counts, edges = display_bins(np.histogram(values, OPEN_EDGES)[0], OPEN_EDGES)
    assert sum(counts) == len(values)
    assert len(edges) == len(counts) + 1
    assert (np.diff(edges) > 0).all()
    assert np.isfinite(edges).all()
    # What lies beyond the last edge is drawn with the bin before it, so the largest value counts.
    largest = max(map(abs, [*edges, *values]))
    small = max(2.0 ** (np.frexp(largest)[1] - 7), HALF_OCTAVES[0])
    sides = [(a + b) / 2 for (a, b), c in zip(pairwise(edges), counts, strict=True) if c]
    assert (min(sides) < 0) == (min(values) < -small) or abs(min(values)) <= small
    assert (max(sides) > 0) == (max(values) > small) or abs(max(values)) <= small


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1))
def test_float24_is_near_and_keeps_what_is_not_finite(values: list[float]) -> None:
    whole = np.array(values, np.float32)
    kept = np.pad(float24(whole).reshape(-1, 3), ((0, 0), (1, 0)))
    back = np.ascontiguousarray(kept).view("<f4").ravel()
    normal = np.isfinite(whole) & (np.abs(whole) > 1e-37) & (np.abs(whole) < 3.38e38)
    np.testing.assert_allclose(back[normal], whole[normal], rtol=1 / 65_536)
    assert (np.isnan(back) == np.isnan(whole)).all()
    assert (back[np.isinf(whole)] == whole[np.isinf(whole)]).all()


def test_tuned_units_of_one_label_leave_room_for_others() -> None:
    table = pd.DataFrame(
        {
            "kind": "tuned",
            "tuned_to": ["label"] * 4 + ["speed"] * 3,
            "tuning_effect": [0.9, 0.8, 0.7, 0.2, 0.6, 0.5, 0.4],
            "label_preferred": ["car"] * 3 + ["cat"] * 4,
            "speed_preferred": [1.0, 2, 3, 4, 5, 6, 7],
        }
    )
    assert featured_units(table) == [0, 1, 4, 5, 6, 3, 2]


def test_the_strongest_of_each_kind_are_chosen_and_reasons_vary() -> None:
    table = pd.DataFrame({"kind": ["token"] * 50 + ["dead"] * 50, "token": ["a"] * 40 + [""] * 60})
    table.loc[40:49, "token"] = list("bcdefghijk")
    table["token_effect"] = np.arange(100.0)[::-1]
    chosen = featured_units(table, n=30)
    tokens = [row for row in chosen if row < 50]
    assert tokens[:2] == [0, 1]
    assert tokens[2:10] == list(range(40, 48))
    assert all(effect_size(table)[50:] == -np.inf)
    assert sorted(featured_units(table, n=100)) == list(range(100))


def test_unknown_columns_of_numbers_are_shown_under_their_own_name(units: pd.DataFrame) -> None:
    more = units.assign(firing_rate=np.arange(len(units), dtype=float), empty=np.nan)
    found = {s.name: s for s in statistics_of(more)}
    assert found["firing_rate"].label == "firing rate"
    assert "empty" not in found


@pytest.fixture
def copy(made_up_atlas: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_up_atlas, tmp_path / "copy"))


def test_a_recording_without_tokens_gets_its_tuning(copy: Path, units: pd.DataFrame) -> None:
    for name in ("tokens.parquet", "bigrams.parquet", "vocabulary.json"):
        (copy / name).unlink()
    brain = units.iloc[:8].drop(columns=[c for c in units if c.startswith(("token", "bigram"))])
    brain = brain.drop(columns=["promoted", "suppressed"]).assign(
        kind="tuned", layer=-1, site="ADN"
    )
    brain = brain.assign(unit=[f"cell {i}" for i in range(8)])
    brain.to_parquet(copy / "units.parquet")
    tuning = {
        "unit": ["cell 3"],
        "coordinate": ["head_direction"],
        "kind": ["circular"],
        "eta2": [0.4],
        "effect": [0.3],
        "q": [0.001],
        "preferred": [np.pi],
        "preferred_name": ["3.14"],
        "levels": [np.array([1, 3, 5]) * np.pi / 3],
        "level_names": [["1.05", "3.14", "5.24"]],
        "curve": [[1.0, np.nan, 3.0]],
        "null_low": [[0.5] * 3],
        "null_high": [[1.5] * 3],
        "note": [""],
    }
    pd.DataFrame(tuning).to_parquet(copy / "tuning.parquet")
    text = write_page(copy).read_text()
    found = re.search(r'id="data">(.*?)</script>', text)
    assert found
    data = json.loads(found.group(1))
    card = next(c for c in data["cards"] if c["row"] == 3)
    assert card["tuning"][0]["y"] == [1.0, None, 3.0]
    assert card["tuning"][0]["names"] == ["60°", "180°", "300°"]
    assert card["reason"] == ["tuned to head direction: eta² 0.4, q 0.001, most at 180°"]
    assert data["addresses"][3] == "cell 3"
    assert data["what"] == "a recording"


def test_what_is_not_an_atlas_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(NisslError, match=r"units\.parquet is missing"):
        write_page(tmp_path)
    (copy / "units.parquet").write_bytes(b"PAR1 truncated")
    with pytest.raises(NisslError, match="cannot be read"):
        write_page(copy)


def test_a_page_that_cannot_be_written_leaves_the_old_one(copy: Path) -> None:
    (copy / "index.html").write_text("old")
    (copy / "index.html.partial").mkdir()
    with pytest.raises(NisslError, match="cannot be written"):
        write_page(copy)
    assert (copy / "index.html").read_text() == "old"


def test_a_unit_without_a_card_costs_under_a_hundred_bytes(data: dict[str, Any]) -> None:
    columns = [*data["columns"].values(), *(s["data"] for s in data["statistics"])]
    assert sum(map(len, columns)) / data["n"] < 100  # 4.6 MB for 46,080


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_draws_it_without_a_word(page: Path, tmp_path: Path) -> None:
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--disable-background-networking",
        f"--user-data-dir={tmp_path}",
        "--window-size=1280,2400",
        "--virtual-time-budget=3000",
        "--dump-dom",
        f"file://{page}#blocks.0.mlp.neurons%5B0%5D",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    drawn_page = done.stdout
    assert drawn_page.count('<article class="card"') == 8
    assert 'id="unit-title">blocks.0.mlp.neurons[0]' in drawn_page
    assert "&lt;b&gt;bold&lt;/b&gt;" in drawn_page
    assert "<b>bold</b>" not in drawn_page
