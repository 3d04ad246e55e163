"""Figures: ranked effects, effects by layer, bars, curves and heatmaps, each beside its null.

Each function takes numbers first and draws into ``axes=``, or else into a new pyplot figure; it
returns the axes, for labels, limits and titles. `Finding.plot` draws a finding by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "bar",
    "by_layer",
    "colours_of",
    "curve",
    "glass_brain",
    "heatmap",
    "panels",
    "ranked",
    "save_figure",
]

FOUND, REST, BAND, NULL = "#c2410c", "#94a3b8", "#e2e8f0", "#475569"
DARK = ("#2f5d8a", "#c8553d", "#57a773", "#8a6db1", "#e3a23c", "#777777")
COLOURS = (*DARK, "#8fbbe0", "#f0a58f", "#b5dcc0", "#cdb9e3", "#f3d79b", "#c4c4c4")


def ranked(
    effect: ArrayLike,
    *,
    null_sd: ArrayLike | None = None,
    found: ArrayLike | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw effects from the largest to the smallest, over the band that the null fills.

    Parameters
    ----------
    effect : array, shape (n_units,)
        By how much each score exceeds its null.
    null_sd : array, shape (n_units,), optional
        The deviation of each unit's null: the band is the middle 95%.
    found : array of bool, shape (n_units,), optional
        Which are coloured.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes.

    Examples
    --------
    >>> ranked([0.5, 0.1], found=[True, False]).get_xlabel()
    'rank'
    """
    axes = _axes(axes)
    values, hits = np.asarray(effect, dtype=float), _mask(found, effect)
    order = np.argsort(-values, kind="stable")
    rank = np.arange(1, len(order) + 1)
    if null_sd is not None:
        band = 1.96 * np.asarray(null_sd, dtype=float)[order]
        axes.fill_between(rank, -band, band, color=BAND, label="95% of the null", linewidth=0)
    axes.scatter(rank, values[order], s=5, color=REST, rasterized=True)
    if hits.any():
        own, label = hits[order], f"{hits.sum():,} found"
        axes.scatter(rank[own], values[order][own], s=9, color=FOUND, label=label)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xlabel("rank")
    return _legend(axes)


def by_layer(
    effect: ArrayLike, layer: ArrayLike, *, found: ArrayLike | None = None, axes: Axes | None = None
) -> Axes:
    """Draw effects of units by their layer.

    Parameters
    ----------
    effect : array, shape (n_units,)
        Any number of each unit.
    layer : array, shape (n_units,)
        Its layer.
    found : array of bool, shape (n_units,), optional
        Which are coloured.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes.

    Examples
    --------
    >>> by_layer([0.5, 0.1], [0, 1]).get_xlabel()
    'layer'
    """
    axes = _axes(axes)
    values, hits = np.asarray(effect, dtype=float), _mask(found, effect)
    # Spread by rank inside the layer, so that the picture is the same at every drawing.
    spread = (np.argsort(np.argsort(values)) * 0.618) % 1 - 0.5
    place = np.asarray(layer, dtype=float) + 0.7 * spread
    axes.scatter(place, values, s=4, color=REST, rasterized=True)
    axes.scatter(place[hits], values[hits], s=7, color=FOUND)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xlabel("layer")
    return axes


def bar(
    heights: Mapping[str, float] | pd.Series[float] | pd.DataFrame,
    *,
    interval: tuple[Any, Any] | None = None,
    null: Any = None,
    null_sd: Any = None,
    found: ArrayLike | None = None,
    stacked: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """Draw bars, each beside the mean and two deviations of its null.

    Parameters
    ----------
    heights : mapping of str to float, Series, or DataFrame
        A bar for each row; of a DataFrame one for each column, side by side or stacked.
    interval : tuple of two, each like `heights`, optional
        The lower and the upper end of an interval about each bar.
    null, null_sd : like `heights`, optional
        The mean of each bar's null, and its deviation.
    found : array of bool, like `heights`, optional
        Bars that are dark; the others are pale.
    stacked : bool
        Whether columns stand on each other.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes.

    Examples
    --------
    >>> len(bar({"trained": 0.9, "random": 0.5}, null=[0.5, 0.5], null_sd=[0.1, 0.1]).patches)
    2
    """
    from matplotlib.patheffects import withStroke

    axes, table, halo = _axes(axes), _table(heights), [withStroke(linewidth=3, foreground="white")]
    low, high = interval or (None, None)
    ends = [_like(table, given) for given in (low, high, null, null_sd)]
    dark = np.ones(table.shape, bool) if found is None else _like(table, found).astype(bool)
    place, n = np.arange(len(table)), table.shape[1]
    width = 0.8 if stacked or n == 1 else 0.8 / n
    base = np.zeros(len(table))
    for k, name in enumerate(table):
        own, colour = table[name].to_numpy(float), COLOURS[k % len(COLOURS)]
        at = place if stacked else place + width * (k - (n - 1) / 2)
        label = str(name) if n > 1 else ""
        drawn = axes.bar(at, own, 0.92 * width, base, color=colour, label=label)
        for patch, strong in zip(drawn, dark[:, k], strict=True):
            patch.set_alpha(1.0 if strong else 0.35)
        below, above, mean, sd = (e[:, k] if e.size else None for e in ends)
        if below is not None and above is not None:
            axes.errorbar(at, own, np.abs([own - below, above - own]), fmt="none", ecolor="black")
        if mean is not None:
            label = ("null, 2 sd" if sd is not None else "null") if k == 0 else ""
            two = None if sd is None else 2 * sd
            style: Any = {"color": "black", "capsize": 2, "path_effects": halo}
            axes.errorbar(at, mean, two, fmt="_", label=label, **style)
        base = base + own if stacked else base
    axes.axhline(0, color="black", linewidth=0.6)
    names = [str(name) for name in table.index]
    long: Any = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    step = -(-len(names) // 12)
    tilted = long if max(map(len, names), default=0) > 8 else {}
    axes.set_xticks(place[::step], names[::step], **tilted)
    axes.set_xlabel(str(table.index.name or ""))
    return _legend(axes)


def curve(
    lines: Mapping[str, Any] | pd.Series[float] | pd.DataFrame,
    *,
    interval: tuple[Any, Any] | None = None,
    null: ArrayLike | None = None,
    null_sd: ArrayLike | None = None,
    levels: Mapping[str, float] | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw lines over layers, positions or amounts, over the band that the null fills.

    Parameters
    ----------
    lines : Series, DataFrame, or mapping of str to array
        The index is what they go over; a line for each column.
    interval : tuple of two, each like `lines`, optional
        The lower and the upper end of a band about each line.
    null, null_sd : array, shape (n_points,), optional
        Mean and deviation of the null: a dashed line, and its middle 95%.
    levels : mapping of str to float, optional
        Horizontal lines by name: chance, the whole network.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes.

    Examples
    --------
    >>> axes = curve({"kept": [0.2, 0.6], "matched": [0.1, 0.2]}, levels={"chance": 0.1})
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['kept', 'matched']
    """
    axes, table = _axes(axes), _table(lines)
    x = table.index.to_numpy()
    if null is not None:
        mean = np.asarray(null, dtype=float)
        if null_sd is not None:
            band = 1.96 * np.asarray(null_sd, dtype=float)
            axes.fill_between(x, mean - band, mean + band, color=BAND, linewidth=0)
        axes.plot(x, mean, "--", color=NULL, linewidth=1, label="null")
    low, high = (_like(table, given) for given in interval or (None, None))
    for k, name in enumerate(table):
        colour = COLOURS[k % len(COLOURS)]
        if low.size:
            axes.fill_between(x, low[:, k], high[:, k], color=colour, alpha=0.2, linewidth=0)
        label = str(name) if table.shape[1] > 1 else ""
        axes.plot(x, table[name].to_numpy(float), "o-", ms=3, color=colour, label=label)
    for name, level in (levels or {}).items():
        axes.axhline(level, color="black", linewidth=0.8, ls=":")
        place: Any = {"xy": (1, level), "xycoords": ("axes fraction", "data")}
        axes.annotate(name, ha="right", va="bottom", fontsize=8, **place)
    axes.set_xlabel(str(table.index.name or ""))
    return _legend(axes)


def heatmap(
    matrix: pd.DataFrame | ArrayLike,
    *,
    label: str = "",
    limit: float | None = None,
    numbers: bool = False,
    words: ArrayLike | None = None,
    found: ArrayLike | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw a matrix in colours: white is zero, red above it and blue below, where there is any.

    Parameters
    ----------
    matrix : DataFrame or array, shape (n_rows, n_columns)
        Heads or units by layers or positions, groups by labels. NaN is left white.
    label : str
        What the numbers are, said at the colour bar.
    limit : float, optional
        Of the colours, at both sides; by default the largest absolute number.
    numbers : bool
        Write each number into its cell.
    words : array of str, shape (n_rows, n_columns), optional
        What is written into the cells instead, line breaks and spaces alone as signs.
    found : array of bool, shape (n_rows, n_columns), optional
        Cells that have a frame.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes; a colour bar stands beside them.

    Examples
    --------
    >>> heatmap([[1.0, -2.0]], label="nats").images[0].get_clim()
    (-2.0, 2.0)
    """
    axes, table = _axes(axes), _table(matrix)
    values = table.to_numpy(float)
    colours, low, limit = colours_of(values, limit)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=limit, aspect="auto")
    digits = 1 if limit >= 1 else 2
    written = np.asarray(words, dtype=object) if words is not None else None
    for (row, column), number in np.ndenumerate(values):
        if written is not None:
            text = _shown(written[row, column])
        elif numbers:
            text = f"{round(number, digits) + 0.0:.{digits}f}"  # no -0.0
        else:
            break
        strong = "white" if abs(number) > 0.6 * limit else "black"
        axes.text(column, row, text, fontsize=7, ha="center", va="center", color=strong)
    for row, column in np.argwhere(_mask(found, values)):
        x, y = np.array([0, 1, 1, 0, 0]) + column - 0.5, np.array([0, 0, 1, 1, 0]) + row - 0.5
        axes.plot(x, y, color="black", linewidth=1)
    _ticks(axes, table)
    axes.figure.colorbar(image, ax=axes, label=label)
    return axes


def colours_of(values: ArrayLike, limit: float | None = None) -> tuple[Any, float, float]:
    """Return a colour map whose white is zero, blue below it where there is any, and its ends.

    Parameters
    ----------
    values : array
        What is drawn.
    limit : float, optional
        Its largest absolute value by default.

    Returns
    -------
    tuple of (Colormap, float, float)
        The map, and the values at its ends.

    Examples
    --------
    >>> colours_of([0.5, -1.0])[1:], colours_of([0.5, 1.0])[1:]
    ((-1.0, 1.0), (0.0, 1.0))
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shown = np.asarray(values, dtype=float)
    limit = float(np.nanmax(np.abs(shown), initial=0.0)) if limit is None else limit
    colours: Any = colormaps["RdBu_r"]
    if (shown < 0).any():
        return colours, -limit, limit
    return ListedColormap(colours(np.linspace(0.5, 1, 256))), 0.0, limit


def glass_brain(values: ArrayLike, places: ArrayLike, *, axes: Axes | None = None) -> Axes:
    """Draw values at places of the brain, three views of a glass brain by nilearn.

    Parameters
    ----------
    values : array, shape (n_units,)
        The darkest are the least.
    places : array, shape (n_units, 3)
        x, y and z in mm.
    axes : matplotlib Axes, optional
        Where.

    Returns
    -------
    matplotlib Axes
        The axes.

    Raises
    ------
    NisslError
        nilearn is not installed.

    Examples
    --------
    >>> glass_brain([0.1, 0.5], [[0, 0, 0], [30, 0, 20]])  # doctest: +SKIP
    """
    import matplotlib.pyplot as plt

    try:
        from nilearn import plotting
    except ImportError as error:
        raise NisslError("nilearn is not installed", do="pip install 'nissl[brain]'") from error
    axes = plt.subplots(figsize=(9, 3.4))[1] if axes is None else axes
    plotting.plot_markers(
        np.asarray(values), np.asarray(places), node_size=12, node_cmap="magma", axes=axes
    )
    return axes


def panels(n_columns: int, n_rows: int = 1, *, size: float = 4.4) -> tuple[Figure, Any]:
    """Make a figure of several axes, without the upper and the right spine.

    Parameters
    ----------
    n_columns, n_rows : int
        How many.
    size : float
        The height of one, in inches; it is a tenth wider.

    Returns
    -------
    figure : matplotlib Figure
        Of pyplot.
    axes : array of Axes, shape (n_columns,) or (n_rows, n_columns)
        The axes.

    Examples
    --------
    >>> len(panels(3)[1])
    3
    """
    import matplotlib.pyplot as plt

    figsize = (1.1 * size * n_columns, size * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=figsize, layout="constrained")
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
    return figure, np.atleast_1d(axes)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, and make the folder that it goes to.

    Parameters
    ----------
    figure : matplotlib Figure
        The figure.
    path : path
        Where to; the suffix says in which format.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(panels(1)[0], folder + "/out/empty.png").exists()
    True
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def _axes(axes: Axes | None) -> Axes:
    return panels(1)[1][0] if axes is None else axes


def _table(given: Any) -> pd.DataFrame:
    """Return a Series, a mapping or an array as a table of columns."""
    import pandas as pd

    if isinstance(given, Mapping) and all(np.ndim(value) == 0 for value in given.values()):
        given = pd.Series(given)
    if isinstance(given, pd.Series):
        return given.to_frame()
    return given if isinstance(given, pd.DataFrame) else pd.DataFrame(given)


def _like(table: pd.DataFrame, given: Any) -> NDArray[Any]:
    """Return numbers in the shape of a table; of none, none."""
    if given is None:
        return np.zeros(0)
    if isinstance(given, Mapping):
        given = _table(given)
    return np.asarray(given).reshape(table.shape)


def _mask(found: ArrayLike | None, like: ArrayLike) -> NDArray[np.bool_]:
    return np.zeros(np.shape(like), bool) if found is None else np.asarray(found, dtype=bool)


def _legend(axes: Axes) -> Axes:
    """Name what is drawn; beside the axes where many names would cover it."""
    n = len(axes.get_legend_handles_labels()[0])
    if n:
        beside: Any = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if n > 5 else {}
        axes.legend(frameon=False, fontsize=8, **beside)
    return axes


def _shown(word: object) -> str:
    """Return a token as it can be seen, and as no formula."""
    text = str(word)
    if text.isspace():
        text = text.replace(" ", "\N{OPEN BOX}")
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("$", "\\$")


def _ticks(axes: Axes, table: pd.DataFrame) -> None:
    """Name rows and columns; of many, some."""
    for index, axis in ((table.index, axes.yaxis), (table.columns, axes.xaxis)):
        names = [str(name) for name in index]
        step = -(-len(names) // 20)
        axis.set_ticks(range(0, len(names), step), names[::step])
        axis.set_label_text(str(index.name or ""))
        if axis is axes.xaxis and max(map(len, names), default=0) > 3:
            for tick in axes.get_xticklabels():
                tick.set(rotation=35, ha="right", rotation_mode="anchor")
