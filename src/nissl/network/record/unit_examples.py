"""Examples of a unit: where a corpus moves it most, with the words around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.network.record.recorder import stream
from nissl.network.run.plan import plan_of
from nissl.network.sites.site import site_of_unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from nissl.network.sites.base import BaseNetwork
    from nissl.recording.chunks import Chunk

__all__ = ["UnitExamples", "unit_examples"]


@dataclass(frozen=True)
class UnitExamples:
    """Places of a corpus, with a unit's activity there and at the words around.

    Parameters
    ----------
    unit : str
        Its address.
    table : DataFrame
        A row for each place, the most active first: ``document``, ``position``, ``token``,
        ``activity`` and ``text`` (the place in double brackets, between the words around it).
    words : array of str, shape (n_places, before + 1 + after)
        The tokens around each place; empty beyond the ends of its document.
    activity : array of float32, same shape
        The activity at each; NaN beyond the ends.
    """

    unit: str
    table: pd.DataFrame
    words: NDArray[Any]
    activity: NDArray[np.float32]

    def plot(self, *, limit: float | None = None, axes: Axes | None = None) -> Axes:
        """Draw a row for each place: the words, coloured by the unit's activity at them.

        Parameters
        ----------
        limit : float, optional
            Of the colours, at both sides; by default the largest activity.
        axes : matplotlib Axes, optional
            Where.

        Returns
        -------
        matplotlib Axes
            The axes.
        """
        from nissl.statistics.figure import heatmap, panels

        n_rows, n_columns = self.words.shape
        if axes is None:
            axes = panels(1)[1][0]
            axes.figure.set_size_inches(2 + n_columns, 1 + 0.32 * n_rows)  # type: ignore[union-attr]
        heatmap(self.activity, words=self.words, label="activity", limit=limit, axes=axes)
        axes.set_xticks([])
        axes.set_yticks(range(n_rows), [f"{value:.3g}" for value in self.table["activity"]])
        axes.set(ylabel="activity", title=self.unit)
        return axes


def unit_examples(
    net: BaseNetwork,
    unit: str,
    inputs: Any,
    *,
    n: int = 12,
    between: tuple[float, float] | None = None,
    context: tuple[int, int] = (6, 3),
    seed: int = 0,
    progress: bool = True,
) -> UnitExamples:
    """Find where a corpus moves a unit most, or within a share of the most.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    unit : str
        Its address.
    inputs : texts, token ids or DataFrame
        What is read.
    n : int
        How many places, each in another document where there are as many.
    between : tuple of float, optional
        Draw places at random instead, whose activity is between these shares of the largest:
        ``(0.1, 0.3)`` shows whether what the top suggests holds further down. Negative shares are
        of the lowest activity: ``(-1, -0.5)``.
    context : tuple of int
        Tokens shown before and after.
    seed : int
        Of the draw.
    progress : bool
        Show a bar.

    Returns
    -------
    UnitExamples
        A table, and ``plot``.

    Raises
    ------
    NisslError
        It is not a unit's address, or no activity is within `between`.

    Notes
    -----
    The top of a list flatters: Bolukbasi et al. 2021 found that other ranges of a unit's activity
    often mean something else.

    Examples
    --------
    >>> net.unit_examples("blocks.18.mlp.neurons[882]", texts).plot()  # doctest: +SKIP
    """
    import pandas as pd

    site, index = site_of_unit(unit)
    net.find(unit)  # an index that the site does not have is refused before anything is read
    values: list[NDArray[np.float32]] = []
    samples: dict[str, list[NDArray[Any]]] = {"document": [], "position": [], "token": []}

    def consume(chunk: Chunk) -> None:
        values.append(chunk.values[:, index].copy())
        for name, kept in samples.items():
            kept.append(np.asarray(chunk.samples[name]).copy())

    plan = plan_of(net, inputs).text("texts")
    stream(net, plan, sites=site, consume=consume, progress=progress)
    activity = np.concatenate(values)
    document, position, token = (np.concatenate(kept) for kept in samples.values())
    places = _places(activity, document, n, between, seed)
    window = places[:, None] + np.arange(-context[0], context[1] + 1)
    inside = (window >= 0) & (window < len(activity))
    window = np.clip(window, 0, len(activity) - 1)
    inside &= document[window] == document[places][:, None]
    names = {int(one): net.tokens([int(one)])[0] for one in np.unique(token[window])}
    words = np.where(inside, np.vectorize(names.get, otypes=[object])(token[window]), "")
    around = np.where(inside, activity[window], np.nan).astype(np.float32)
    middle = context[0]
    table = pd.DataFrame(
        {
            "document": document[places],
            "position": position[places],
            "token": words[:, middle],
            "activity": activity[places],
            "text": [
                "".join(row[:middle]) + f"[[{row[middle]}]]" + "".join(row[middle + 1 :])
                for row in words
            ],
        }
    )
    return UnitExamples(unit, table, words, around)


def _places(
    activity: NDArray[np.float32],
    document: NDArray[Any],
    n: int,
    between: tuple[float, float] | None,
    seed: int,
) -> NDArray[np.int64]:
    """Return the rows that are shown, the most active first."""
    if between is None:
        order = np.argsort(-activity, kind="stable")
        first = np.sort(np.unique(document[order], return_index=True)[1])[:n]
        rest = np.setdiff1d(np.arange(min(n, len(order))), first)[: n - len(first)]
        return order[np.sort(np.append(first, rest))]
    low, high = sorted(between)
    extreme = activity.max() if high > 0 else -activity.min()
    within = np.flatnonzero((activity >= low * extreme) & (activity <= high * extreme))
    if not len(within):
        raise NisslError(
            f"no activity is between {low * extreme:.3g} and {high * extreme:.3g}",
            do="give other shares of the largest activity as between=",
        )
    drawn = np.random.default_rng(seed).choice(within, min(n, len(within)), replace=False)
    return drawn[np.argsort(-activity[drawn], kind="stable")]
