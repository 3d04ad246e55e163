"""Texts: the reader is varied, of many documents, and always the same."""

import pandas as pd
import pytest

from nissl.specimens import load

from .conftest import needs


@pytest.mark.real
def test_the_reader_is_varied(reader_texts: pd.DataFrame) -> None:
    table = reader_texts
    assert list(table.columns) == ["text", "title", "language", "kind"]
    assert len(table) > 300
    assert set(table["kind"]) == {
        "prose",
        "verse",
        "drama",
        "dialogue",
        "sentences",
        "program",
        "manual",
    }
    assert table["language"].nunique() > 80
    assert table["title"].notna().all()
    assert not table["text"].duplicated().any()
    # Any tenth of it has most kinds: they are interleaved.
    for start in range(0, len(table) - 40, 40):
        assert table["kind"][start : start + 40].nunique() >= 6


@pytest.mark.real
def test_the_library_has_all_of_which_the_reader_has_a_part(reader_texts: pd.DataFrame) -> None:
    needs("library")
    table = load("library")
    assert set(reader_texts["text"]) <= set(table["text"])
    assert table["text"].str.len().sum() > 5 * reader_texts["text"].str.len().sum()
    assert not table["text"].duplicated().any()


@pytest.mark.real
def test_the_reader_has_150_000_to_250_000_tokens(
    reader_texts: pd.DataFrame, smollm2_folder: object
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)
    lengths = [len(ids) for ids in tokenizer(reader_texts["text"].tolist())["input_ids"]]
    assert 150_000 < sum(lengths) < 250_000
    assert min(lengths) > 60
    assert max(lengths) < 2000


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "rows", "languages"),
    [("dialogues", 7000, 20), ("bible", 1189, 1), ("udhr", 15_000, 500), ("countries", 250, 1)],
)
def test_other_texts(name: str, rows: int, languages: int) -> None:
    needs(name)
    table = load(name)
    assert len(table) >= rows
    assert table["language"].nunique() >= languages
    assert (table["text"].str.len() > 0).all()
