"""The renderers as one script, and how they look."""

from functools import cache
from importlib import resources

__all__ = ["frame_script", "frame_style", "script", "style"]

SCRIPTS = (
    "elements.js",
    "colour.js",
    "histogram.js",
    "text.js",
    "curve.js",
    "trace.js",
    "image.js",
    "rate_map.js",
    "raster.js",
    "null.js",
    "table.js",
    "graph.js",
    "kinds.js",
    "scores.js",
    "card.js",
)
STYLES = ("pictures.css",)


def script() -> str:
    """Return the functions that draw, to be put into a script's own scope.

    Returns
    -------
    str
        JavaScript: functions of plain data that return elements; ``card.js`` puts them together.
    """
    return _text(SCRIPTS)


def style() -> str:
    """Return the colours and the style of what they draw.

    Returns
    -------
    str
        CSS; the root element's ``data-theme`` is ``light`` or ``dark``.
    """
    return _text(STYLES)


def frame_script() -> str:
    """Return the script of a frame that draws one picture.

    Returns
    -------
    str
        JavaScript.
    """
    return _text((*SCRIPTS, "frame.js"))


def frame_style() -> str:
    """Return the style of a frame that draws one picture.

    Returns
    -------
    str
        CSS.
    """
    return _text((*STYLES, "frame.css"))


@cache
def _text(names: tuple[str, ...]) -> str:
    files = resources.files("nissl.pictures")
    return "\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in names)
