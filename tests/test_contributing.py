"""The method that CONTRIBUTING shows to a newcomer is run as it stands."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_a_first_method_runs_and_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    section = PAGE.read_text(encoding="utf-8").partition("## A first method")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    code = found[1]
    assert len([line for line in code.splitlines() if line.strip()]) < 40
    names: dict[str, object] = {}
    exec(compile(code, "contrast.py", "exec"), names)
    check = names["test_what_is_planted_is_found_and_nothing_else"]
    assert callable(check)
    check()
    assert (tmp_path / "contrast.png").stat().st_size > 5000
