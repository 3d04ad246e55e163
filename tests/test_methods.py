"""Methods are found in the source; citing gives the paper or the nearest names."""

import re
from pathlib import Path

import pytest

from nissl.errors import NisslError, UnknownName
from nissl.methods import cite, methods, system, systems


def room(tmp_path: Path, text: str) -> Path:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "snmf.py").write_text(text)
    return tmp_path


def test_marked_functions_and_classes_are_listed_without_importing(tmp_path: Path) -> None:
    source = room(
        tmp_path,
        '"""Room."""\nraise SystemExit("imported")\n'
        '@method(system=34)\ndef snmf(x):\n    """Factor activity.\n\n    More."""\n'
        "@method(system=298)\nclass Ticket: ...\n"
        "def unmarked(): ...\n",
    )
    found = methods(source=source)
    assert [(m.name, m.system, m.room, m.summary) for m in found] == [
        ("nissl.features.Ticket", 298, "features", ""),
        ("nissl.features.snmf", 34, "features", "Factor activity."),
    ]
    assert found[1].file == "features/snmf.py"
    assert found[1].line == 4


@pytest.mark.parametrize("marker", ["@method(system=N)", "@method(system=True)", "@method()"])
def test_a_marker_without_a_plain_number_says_where(tmp_path: Path, marker: str) -> None:
    with pytest.raises(NisslError, match=r"features/snmf\.py:1"):
        methods(source=room(tmp_path, f"{marker}\ndef f(): ...\n"))


def test_a_marker_with_an_unknown_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="9999"):
        methods(source=room(tmp_path, "@method(system=9999)\ndef f(): ...\n"))


def test_the_papers_are_complete_and_numbered_once() -> None:
    numbers = [s.number for s in systems()]
    assert numbers == list(range(len(numbers)))
    assert all(s.name and s.title and s.room for s in systems())
    assert system(24) is systems()[24]


def test_every_marked_method_of_this_library_is_in_its_papers_list() -> None:
    assert all(0 <= m.system < len(systems()) for m in methods())


def test_a_system_is_cited_by_number_and_by_name() -> None:
    by_number = cite(298)
    assert by_number == cite("298") == cite("Lottery Ticket")
    assert "Lottery Ticket" in by_number.plain
    assert by_number.bibtex.startswith("@misc{nissl298,")


def test_authors_year_and_link_are_cited_where_they_were_looked_up() -> None:
    known = [s for s in systems() if s.authors or s.year or s.link]
    assert len(known) >= 21
    for s in known:
        assert s.authors
        assert re.fullmatch("(19|20)[0-9]{2}", s.year)
        # Numbers of preprints begin with the year and month they came out.
        assert re.fullmatch(rf"https://arxiv\.org/abs/{s.year[2:]}[0-9]{{2}}\.[0-9]{{5}}", s.link)
        assert str(cite(s.number)).startswith(f"{s.authors} ({s.year}). {s.title}. {s.link} ")
    assert "author = {Liu and others}," in cite(24).bibtex
    assert "author = {Shafran and Geiger and Geva}," in cite(34).bibtex
    assert str(cite(0)) == f"{system(0).title} (system 0)"
    assert cite(0).bibtex == f"@misc{{nissl0,\n  title = {{{{{system(0).title}}}}},\n}}"


def test_bibtex_escapes_what_latex_would_read() -> None:
    assert r"ReLU\^{}2" in cite(238).bibtex


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        cite("lotery ticket")
    assert caught.value.nearest[0] == "lottery ticket"
