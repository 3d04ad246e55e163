"""Texts by name, and texts of the user's own, each a table with one row a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nissl.specimens.fetching import fetch

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


def exchanges(path: Path) -> Iterator[list[str]]:
    """Yield the exchanges of one file of the chatterbot corpus.

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
    ...     _ = (Path(at) / "a.yml").write_text("conversations:\\n- - Hello\\n  - Good day\\n")
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
