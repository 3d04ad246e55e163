import json

import numpy as np
import pandas as pd
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.statistics import Finding, load_finding


@pytest.fixture
def found() -> Finding:
    table = pd.DataFrame(
        {
            "unit": ["l0[0]", "l0[1]", "l1[0]"],
            "layer": [0, 0, 1],
            "auroc": [0.5, 0.1, 0.8],
            "effect": [0.0, -0.4, 0.3],
            "null_mean": 0.5,
            "null_sd": 0.1,
            "p": [1.0, 0.001, 0.01],
            "q": [1.0, 0.003, 0.02],
            "note": "",
        }
    )
    return Finding(table, "tuning", "PermutedLabels()", {"seed": 0, "alpha": 0.5})


def test_selects_significant_rows_by_q_and_top_rows_by_size_of_effect(found):
    assert found.significant(0.05).units == ["l0[1]", "l1[0]"]
    assert found.significant(0.01).units == ["l0[1]"]
    assert found.top(1).units == ["l0[1]"]
    assert found.top(1, by="auroc").units == ["l1[0]"]
    assert len(found.significant(0.0001)) == 0
    assert found.score == "auroc"


def test_more_is_said_of_a_finding_without_changing_it(found):
    more = found.assign({"n_texts": 3}, kind=np.arange(len(found)), note="seen").renamed("gain")
    assert (more.score, more.method, more.null) == ("gain", found.method, found.null)
    assert more.table["gain"].tolist() == found.table[found.score].tolist()
    assert more.table["kind"].tolist() == list(range(len(found)))
    assert dict(more.provenance) == {**found.provenance, "n_texts": 3}
    assert "kind" not in found.table
    assert "gain" not in found.table


def test_is_saved_and_loaded_without_loss(found, tmp_path):
    again = load_finding(found.save(tmp_path / "deep" / "found"))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert (again.method, again.null, again.provenance, again.score) == (
        found.method,
        found.null,
        found.provenance,
        found.score,
    )
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["found.parquet"]


def test_metadata_is_json_that_others_can_read(found, tmp_path):
    import pyarrow.parquet as pq

    told = json.loads(pq.read_schema(found.save(tmp_path / "f")).metadata[b"nissl.finding"])
    assert told["provenance"]["seed"] == 0


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_refuses_p_that_is_no_probability(bad):
    table = pd.DataFrame({"unit": ["a", "b"], "r": [0.1, 0.2], "p": [0.5, bad]})
    with pytest.raises(NisslError, match="between 0 and 1") as error:
        Finding(table, "m", "none")
    assert error.value.where == "b"


def test_refuses_a_table_without_units_or_scores():
    with pytest.raises(NisslError, match="unit"):
        Finding(pd.DataFrame({"r": [0.1]}), "m", "none")
    with pytest.raises(NisslError, match="score"):
        Finding(pd.DataFrame({"unit": ["a"]}), "m", "none")


def test_says_why_nothing_is_significant_without_a_null():
    plain = Finding(pd.DataFrame({"unit": ["a"], "r": [0.9]}), "m", "none")
    with pytest.raises(NisslError, match="no null"):
        plain.significant()
    with pytest.raises(UnknownName, match="'r'"):
        plain.top(1, by="rr")


def test_files_that_hold_no_finding_are_refused(tmp_path, found):
    with pytest.raises(NisslError, match="no such file"):
        load_finding(tmp_path / "none.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(NisslError, match="holds no finding"):
        load_finding(tmp_path / "other.parquet")
    whole = found.save(tmp_path / "f").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NisslError, match="whole parquet"):
        load_finding(tmp_path / "cut.parquet")


def test_unwritable_path_is_refused(found, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NisslError, match="cannot be written"):
        found.save(tmp_path / "file" / "below.parquet")


def test_is_drawn_with_a_panel_for_layers(found):
    assert len(found.plot().axes) == 2
    assert "2 with q <= 0.05" in repr(found)
    assert "<table" in found._repr_html_()
    assert len(found.significant(1e-9).plot().axes) == 1  # no rows: nothing by layer
