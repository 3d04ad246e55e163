"""The Bibles of the pythonbible packages: a Python file that is read and never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from nissl.errors import NisslError

__all__ = ["read_chapters"]


def read_chapters(source: str) -> Iterator[tuple[str, str, int, int]]:
    r'''Yield the chapters of a Bible from the source of its module.

    Parameters
    ----------
    source : str
        The module's text: a literal of the whole Bible, then two tables from a verse's number
        (book, three digits of chapter, three of verse) to where it begins and ends, and at the
        end the names of the books.

    Yields
    ------
    text : str
        The chapter.
    name : str
        The book's name.
    book, chapter : int
        Their numbers.

    Raises
    ------
    NisslError
        The module has another form.

    Examples
    --------
    >>> tables = '{\n1001001: 0,\n1002001: 7,\n},\n{\n1001001: 7,\n1002001: 12,\n}'
    >>> list(read_chapters(f'"""In it. More."""\n{tables}, Book.GENESIS: "Genesis",'))
    [('In it.', 'Genesis', 1, 1), ('More.', 'Genesis', 1, 2)]
    '''
    found = re.search(r'"""(?:[^"\\]|\\.|"(?!""))*"""', source, re.DOTALL)
    places = [
        (int(verse), int(at)) for verse, at in re.findall(r"^\s*(\d{7,8}): (\d+),", source, re.M)
    ]
    names = re.findall(r"Book\.\w+: \"([^\"]+)\"", source)
    half = len(places) // 2
    if found is None or not places or len(places) % 2 or not names:
        raise NisslError("the Bible's file has another form than expected", do="fetch it again")
    text = ast.literal_eval(found[0])
    begins, ends = dict(places[:half]), dict(places[half:])
    chapters: dict[int, list[int]] = {}
    for verse in begins:
        chapters.setdefault(verse // 1000, []).append(verse)
    for chapter, verses in chapters.items():
        book, number = divmod(chapter, 1000)
        words = text[begins[verses[0]] : ends[verses[-1]]]
        yield words.strip(), names[book - 1], book, number
