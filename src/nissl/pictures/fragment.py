"""A picture as HTML for a notebook: in a frame of its own, with its renderer, data and style."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from nissl.errors import require_known
from nissl.pictures.renderers import frame_script, frame_style

__all__ = ["as_json", "html", "plain_table", "plain_text"]

#: What `html` draws, and what its data hold; the files of the renderers say more.
SHAPES = {
    "histogram": "counts and their edges; whole where they count",
    "text": "places: tokens t, activity a in 127ths, at, v, d and p",
    "places": "places: activity a in 127ths of the unit's range, at, v, and what they are, l",
    "image": "images: number s, activity v, label l, box; files by number",
    "curve": "name, says, kind, names, y, and low and high of the null",
    "rate_map": "cells from 0 to 255, range, what, names and ends of both axes",
    "raster": "cells of uint8 in base64, columns, range, counts, what rows are, as of raster.js",
    "graph": "nodes and edges as of graph.js, and its options",
    "finding": "title, says, score, rows with mean and sd of the null, columns and cells",
    "circuit": "title, says, a graph, columns and cells",
    "atlas": "title, says, facts, kinds, groups, note",
    "unit": "a card as of card.js",
}
UNDRAWN = "<p><small>To see the picture, run the cell or trust the notebook.</small></p>"
MOST = 1_000_000  # characters of data that a notebook should hold for one picture
STYLE = "display:block;width:100%;height:0;border:0;color-scheme:light"
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv='
    "\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:\"><title>{title}</title><style>{style}</style>"
    '</head><body><main></main><script type="application/json" id="data">{data}</script>'
    '<script>"use strict";(() => {{{script}}})();</script></body></html>'
)


def html(name: str, data: Mapping[str, Any], *, plain: str = "", title: str = "") -> str:
    """Return a picture as HTML that stands alone.

    It is drawn in a frame, so that nothing of it meets the page around it, light or dark as that
    page is; what is in the data is never read as HTML, and nothing is fetched.

    Parameters
    ----------
    name : str
        Which picture: histogram, text, places, image, curve, rate_map, raster, graph, finding,
        circuit, atlas or unit.
    data : mapping
        What JSON knows; `SHAPES` says what is drawn of it.
    plain : str
        HTML that is shown where scripts do not run, such as `plain_table` makes.
    title : str
        What the frame is, for those who hear it; the name of the picture if empty.

    Returns
    -------
    str
        HTML. Of more than a million characters of data, what is `plain` alone, and that it is so.

    Raises
    ------
    UnknownName
        There is no such picture.

    Examples
    --------
    >>> drawn = html("histogram", {"counts": [3, 1], "edges": [0, 1, 2]}, plain="3, 1")
    >>> drawn.startswith('<div class="nissl"><div><p><small>To see the picture')
    True
    """
    require_known("picture", name, tuple(SHAPES))
    told = as_json([name, data])
    if len(told) > MOST:
        said = f"<p>The picture is left out: its data are {len(told) / 1e6:.1f} MB.</p>"
        return f'<div class="nissl">{said}{plain}</div>'
    called = escape(title or name.replace("_", " "))
    page = PAGE.format(title=called, style=frame_style(), data=told, script=frame_script())
    # Markdown would end the element at an empty line.
    source = escape(page).replace("\n", "&#10;")
    frame = f'<iframe title="{called}" style="{STYLE}" srcdoc="{source}"></iframe>'
    return f'<div class="nissl"><div>{UNDRAWN}{plain}</div>{frame}</div>'


def as_json(data: Any) -> str:
    r"""Return data as JSON that may stand in a script element.

    Parameters
    ----------
    data : object
        What JSON knows; no number that is not finite.

    Returns
    -------
    str
        Nothing in it may end the element it stands in, or open another.

    Examples
    --------
    >>> as_json(["</script>"])
    '["\\u003c/script>"]'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark, written in (("<", "\\u003c"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        text = text.replace(mark, written)
    return text


def plain_table(columns: Sequence[str], cells: Iterable[Sequence[Any]]) -> str:
    """Return a table as HTML without style.

    Parameters
    ----------
    columns : sequence of str
        Their names.
    cells : iterable of sequence
        The rows; numbers are written with four figures.

    Returns
    -------
    str
        HTML; every text in it is escaped.

    Examples
    --------
    >>> plain_table(["a"], [["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """

    def row(cells: Iterable[Any], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{_cell(c)}</{tag}>' for c in cells)}</tr>"

    body = "".join(row(line, "td") for line in cells)
    return f"<table><thead>{row(columns, 'th')}</thead><tbody>{body}</tbody></table>"


def plain_text(*texts: str) -> str:
    """Return texts as HTML, each on a line.

    Parameters
    ----------
    *texts : str
        Nothing in them is read as HTML.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> plain_text("a < b", "c")
    'a &lt; b<br>c'
    """
    return "<br>".join(escape(text) for text in texts if text)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
