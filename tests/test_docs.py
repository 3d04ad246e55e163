"""The documentation: its examples run, what is made from the code is up to date, links lead on."""

import ast
import doctest
import importlib.util
import operator
import re
from pathlib import Path
from types import ModuleType

import pytest

import nissl
from nissl.claims import read_claims
from nissl.claims_run import claims_table
from nissl.methods import system
from nissl.rules import primary_figure

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
        # These are made while the documentation is built, which fails where a link leads nowhere.
        if not target.startswith(("https:", "gallery/", "tutorials/", "reference/")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks_of_python_are_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        if ">>>" not in block:
            compile(block, page.name, "exec")


def script(name: str) -> ModuleType:
    """A script of the documentation, which is no package, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_block_of_python_is_run_or_says_why_not(page: Path) -> None:
    run = script("run_blocks")
    text = page.read_text()
    seen = 0
    for found in run.BLOCK.finditer(text):
        kind, said, block = found.groups()
        seen += 1
        if ">>>" in block or run.THEIRS in block.split("\n")[0]:
            continue  # run by the doctests above, or another library's
        if kind == "not run":
            assert len(said.split()) > 2, said
        else:  # run while the documentation is built
            assert page.parent.name == "docs" or page.name == "README.md", page
            assert block in run.code(text)
    assert seen == text.count("```python")


def test_a_block_that_fails_ends_the_build(tmp_path: Path) -> None:
    run = script("run_blocks")
    exceptions = pytest.importorskip("mkdocs.exceptions")
    page = "<!-- before: x = 1 -->\n```python\nassert x == 1\n```\n\n```python\ny = x + 1\n```\n"
    run.run("page.md", page)
    run.run("page.md", "<!-- not run: it would fail -->\n```python\n1 / 0\n```\n")
    with pytest.raises(exceptions.PluginError, match=r"(?s)line 7.*ZeroDivisionError"):
        run.run("page.md", page.replace("x + 1", "x / 0"))


COMMAND = re.compile(r"^nissl (.+?)(?:\s+#.*)?$", flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_are_those_of_the_program(page: Path) -> None:
    import shlex

    import typer

    from nissl.cli import app

    for block in re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.M):
        for line in COMMAND.findall(block):
            command, words = typer.main.get_command(app), shlex.split(line)
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            command.make_context("nissl", words)


def test_the_sites_are_those_of_the_library() -> None:
    made = script("make_sites").page()
    assert made == (ROOT / "docs" / "sites.md").read_text(), "run python docs/make_sites.py"


def test_every_public_name_is_in_the_reference() -> None:
    reference = script("make_reference")
    stubs = (ROOT / "src" / "nissl").rglob("__init__.pyi")
    assert len(reference.packages()) == len(list(stubs)) + len(reference.MODULES)
    for package in reference.packages():
        page, room = reference.page(package), importlib.import_module(package)
        public = set(room.__all__) - {"__version__"}
        assert public <= set(re.findall(r"^\| \[`(\w+)`\]", page, flags=re.MULTILINE)), package
        if package != "nissl":
            assert public == set(re.findall(r"^      heading: (\w+)", page, flags=re.MULTILINE))
        for address in re.findall(r"^::: (\S+)", page, flags=re.MULTILINE):
            module, name = address.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), name), address


def test_the_claims_are_those_that_were_made() -> None:
    table = claims_table(read_claims(folder=ROOT / "claims"))
    assert table == (ROOT / "docs" / "claims.md").read_text(), "run make claims"


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TUTORIALS = sorted((ROOT / "examples" / "tutorials").glob("*.py"))
REPLICATIONS = sorted((ROOT / "replications").glob("*/*.py"))


def test_the_gallery_has_a_page_for_every_example() -> None:
    # Not parsed as YAML: mkdocs has tags of its own.
    pages = re.findall(r"gallery/(\w+)\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(pages) == sorted(["index", *(path.stem for path in EXAMPLES)])
    pages = re.findall(r"tutorials/(\w+)\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(pages) == [path.stem for path in TUTORIALS]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_prose_code_and_pictures(path: Path) -> None:
    text = path.read_text()
    assert re.match(r'# %% \[markdown\] caption=".{20,80}"\n# # ', text)
    assert 40 <= len(text.splitlines()) <= 80
    assert text.count("# %% [markdown]") >= 3
    assert "plt.show()" in text


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_a_tutorial_ends_in_a_page_and_says_what_its_pictures_show(path: Path) -> None:
    text = path.read_text()
    assert re.match(r'# %% \[markdown\] caption=".{20,80}"\n# # ', text)
    assert 100 <= len(text.splitlines()) <= 185
    assert len(re.findall(r'^# %% alt=".{20,}"$', text, flags=re.M)) == text.count("plt.show()")
    assert "nissl.make_atlas(" in text


@pytest.mark.parametrize("path", [*EXAMPLES, *TUTORIALS, *REPLICATIONS], ids=lambda p: p.stem)
def test_scripts_use_public_names_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nissl":
            room = importlib.import_module(node.module or "")
            assert {alias.name for alias in node.names} <= set(room.__all__), node.module
    for name in re.findall(r"\bnissl\.([\w.]*\w)(?=\()", path.read_text()):
        assert callable(operator.attrgetter(name)(nissl)), name


@pytest.mark.parametrize("path", REPLICATIONS, ids=lambda p: p.stem)
def test_a_replication_ends_in_a_claim_of_its_name_with_a_rule_as_text(path: Path) -> None:
    last = ast.parse(path.read_text()).body[-1]
    if isinstance(last, ast.If):  # what is above is tested too
        assert ast.unparse(last.test) == "__name__ == '__main__'"
        last = last.body[-1]
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Call)
    assert ast.unparse(last.value.func) == "nissl.claim"
    assert ast.literal_eval(last.value.args[0]) == path.stem
    assert len(path.read_text().splitlines()) <= 120
    given = {keyword.arg: keyword.value for keyword in last.value.keywords}
    assert system(ast.literal_eval(given["system"])).room == path.parent.name
    assert primary_figure(ast.literal_eval(given["rule"]))
