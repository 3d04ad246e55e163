"""The reader: real, varied text in hundreds of short documents, brought by pip alone.

Prose, verse, drama, dialogue in many languages, sentences in a hundred languages, program text in
dozens of languages, and manuals. Its kinds are interleaved, so that any stretch of it has them all,
and it is made of many documents, because documents are what a null exchanges.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nissl.specimens.fetch import convert_once, fetch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["library", "reader"]

# Books: file, title, kind, and how many documents are taken, spread evenly over the book.
SHELF = (
    ("alice29.txt", "Alice's Adventures in Wonderland", "prose", 36),
    ("lcet10.txt", "Workshop on Electronic Texts", "prose", 36),
    ("Mark.Twain-Tom.Sawyer.txt", "The Adventures of Tom Sawyer", "prose", 6),
    ("asyoulik.txt", "As You Like It", "drama", 20),
    ("plrabn12.txt", "Paradise Lost", "verse", 20),
)
# Programming languages with real programs among the example files, by the folder they are in.
EXAMPLES = (
    "ada",
    "bash",
    "c",
    "clojure",
    "cobol",
    "cpp",
    "css",
    "d",
    "elixir",
    "erlang",
    "forth",
    "fortran",
    "go",
    "haskell",
    "html",
    "java",
    "js",
    "julia",
    "kotlin",
    "lhs",
    "lua",
    "make",
    "matlab",
    "ocaml",
    "perl",
    "php",
    "prolog",
    "python",
    "r",
    "racket",
    "rb",
    "rust",
    "scala",
    "scheme",
    "smalltalk",
    "sqlite3",
    "swift",
    "tcsh",
    "ts",
    "vhdl",
    "verilog",
    "zig",
)
# Documents of dialogue: in English, and in each other language.
DIALOGUES_ENGLISH, DIALOGUES_OTHER = 16, 3
# Lengths in estimated tokens that documents of a long text are cut to, in turn.
LENGTHS = (350, 700, 250, 1100, 500, 900, 400)
# A string literal of C++.
QUOTED = r"\"(?:[^\"\\]|\\.)*\""


class Document(NamedTuple):
    """One document, before the table is made."""

    text: str
    title: str
    language: str
    kind: str


def reader() -> pd.DataFrame:
    """Return real, varied text: some 200,000 tokens in hundreds of documents.

    Returns
    -------
    DataFrame
        ``text``; ``title``; ``language`` (of people or of programs, in English, or an ISO code);
        ``kind``: prose, verse, drama, dialogue, sentences, program or manual. The kinds are
        interleaved in a fixed order.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> sorted(reader()["kind"].unique())  # doctest: +SKIP
    ['dialogue', 'drama', 'manual', 'program', 'prose', 'sentences', 'verse']

    Source: the texts shipped with cramjam, chatterbot-corpus, spaCy, gcld3 and Pygments.
    """
    return _table("reader", "3", whole=False)


def library() -> pd.DataFrame:
    """Return all of the texts of which `reader` has a part: some two million tokens.

    Returns
    -------
    DataFrame
        As `reader`.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> len(library()) > 5 * len(reader())  # doctest: +SKIP
    True

    Source: as `reader`.
    """
    return _table("library", "1", whole=True)


def _table(name: str, version: str, *, whole: bool) -> pd.DataFrame:
    import pandas as pd

    def build(folder: Path) -> None:
        files = fetch(name)
        kinds = (
            list(_books(files, whole)),
            list(_dialogues(files, whole)),
            list(_sentences(files)),
            list(_programs(files, whole)),
            list(_manuals(files, whole)),
        )
        table = pd.DataFrame(_interleaved(kinds)).drop_duplicates("text")
        table.to_parquet(folder / f"{name}.parquet", index=False)

    return pd.read_parquet(convert_once(name, version, build) / f"{name}.parquet")


def _books(files: Path, whole: bool) -> Iterator[Document]:
    for name, title, kind, n in SHELF:
        (path,) = files.rglob(name)
        if kind == "verse":
            parts = list(_pack(_text(path).splitlines(), "\n"))
        elif kind == "prose":  # the line breaks of a book that was typed are not the author's
            parts = list(_pack((" ".join(p.split()) for p in _paragraphs(path)), "\n\n"))
        else:
            parts = list(_pack(_paragraphs(path), "\n\n"))
        # What stands before the first words is the typist's.
        for number, text in _spread(parts[2:], None if whole else n):
            yield Document(text, f"{title}, {number}", "english", kind)


def _dialogues(files: Path, whole: bool) -> Iterator[Document]:
    from nissl.specimens.texts import exchanges

    by_language: dict[str, list[str]] = {}
    for path in sorted(files.glob("chatterbot_corpus/data/*/*.yml")):
        spoken = dict.fromkeys("\n".join(f"- {said}" for said in e) for e in exchanges(path))
        by_language.setdefault(path.parent.name, []).extend(_pack(spoken, "\n\n", limit=450))
    for language, parts in by_language.items():
        n = DIALOGUES_ENGLISH if language == "english" else DIALOGUES_OTHER
        for number, text in _spread(parts, None if whole else n):
            yield Document(text, f"{language}: dialogue, {number}", language, "dialogue")


def _sentences(files: Path) -> Iterator[Document]:
    names: dict[str, str] = {}
    sentences: dict[str, list[str]] = {}
    for path in sorted(files.glob("spacy-*/spacy/lang/*/__init__.py")):
        if found := re.search(r"^class (\w+)\(Language\)", _text(path), re.MULTILINE):
            names[path.parent.name] = found[1].lower()
    for path in sorted(files.glob("spacy-*/spacy/lang/*/examples.py")):
        sentences[path.parent.name] = _literal(path, "sentences")
    (samples,) = files.rglob("nnet_lang_id_test_data.cc")
    for code, quoted in re.findall(rf"kTestStr(\w+) =\s*((?:{QUOTED}\s*)+);", _text(samples)):
        text = "".join(literal[1:-1] for literal in re.findall(QUOTED, quoted)).replace('\\"', '"')
        sentences.setdefault(code.lower(), []).append(" ".join(text.split()))
    for code, lines in sorted(sentences.items()):
        for number, text in enumerate(_pack(lines, "\n")):
            language = names.get(code, code)
            yield Document(text, f"{language}: sentences, {number}", language, "sentences")


def _programs(files: Path, whole: bool) -> Iterator[Document]:
    paths = [
        (language, path)
        for language in EXAMPLES
        for path in sorted(files.glob(f"pygments-*/tests/examplefiles/{language}/*"))[
            : None if whole else 2
        ]
    ]
    paths += [("python", path) for path in sorted(files.glob("pygments-*/pygments/*.py"))]
    paths += [("rust", path) for path in sorted(files.glob("cramjam-*/**/src/*.rs"))]
    paths += [("cpp", path) for path in sorted(files.glob("gcld3-*/src/*ent*.cc"))]
    for language, path in paths:
        for text in list(_pack(_paragraphs(path), "\n\n", limit=300))[: None if whole else 1]:
            yield Document(text, path.name, language, "program")


def _manuals(files: Path, whole: bool) -> Iterator[Document]:
    for path in sorted(files.glob("pygments-*/doc/docs/*.rst")):
        for text in list(_pack(_paragraphs(path), "\n\n", limit=350))[: None if whole else 1]:
            yield Document(text, path.name, "english", "manual")


def _spread(parts: list[str], n: int | None) -> Iterator[tuple[int, str]]:
    """Yield up to `n` parts at even distances, or all, with their numbers."""
    n = len(parts) if n is None else min(n, len(parts))
    for number in np.linspace(0, len(parts) - 1, n).astype(int):
        yield int(number), parts[number]


def _paragraphs(path: Path) -> list[str]:
    return re.split(r"\n\s*\n", _text(path))


def _text(path: Path) -> str:
    """Return a file's text; what a typist of 1992 put in another encoding is replaced."""
    return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").expandtabs(4)


def _literal(path: Path, name: str) -> list[str]:
    """Return a list that a Python file assigns, without running the file."""
    for statement in ast.parse(_text(path)).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return [str(value) for value in ast.literal_eval(statement.value)]
    return []


def _pack(pieces: Iterable[str], glue: str, *, limit: int | None = None) -> Iterator[str]:
    """Join pieces into documents of the lengths in turn; keep none of under some 80 tokens."""
    lengths = cycle(LENGTHS if limit is None else (limit,))
    held: list[str] = []
    size, length = 0.0, next(lengths)
    for piece in pieces:
        piece = piece.strip("\n").rstrip()
        if not piece or _tokens(piece) > 1500:  # a table of data is not text
            continue
        held.append(piece)
        size += _tokens(piece)
        if size >= length:
            yield glue.join(held)
            held, size, length = [], 0.0, next(lengths)
    if size >= 80:
        yield glue.join(held)


def _tokens(text: str) -> float:
    """Estimate how many tokens an English tokenizer makes of a text, from its bytes."""
    n_bytes = len(text.encode())
    return (n_bytes - len(text)) * 0.9 + len(text) / 4


def _interleaved(kinds: Iterable[list[Document]]) -> list[Document]:
    """Spread each kind evenly over the whole."""
    placed = [
        ((index + 0.5) / len(documents), rank, document)
        for rank, documents in enumerate(kinds)
        for index, document in enumerate(_shuffled(documents))
    ]
    return [document for _, _, document in sorted(placed, key=lambda item: item[:2])]


def _shuffled(documents: list[Document]) -> list[Document]:
    """Mix languages and titles within a kind, the same way each time."""
    order = np.random.default_rng(0).permutation(len(documents))
    return [documents[index] for index in order]
