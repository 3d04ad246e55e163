"""Write the page of an atlas: one file, with everything it needs inside it."""

from __future__ import annotations

import json
import string
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl import pictures
from nissl.atlas.damage import part, readable, table_of
from nissl.atlas.page.against import against
from nissl.atlas.page.cards import Strings, cards
from nissl.atlas.page.degrees import in_degrees, unit_of
from nissl.atlas.page.every import EACH, FOLDER, write_every
from nissl.atlas.page.featured import featured_units
from nissl.atlas.page.statistic import as_base64, float24, measure_of, statistics_of
from nissl.atlas.page.text import ORDER, page_text
from nissl.atlas.thumbnails import FOLDER as PICTURES
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["filled", "page_data", "sites_of", "write_page"]

SCRIPTS = (
    "data.js",
    "colour.js",
    "tiles.js",
    "positions.js",
    "map.js",
    "zoom.js",
    "layers.js",
    "ranks.js",
    "unit.js",
    "main.js",
)
N_CARDS = 320
FORMAT = 2  # of the data that the scripts read, and of the words of `against` in it
NEEDED = ("unit", "site", "layer", "index", "kind")  # columns without which there is no page
DATA = '<script type="application/json" id="data">'
Q = 0.05  # at which a unit counts as tuned
LEADS = 48  # cards that stand in the first list, from all kinds


def write_page(atlas_dir: str | Path, *, n_cards: int = N_CARDS) -> Path:
    """Make ``index.html`` of an atlas from its tables.

    Parameters
    ----------
    atlas_dir : path
        A folder with the tables that `nissl.atlas.tables` describes. ``units.parquet`` and
        ``atlas.json`` must be there; what else is missing is left out of the page.
    n_cards : int
        Of how many units the page itself tells the contexts and the evidence; of all others they
        are in files of the folder ``units`` beside it, which it loads when one is opened.

    Returns
    -------
    Path
        The page: without anything fetched from a network; below 6 MB for 46,080 units, and what
        lies beside it some 1.5 kB a unit, of a recording 10 kB.

    Raises
    ------
    NisslError
        The folder is not an atlas, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(folder)
    Traceback (most recent call last):
    nissl.errors.NisslError: this folder is not an atlas: units.parquet is missing
      ...
    """
    folder = Path(atlas_dir)
    units, about = _read(folder)
    payload = _payload(folder, units, about, n_cards)
    try:
        if len(units) > len(payload["cards"]):
            write_every(folder, units)
            payload["every"] = {"each": EACH, "folder": FOLDER}
    except OSError as error:
        raise NisslError(
            f"the files of the units cannot be written: {error.strerror}",
            where=str(folder / FOLDER),
            do="make room or choose a folder that you may write",
        ) from error
    text = filled(payload)
    page = folder / "index.html"
    partial = page.with_suffix(".html.partial")
    try:
        partial.unlink(missing_ok=True)  # were it a link, it would be followed
        partial.write_text(text, encoding="utf-8")
        partial.replace(page)
    except OSError as error:
        raise NisslError(
            f"the page cannot be written: {error.strerror}",
            where=str(page),
            do="make room or choose a folder that you may write",
        ) from error
    return page


def page_data(atlas_dir: str | Path) -> dict[str, Any]:
    """Return what the page shows: from the page if it is there and of this version, else made.

    Parameters
    ----------
    atlas_dir : str or Path
        The folder of an atlas.

    Returns
    -------
    dict
        What the scripts of the page read.

    Raises
    ------
    NisslError
        The folder is not an atlas, or too little of it can be read.
    """
    folder = Path(atlas_dir)
    page = folder / "index.html"
    if page.exists():
        _, _, rest = page.read_text(encoding="utf-8", errors="replace").partition(DATA)
        try:
            found: dict[str, Any] = json.loads(rest.partition("</script>")[0])
        except ValueError:
            found = {}
        if found.get("format") == FORMAT:
            return found if "against" in found else found | {"against": _against(folder)}
    broken: list[str] = []
    with readable(folder):
        made = _payload(folder, *_read(folder, broken), N_CARDS, broken)
    return made | {"broken": broken}


def _payload(
    folder: Path,
    units: pd.DataFrame,
    about: dict[str, Any],
    n_cards: int,
    broken: list[str] | None = None,
) -> dict[str, Any]:
    """Everything the page shows, as JSON."""
    tuning = folder / "tuning.parquet"
    units, degrees = part(broken, tuning, lambda: in_degrees(folder, units), (units, []))
    strings, measure = Strings(), measure_of(about)
    rows = featured_units(units, n=n_cards)
    made = cards(folder, units, rows, strings, broken=broken)
    kinds = units["kind"].astype(str)
    leads = [
        c for c in made if kinds.iloc[c["row"]] not in ("dead", "unexplained", "untested")
    ] or made
    for card in leads[:LEADS]:
        card["lead"] = True
    sites = list(dict.fromkeys(units["site"].astype(str)))
    regular = [f"{s}[{i}]" for s, i in zip(units["site"], units["index"], strict=True)]
    return {
        "format": FORMAT,
        "n": len(units),
        "columns": _columns(units, sites, strings),
        "addresses": None if regular == list(units["unit"]) else list(units["unit"]),
        "sites": sites_of(units, sites),
        "statistics": [
            {
                **vars(s),
                "unit": unit_of(s, degrees, measure),
                "data": as_base64(float24(units[s.name])),
            }
            for s in statistics_of(units)
        ],
        "measure": measure,
        "categories": part(broken, tuning, lambda: _categories(folder, units), []),
        "pictures": {"folder": PICTURES, "suffix": about.get("pictures")},
        "cards": made,
        "strings": strings.texts,
        "against": against(map(str, units), about),
        **page_text(units, about),
    }


def _against(folder: Path) -> dict[str, str]:
    """Return the words of what each figure is compared with, which older pages lack."""
    import pyarrow.parquet as pq

    def read() -> dict[str, str]:
        names = pq.read_schema(folder / "units.parquet").names
        return against(names, json.loads((folder / "atlas.json").read_text(encoding="utf-8")))

    return part([], folder, read, {})  # what cannot be read is told by what needs it


def _read(folder: Path, broken: list[str] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pyarrow.parquet as pq

    for name in ("units.parquet", "atlas.json"):
        if not (folder / name).exists():
            raise NisslError(
                f"this folder is not an atlas: {name} is missing",
                where=str(folder),
                do="make one with `nissl atlas NETWORK --out FOLDER`",
            )
    path = folder / "units.parquet"
    with readable(path):
        names = pq.read_schema(path).names
    units = table_of(path, names, needed=NEEDED, broken=broken)
    with readable(folder / "atlas.json"):
        about = dict(json.loads((folder / "atlas.json").read_text(encoding="utf-8")))
    unknown = set(units["kind"].astype(str)) - set(ORDER)
    if unknown:
        raise NisslError(f"units of unknown kinds: {', '.join(sorted(unknown))}", where=str(folder))
    return units, about


def _columns(units: pd.DataFrame, sites: list[str], strings: Strings) -> dict[str, str]:
    """Return what every unit is, one number each."""
    code = {site: number for number, site in enumerate(sites)}
    columns = {
        "site": as_base64(units["site"].astype(str).map(code).to_numpy("<u2")),
        "index": as_base64(units["index"].to_numpy("<u4")),
        "kind": as_base64(units["kind"].astype(str).map(ORDER.index).to_numpy("u1")),
    }
    for name in ("token", "bigram", "language"):
        if name in units and units[name].astype(bool).any():
            columns[name] = as_base64(_numbers(units[name], strings))
    return columns


def _categories(folder: Path, units: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each coordinate of categories which one every unit prefers; 0 for none, q > 0.05.

    The map is coloured by it, and units are found by it.
    """
    import pandas as pd

    path, found = folder / "tuning.parquet", []
    if not path.exists():
        return []
    table = pd.read_parquet(path, columns=["coordinate", "kind", "level_names"])
    first = table[table["kind"].astype(str) == "categorical"].drop_duplicates("coordinate")
    for line in first.to_dict("records"):
        name, levels = str(line["coordinate"]), [str(n) for n in line["level_names"]]
        code = {level: number for number, level in enumerate(levels, 1)}
        codes = units[f"{name}_preferred"].map(code).fillna(0).to_numpy("<u2")
        codes = np.where(units[f"{name}_q"] <= Q, codes, 0).astype("<u2")
        label = f"preferred {name.replace('_', ' ')}"
        found.append({"name": name, "label": label, "levels": levels, "data": as_base64(codes)})
    return found


def _numbers(texts: pd.Series, strings: Strings) -> np.ndarray[Any, Any]:
    numbers = np.array([strings.number(str(t)) for t in texts])
    # More texts than two bytes can count: the rarest go without, rather than be wrong.
    return np.where(numbers < 2**16, numbers, 0).astype("<u2")


def sites_of(units: pd.DataFrame, sites: list[str]) -> list[dict[str, str]]:
    """Name each site in full, by a few words, and by a mark for an axis.

    Parameters
    ----------
    units : DataFrame, n_units rows
        The table ``units.parquet``, of which ``site`` and ``layer`` are read.
    sites : list of str
        The sites.

    Returns
    -------
    list of dict
        ``name``, ``long`` and ``short`` of each.
    """
    first = units.drop_duplicates("site").set_index("site")["layer"]
    layers = {site: int(first[site]) for site in sites}
    alone = len(set(layers.values())) == len(sites) and min(layers.values()) >= 0
    return [
        {
            "name": site,
            "long": f"layer {layers[site]}" if alone else site,
            "short": str(layers[site]) if alone else site if len(site) <= 24 else f"{site[:23]}…",
        }
        for site in sites
    ]


def filled(payload: dict[str, Any], *, more_script: str = "", more_style: str = "") -> str:
    """Put style, data and scripts into the template.

    Parameters
    ----------
    payload : dict
        What `page_data` returns.
    more_script, more_style : str
        What the explorer adds to those of the page.

    Returns
    -------
    str
        The page as HTML.
    """
    files = resources.files("nissl.atlas.page")

    def text(name: str) -> str:
        return files.joinpath(name).read_text(encoding="utf-8")

    scripts = pictures.script() + "\n".join(text(name) for name in SCRIPTS)
    title = f"{payload['title']} · Nissl atlas"
    # What stands at the top is in the page from the beginning, so that nothing jumps.
    facts = "".join(
        f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>"
        for k, v in payload["facts"]
    )
    return string.Template(text("template.html")).substitute(
        title=escape(title),
        what=escape(payload["what"]),
        heading=escape(payload["title"]),
        intro=escape(payload["intro"]),
        facts=facts,
        style=pictures.style() + text("page.css") + more_style,
        data=pictures.as_json(payload),
        script=f'"use strict";\n(() => {{\n{scripts}{more_script}}})();\n',
    )
