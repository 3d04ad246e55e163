"""The verdict comes from the rule; failing needs power; the file is whole, stable and true."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nissl.claims import claim, fingerprint, read_claims, stale
from nissl.claims_run import claims_table, run_claims
from nissl.errors import NisslError, UnknownName
from nissl.methods import PACKAGE, systems

RULE = "gain > null.gain + 0.1"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(**changes: Any) -> str:
    options: dict[str, Any] = {
        "system": 34,
        "says": "Gains.",
        "measured": {"gain": 0.5},
        "null": {"gain": 0.1},
        "rule": RULE,
        "data": "planted",
    }
    return claim("snmf", **{**options, **changes})


def kept() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path("claims/features/snmf.json").read_text())
    return record


def test_a_rule_that_is_met_holds_and_everything_is_kept() -> None:
    assert put() == "holds"
    record = kept()
    assert record["measured"] == {"gain": 0.5}
    assert (record["system"], record["room"], record["primary"]) == (34, "features", "gain")
    assert (record["rule"], record["why"], record["data"]) == (RULE, "", "planted")
    assert "python" in record["versions"]
    assert "numpy" in record["versions"]


def test_the_variable_says_where_claims_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NISSL_CLAIMS", "elsewhere")
    put()
    assert [r["name"] for r in read_claims()] == ["snmf"]
    assert os.listdir() == ["elsewhere"]


def test_without_power_nothing_fails() -> None:
    assert put(measured={"gain": 0.1}) == "inconclusive"
    assert "planted" in kept()["why"]


def test_a_planted_effect_that_is_recovered_lets_a_claim_fail() -> None:
    assert put(measured={"gain": 0.1}, power={"gain": 0.4}) == "fails"
    assert kept()["why"] == ""


def test_a_planted_effect_that_is_not_recovered_decides_nothing() -> None:
    assert put(measured={"gain": 0.1}, power={"gain": 0.19}) == "inconclusive"
    assert put(measured={"gain": 0.1}, power={"gain": 0.4, "null.gain": 0.35}) == "inconclusive"


def test_a_rule_about_two_figures_is_refused() -> None:
    with pytest.raises(NisslError, match="not about 'gain'"):
        put(measured={"gain": 0.5, "loss": 0.1}, rule="gain > 0 and loss < 1")
    with pytest.raises(NisslError, match="4 comparisons"):
        put(rule="0 < gain < 1 and gain > null.gain and null.gain < 0.2")
    assert os.listdir() == []


def test_figures_are_plain_numbers_or_refused() -> None:
    put(measured={"gain": np.float32(0.5), "n": np.int64(4), "by": np.arange(2)})
    assert kept()["measured"] == {"gain": 0.5, "n": 4, "by": [0, 1]}
    for bad in (float("nan"), np.inf, None, {"a": 1}):
        with pytest.raises(NisslError, match="the figure 'gain'"):
            put(measured={"gain": bad})


def test_unknown_systems_and_papers_without_a_room_are_refused() -> None:
    for system in (9999, next(s.number for s in systems() if s.room == "-")):
        with pytest.raises(UnknownName):
            put(system=system)


def test_a_name_cannot_leave_its_folder() -> None:
    with pytest.raises(NisslError, match="cannot name a file"):
        claim("../x", system=34, says="", measured={}, null={}, rule="1 > 0", data="")


def test_the_same_run_writes_the_same_bytes_and_leaves_no_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.process_time", lambda: 1.0)
    put()
    first = Path("claims/features/snmf.json").read_bytes()
    put()
    assert Path("claims/features/snmf.json").read_bytes() == first
    assert os.listdir("claims/features") == ["snmf.json"]


def test_a_broken_file_says_so() -> None:
    Path("claims/features").mkdir(parents=True)
    Path("claims/features/x.json").write_text("{")
    with pytest.raises(NisslError, match=r"x\.json"):
        read_claims()


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('"""Doc."""\n# Why.\nx   = (1\n + 2)\ndef f(a):\n  """Doc."""\n  return f"{a}"\n', True),
        ('x = 1 + 2\ndef f(a):\n  return f"{a}"\n', True),
        ('x = 1 + 2.0\ndef f(a):\n  return f"{a}"\n', False),
        ('x = 1 + True\ndef f(a):\n  return f"{a}"\n', False),
        ('x = 1 + 2\ndef f(b):\n  return f"{b}"\n', False),
        ('x = 1 + 2\ndef f(a):\n  return f"{a!r}"\n', False),
        ('x = 1 + 2\ndef f(a):\n  a\n  return f"{a}"\n', False),
    ],
)
def test_the_fingerprint_is_of_the_syntax_without_comments(other: str, same: bool) -> None:
    Path("a.py").write_text('x = 1 + 2\n\n\ndef f(a):\n    return f"{a}"\n')
    Path("b.py").write_text(other)
    assert (fingerprint(Path("a.py")) == fingerprint(Path("b.py"))) is same


SCRIPT = """
import nissl
nissl.claim("{name}", system=34, says="Gains | a lot.", measured={{"gain": {gain}}},
            null={{"gain": 0.0}}, rule={rule}, data="planted")
open("runs.txt", "a").write("{name} ")
"""


def project(root: Path, **gains: float) -> Path:
    (root / "replications" / "features").mkdir(parents=True, exist_ok=True)
    for name, gain in gains.items():
        text = SCRIPT.format(name=name, gain=gain, rule='"gain > 0.1"')
        (root / "replications" / "features" / f"{name}.py").write_text(text)
    return root


def runs(root: Path) -> list[str]:
    return (root / "runs.txt").read_text().split()


def test_only_missing_and_changed_replications_run_and_the_table_is_made(tmp_path: Path) -> None:
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
    assert "to be run again" not in page
    assert "to be run again" in claims_table([{**read_claims()[0], "code": {}}])
    assert page == claims_table(read_claims(folder=tmp_path / "claims"))


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = project(tmp_path, c=0.5) / "replications" / "features"
    (folder / "a.py").write_text("raise SystemExit(3)")
    (folder / "b.py").write_text("pass")
    made = SCRIPT.format(name="d", gain=0.5, rule='"gain > " + str(0.4)')
    (folder / "d.py").write_text(made)
    with pytest.raises(NisslError, match="3 of 4 replications") as caught:
        run_claims(root=tmp_path)
    assert "exit code 3" in str(caught.value)
    assert "made no claim called 'b'" in str(caught.value)
    assert "rule was made during the run" in str(caught.value)
    assert [r["name"] for r in read_claims(folder=tmp_path / "claims")] == ["c"]


IMPORTS = """
import nissl
from nissl.statistics import false_positive_rate
nissl.claim("a", system=51, says="Gains.", measured={"gain": 1}, null={}, rule="gain > 0",
            data="planted")
"""


def test_a_claim_is_stale_when_its_code_or_a_module_of_its_room_changes(tmp_path: Path) -> None:
    script = tmp_path / "replications" / "statistics" / "a.py"
    script.parent.mkdir(parents=True)
    script.write_text(IMPORTS)
    (record,) = run_claims(root=tmp_path)
    modules = set(record["code"]) - {"replications/statistics/a.py"}
    assert "nissl/statistics/calibration.py" in modules
    assert all(m.startswith("nissl/statistics/") for m in modules)
    package = tmp_path / "nissl"
    for module in modules:
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE.parent / module, tmp_path / module)
    assert stale(record, tmp_path, package=package) == ""
    script.write_text(IMPORTS.replace("\nimport", "\n# A comment.\nimport"))
    calibration = package / "statistics" / "calibration.py"
    calibration.write_text("# A comment.\n" + calibration.read_text())
    assert stale(record, tmp_path, package=package) == ""
    calibration.write_text(calibration.read_text() + "\nMORE = 1\n")
    assert stale(record, tmp_path, package=package) == (
        "nissl/statistics/calibration.py has changed"
    )
    script.write_text(IMPORTS.replace("1}", "2}"))
    assert stale(record, tmp_path) == "replications/statistics/a.py has changed"
    script.unlink()
    assert stale(record, tmp_path) == "replications/statistics/a.py is gone"
