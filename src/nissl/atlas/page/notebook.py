"""An atlas, and one of its units, as notebooks show them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.atlas.page.against import against
from nissl.atlas.page.cards import Strings, cards
from nissl.atlas.page.degrees import in_degrees, unit_of
from nissl.atlas.page.statistic import measure_of, statistics_of
from nissl.atlas.page.text import page_text
from nissl.atlas.page.write import sites_of
from nissl.atlas.thumbnails import FOLDER
from nissl.pictures import html, plain_table, plain_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["atlas_html", "unit_card", "unit_html"]

MOST = 64  # sites that are drawn
TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def atlas_html(folder: Path, units: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """Return what an atlas holds, as a picture: kinds of units, in all and in each site.

    Parameters
    ----------
    folder : Path
        The atlas.
    units : DataFrame, n_units rows
        The table ``units.parquet``.
    about : mapping
        What ``atlas.json`` holds.

    Returns
    -------
    str
        HTML.
    """
    told = page_text(units, about)
    sites = list(dict.fromkeys(units["site"].astype(str)))
    shown = sites_of(units, sites)[:MOST]
    kinds = [k for k in told["kinds"] if k["count"]]
    names = [k["name"] for k in kinds]
    counts = units.groupby(["site", units["kind"].astype(str)], observed=True).size()
    table = counts.unstack(fill_value=0).reindex(columns=names, fill_value=0)
    counted = table.reindex([site["name"] for site in shown]).to_numpy(int).tolist()
    groups = [{**site, "counts": n} for site, n in zip(shown, counted, strict=True)]
    left = f"Drawn are the first {MOST} of {len(sites):,} sites. " if len(sites) > MOST else ""
    note = f'{left}Open its page, {folder / "index.html"}, or the explorer: nissl view "{folder}"'
    data = {
        "title": told["title"],
        "says": told["intro"],
        "facts": told["facts"],
        "kinds": kinds,
        "groups": groups,
        "note": note,
    }
    plain = plain_table(["site", *names], [[site["name"], *site["counts"]] for site in groups])
    said = f"<p>{plain_text(told['title'], told['intro'], note)}</p>"
    return html("atlas", data, plain=said + plain, title=f"Atlas {told['title']}")


def unit_card(folder: Path, units: pd.DataFrame, about: Mapping[str, Any], row: int) -> Any:
    """Return what the page tells of a unit: plain data, with names and texts in full.

    Parameters
    ----------
    folder, units, about
        As of `atlas_html`.
    row : int
        Its row.

    Returns
    -------
    dict
        As ``card.js`` reads it: why it is of its kind, statistics, histogram, where it is highest
        and lowest, what it responds to with q, its curves with their null, what it writes, and
        its neighbours.
    """
    strings = Strings()
    (card,) = cards(folder, units, [row], strings)
    names = units["unit"]
    for place in (*card.get("high", ()), *card.get("low", ())):
        if "t" in place:
            place["t"] = [strings.texts[number] for number in place["t"]]
    if "neighbours" in card:
        card["neighbours"] = [[str(names.iloc[other]), r] for other, r in card["neighbours"]]
    turned, degrees = in_degrees(folder, units)
    measure = measure_of(about)
    values = [(s, float(turned[s.name].iloc[row])) for s in statistics_of(turned)]
    card["statistics"] = [
        {**vars(s), "unit": unit_of(s, degrees, measure), "value": value}
        for s, value in values
        if np.isfinite(value)
    ]
    kind = str(units["kind"].iloc[row])
    card["against"] = against(map(str, units), about)
    (card["meaning"],) = (
        k["meaning"] for k in page_text(units, about)["kinds"] if k["name"] == kind
    )
    return {"name": str(names.iloc[row]), "kind": kind, "measure": measure, **card}


def unit_html(folder: Path, about: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Return the card of a unit as a picture.

    Parameters
    ----------
    folder : Path
        The atlas, where its images are.
    about : mapping
        What ``atlas.json`` holds.
    card : mapping
        What `unit_card` returns.

    Returns
    -------
    str
        HTML, with the images in it.
    """
    suffix = str(about.get("pictures"))
    numbers = {p["s"] for end in ("high", "low") for p in card.get(end, ()) if "s" in p}
    files = {}
    for number in numbers if suffix in TYPES else ():
        path = folder / FOLDER / f"{number}{suffix}"
        if path.exists():
            text = base64.b64encode(path.read_bytes()).decode("ascii")
            files[str(number)] = f"data:{TYPES[suffix]};base64,{text}"
    data = {**card, "tiny": suffix == ".png", **({"files": files} if files else {})}
    reason = "".join(part if isinstance(part, str) else part[0] for part in card["reason"])
    cells = [[s["label"], s["value"], s["unit"]] for s in card["statistics"]]
    plain = f"<p>{plain_text(card['name'], reason)}</p>"
    # The end at which it is what it is stands first.
    for end in ("low", "high") if card.get("sign", 1) < 0 else ("high", "low"):
        if card.get(end):
            lines = "".join(f"<li>{_plain_place(place)}</li>" for place in card[end])
            plain += f"<p>Where it is {end}est</p><ul>{lines}</ul>"
    for name in ("tokens", "bigrams"):
        if name in card:
            head = [name.removesuffix("s"), "effect, sd", "q", "documents"]
            plain += plain_table(head, card[name])
    plain += plain_table(["figure", "value", "unit"], cells)
    return html("unit", data, plain=plain, title=f"Unit {card['name']}")


def _plain_place(place: Mapping[str, Any]) -> str:
    """Return a text with the peak bold, or what an image or a moment is called."""
    said = f"{place['v']:.3g}: "
    if "t" in place:
        # An empty line would end what Markdown takes for HTML.
        shown = [plain_text(token.replace("\n", "⏎")) for token in place["t"]]
        shown[place["at"]] = f"<b>{shown[place['at']]}</b>"
        return said + "".join(shown)
    if "s" in place:
        label = f": {place['l']}" if place.get("l") else ""
        return said + plain_text(f"image {place['s']:,}{label}")
    return said + plain_text(place.get("l") or f"sample {place['i']:,}")
