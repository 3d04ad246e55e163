"""The documentation: its examples run, what is made from the code is up to date, links lead on."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

from nissl.claims import read_claims
from nissl.claims_run import claims_table

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_run(page: Path) -> None:
    failed, _ = doctest.testfile(str(page), module_relative=False)
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("https:"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks_of_python_are_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        if ">>>" not in block:
            compile(block, page.name, "exec")


def test_the_sites_are_those_of_the_library() -> None:
    path = ROOT / "docs" / "make_sites.py"
    spec = importlib.util.spec_from_file_location("make_sites", path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page() == (ROOT / "docs" / "sites.md").read_text(), "run python docs/make_sites.py"


def test_the_claims_are_those_that_were_made() -> None:
    table = claims_table(read_claims(folder=ROOT / "claims"))
    assert table == (ROOT / "docs" / "claims.md").read_text(), "run make claims"
