"""A user's own texts: one row a document, and what is no text said with its file and byte."""

import json
from pathlib import Path

import pytest

from nissl.errors import NisslError
from nissl.specimens import read_texts


def test_a_folder_in_any_depth(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.py").write_text("print('b')\n")
    (tmp_path / "deep" / "a.md").write_text("# A — naïve 東京\n", encoding="utf-8")
    (tmp_path / ".hidden").write_bytes(b"\0")
    table = read_texts(tmp_path)
    assert table["title"].tolist() == ["b.py", "deep/a.md"]
    assert table["kind"].tolist() == ["py", "md"]
    assert "東京" in table["text"][1]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "topic": "x", "nested": {}}\n\n"two"\n')
    table = read_texts(path)
    assert table["text"].tolist() == ["one", "two"]
    assert set(table.columns) == {"text", "title", "kind", "topic"}


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    assert read_texts(tmp_path / "a.txt")["text"].tolist() == ["one"]


@pytest.mark.parametrize(
    ("name", "content", "what", "byte"),
    [
        ("a.txt", b"", "empty", 0),
        ("a.txt", b" \n\t\n", "empty", 0),
        ("a.txt", b"abc\x00def", "binary", 3),
        ("a.txt", b"caf\xe9 noir", "not UTF-8", 3),
        ("a.txt", "a" * 70_000 + "\0", "binary", 70_000),
    ],
)
def test_what_is_no_text(
    tmp_path: Path, name: str, content: bytes | str, what: str, byte: int
) -> None:
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NisslError, match=what) as raised:
        read_texts(tmp_path)
    assert raised.value.where == f"{tmp_path / name}, byte {byte}"


@pytest.mark.parametrize("line", ["{", "3", '{"words": "a"}', '{"text": ""}', "[]"])
def test_a_line_without_text(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'"fine"\n{line}\n')
    with pytest.raises(NisslError, match="line 2"):
        read_texts(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NisslError, match="no such text"):
        read_texts(tmp_path / "absent")
    with pytest.raises(NisslError, match="holds no files"):
        read_texts(tmp_path)


def test_other_line_breaks_of_unicode_stay_within_a_line(tmp_path: Path) -> None:
    words = "one\u2028two\u2029three\x85four"
    (tmp_path / "a.jsonl").write_text(json.dumps(words, ensure_ascii=False) + '\r\n"next"\n')
    assert read_texts(tmp_path / "a.jsonl")["text"].tolist() == [words, "next"]
    (tmp_path / "a.jsonl").write_text("[" * 100_000)
    with pytest.raises(NisslError, match="line 1 is not JSON"):
        read_texts(tmp_path / "a.jsonl")
