"""What the page tells of units that have no card: files beside it, loaded when one is opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nissl.atlas.page.cards import Strings, cards

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EACH", "FOLDER", "write_every"]

EACH = 512  # units in a file
FOLDER = "units"


def write_every(folder: Path, units: pd.DataFrame) -> int:
    """Write places, tokens, pairs, curves, logits and neighbours of every unit beside the page.

    A page opened from the disk may not read files, but it may load scripts.

    Parameters
    ----------
    folder : Path
        The atlas.
    units : DataFrame, n_units rows
        Its table ``units.parquet``.

    Returns
    -------
    int
        How many files; they are put in place together.

    Examples
    --------
    >>> import pandas as pd
    >>> from tempfile import TemporaryDirectory
    >>> table = pd.DataFrame({"unit": ["a[0]"], "kind": ["dead"]})
    >>> with TemporaryDirectory() as folder:
    ...     write_every(Path(folder), table)
    ...     (Path(folder) / "units" / "0.js").read_text()
    1
    'nisslUnits({"cards":[{"row":0,"reason":["never active"]}],"strings":[""]});'
    """
    there, partial = folder / FOLDER, folder / f"{FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    starts = range(0, len(units), EACH)
    for number, start in enumerate(starts):
        strings = Strings()
        rows = range(start, min(start + EACH, len(units)))
        made = {"cards": cards(folder, units, rows, strings, few=True), "strings": strings.texts}
        text = json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        # The line breaks of Unicode were none in JavaScript once.
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        (partial / f"{number}.js").write_text(f"nisslUnits({text});", encoding="utf-8")
    shutil.rmtree(there, ignore_errors=True)
    partial.rename(there)
    return len(starts)
