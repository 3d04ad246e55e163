"""The verdict comes from the rule; failing needs power; the file is whole, stable and true."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nissl.claims import claim, read_claims
from nissl.claims_run import claims_table, run_claims
from nissl.errors import NisslError, UnknownName

RULE = "gain > null.gain + 0.1"


def put(folder: Path, **changes: Any) -> str:
    options: dict[str, Any] = {
        "system": 34,
        "says": "Gains.",
        "measured": {"gain": 0.5},
        "null": {"gain": 0.1},
        "rule": RULE,
        "data": "planted",
        "folder": folder,
    }
    return claim("snmf", **{**options, **changes})


def kept(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "features" / "snmf.json").read_text())
    return record


def test_a_rule_that_is_met_holds_and_everything_is_kept(tmp_path: Path) -> None:
    assert put(tmp_path, seed=3, seconds=2, why="small") == "holds"
    record = kept(tmp_path)
    assert record["measured"] == {"gain": 0.5}
    assert (record["system"], record["room"], record["seed"]) == (34, "features", 3)
    assert (record["rule"], record["why"], record["seconds"]) == (RULE, "small", 2.0)
    assert "python" in record["versions"]
    assert "numpy" in record["versions"]


def test_without_power_nothing_fails(tmp_path: Path) -> None:
    assert put(tmp_path, measured={"gain": 0.1}) == "inconclusive"
    assert "planted" in kept(tmp_path)["why"]
    with pytest.raises(NisslError, match="rule decides 'inconclusive'"):
        put(tmp_path, measured={"gain": 0.1}, verdict="fails")


def test_a_planted_effect_that_is_recovered_lets_a_claim_fail(tmp_path: Path) -> None:
    assert put(tmp_path, measured={"gain": 0.1}, power={"gain": 0.4}, verdict="fails") == "fails"


def test_a_planted_effect_that_is_not_recovered_decides_nothing(tmp_path: Path) -> None:
    assert put(tmp_path, measured={"gain": 0.1}, power={"gain": 0.19}) == "inconclusive"
    assert put(tmp_path, measured={"gain": 0.1}, power={"gain": 0.4, "null.gain": 0.35}) == (
        "inconclusive"
    )


def test_between_the_two_conditions_it_is_inconclusive(tmp_path: Path) -> None:
    both = {"fails": "gain < null.gain + 0.02", "power": {"gain": 0.9}}
    assert put(tmp_path, measured={"gain": 0.15}, **both) == "inconclusive"
    assert put(tmp_path, measured={"gain": 0.11}, **both) == "fails"
    with pytest.raises(NisslError, match="both met"):
        put(tmp_path, fails="gain > 0")


def test_figures_are_plain_numbers_or_refused(tmp_path: Path) -> None:
    put(tmp_path, measured={"gain": np.float32(0.5), "n": np.int64(4), "by": np.arange(2)})
    assert kept(tmp_path)["measured"] == {"gain": 0.5, "n": 4, "by": [0, 1]}
    for bad in (float("nan"), np.inf, None, {"a": 1}):
        with pytest.raises(NisslError, match="the figure 'gain'"):
            put(tmp_path, measured={"gain": bad})


@pytest.mark.parametrize("changes", [{"system": 9999}, {"room": "feature"}])
def test_unknown_systems_and_rooms_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UnknownName):
        put(tmp_path, **changes)


def test_a_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(NisslError, match="cannot name a file"):
        claim("../x", system=34, says="", measured={}, null={}, rule="1 > 0", data="")


def test_the_same_run_writes_the_same_bytes_and_leaves_no_half(tmp_path: Path) -> None:
    put(tmp_path, seconds=1)
    first = (tmp_path / "features" / "snmf.json").read_bytes()
    put(tmp_path, seconds=1)
    assert (tmp_path / "features" / "snmf.json").read_bytes() == first
    assert os.listdir(tmp_path / "features") == ["snmf.json"]


def test_a_broken_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "x.json").write_text("{")
    with pytest.raises(NisslError, match=r"x\.json"):
        read_claims(folder=tmp_path)


EXAMPLE = """
import nissl
nissl.claim("{name}", system=34, says="Gains | a lot.", measured={{"gain": {gain}}},
            null={{"gain": 0.0}}, rule={rule}, data="planted")
open("runs.txt", "a").write("{name} ")
"""


def project(root: Path, **gains: float) -> Path:
    (root / "replications" / "features").mkdir(parents=True, exist_ok=True)
    for name, gain in gains.items():
        text = EXAMPLE.format(name=name, gain=gain, rule='"gain > 0.1"')
        (root / "replications" / "features" / f"{name}.py").write_text(text)
    return root


def runs(root: Path) -> list[str]:
    return (root / "runs.txt").read_text().split()


def test_only_missing_and_changed_examples_run_and_the_table_is_made(tmp_path: Path) -> None:
    project(tmp_path, a=0.5, b=0.0)
    assert [r["verdict"] for r in run_claims(root=tmp_path)] == ["holds", "inconclusive"]
    run_claims(root=tmp_path)
    assert runs(tmp_path) == ["a", "b"]
    project(tmp_path, b=0.7)
    assert [r["verdict"] for r in run_claims("features", root=tmp_path)] == ["holds", "holds"]
    assert runs(tmp_path) == ["a", "b", "b"]
    page = (tmp_path / "docs" / "claims.md").read_text()
    assert "2 holds, 0 fails, 0 inconclusive." in page
    assert "Gains \\| a lot." in page
    assert page == claims_table(read_claims(folder=tmp_path / "claims"))


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = project(tmp_path, c=0.5) / "replications" / "features"
    (folder / "a.py").write_text("raise SystemExit(3)")
    (folder / "b.py").write_text("pass")
    made = EXAMPLE.format(name="d", gain=0.5, rule='"gain > " + str(0.4)')
    (folder / "d.py").write_text(made)
    with pytest.raises(NisslError, match="3 of 4 replications") as caught:
        run_claims(root=tmp_path)
    assert "exit code 3" in str(caught.value)
    assert "made no claim called 'b'" in str(caught.value)
    assert "rule was made during the run" in str(caught.value)
    assert [r["name"] for r in read_claims(folder=tmp_path / "claims")] == ["c"]
