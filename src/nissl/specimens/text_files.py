"""Texts of the user's own: a file, or a folder of files, as a table with one row a document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nissl.errors import NisslError, first_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_texts"]

# Bytes that text does not hold: the C0 controls, but tab, line feed, form feed, carriage return
# and escape.
BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def read_texts(path: str | Path) -> pd.DataFrame:
    r"""Read a text file, a JSON-lines file or a folder of them, each document a row.

    Parameters
    ----------
    path : str or Path
        A file of any suffix is one document; each line of a ``.jsonl`` file is one, an object with
        a ``text`` (its other scalar fields become columns) or a string. Of a folder, all files in
        any depth, sorted, apart from hidden ones.

    Returns
    -------
    DataFrame
        ``text``, ``title`` (the path within the folder), ``kind`` (the suffix, without its dot),
        and the fields of JSON lines.

    Raises
    ------
    NisslError
        Nothing is there, or a file is empty, binary or not UTF-8: which file, at which byte.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as at:
    ...     _ = Path(at, "a.txt").write_text("Call me Ishmael.")
    ...     _ = Path(at, "b.jsonl").write_text('{"text": "One", "topic": "numbers"}\n"Two"\n')
    ...     table = read_texts(at)
    >>> table["text"].tolist(), table["topic"].tolist()[1]
    (['Call me Ishmael.', 'One', 'Two'], 'numbers')
    """
    import pandas as pd

    path = Path(path).expanduser()
    if not path.exists():
        raise NisslError("there is no such text", where=str(path), do="give a file or a folder")
    files = sorted(_files(path)) if path.is_dir() else [path]
    if not files:
        raise NisslError(
            "the folder holds no files", where=str(path), do="give one with text in it"
        )
    rows: list[dict[str, object]] = []
    for file in files:
        title = file.relative_to(path).as_posix() if path.is_dir() else file.name
        kind = file.suffix.removeprefix(".")
        text = _utf8(file)
        documents = _lines(text, file) if kind in ("jsonl", "ndjson") else iter([{"text": text}])
        rows += [{"title": title, "kind": kind, **document} for document in documents]
    table = pd.DataFrame(rows)
    return table[["text", *(column for column in table.columns if column != "text")]]


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(folder).parts):
            yield file


def _utf8(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NisslError(f"the text cannot be read: {error.strerror}", where=str(file)) from error
    if found := BINARY.search(content):
        at = found.start()
        raise NisslError(
            f"the file is binary: byte {at} is 0x{content[at]:02x}",
            where=f"{file}, byte {at}",
            do="give plain text; convert documents (PDF, Word) to text first, or remove the file",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NisslError(
            f"the text is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}",
            where=f"{file}, byte {error.start}",
            do="convert it to UTF-8, for instance with iconv",
        ) from error
    if not text.strip():
        raise NisslError(
            "the text is empty", where=f"{file}, byte 0", do="give a file with words in it"
        )
    return text


def _lines(text: str, file: Path) -> Iterator[dict[str, object]]:
    # Not splitlines: JSON may hold the other line breaks of Unicode as they are.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise NisslError(
                f"line {number} is not JSON: {first_line(error)}", where=f"{file}, line {number}"
            ) from error
        document = {"text": value} if isinstance(value, str) else value
        words = document.get("text") if isinstance(document, dict) else None
        if not isinstance(words, str) or not words.strip():
            raise NisslError(
                f"line {number} has no text",
                where=f"{file}, line {number}",
                do='write each line as {"text": "..."}, or as a string',
            )
        yield {k: v for k, v in document.items() if isinstance(v, str | int | float | bool)}
