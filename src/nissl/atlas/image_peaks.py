"""The images in which each unit is at its extremes, and where in them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.statistics import Extremes

__all__ = ["ImagePeaks"]

Array = NDArray[Any]
STATE = ("shape", "picture", "places", "activity")


class ImagePeaks:
    """The images in which each unit is highest and lowest, each image once, at its peak.

    Parameters
    ----------
    n_units : int
        Number of units.
    shape : tuple of int
        The grid of places in an image: rows and columns of a convolution's map, tokens of a
        vision transformer; none for one value an image.
    picture : tuple of int, optional
        Rows and columns of the pictures; none where items are none, so that places in a row are
        no patches.
    n_items : int
        Images of which the peak of every unit is kept, for the tests of labels; 0 keeps none.
    k : int
        Images to keep at each end.

    Examples
    --------
    >>> found = ImagePeaks(1, shape=(2, 2), n_items=0, k=1)
    >>> found.update(np.array([[0.0], [0], [9], [0], [1], [2], [-3], [4]], np.float32), 0)
    >>> found.result()["top_places"].tolist(), found.where(np.array([2]))["map_row"].tolist()
    ([[2]], [1])
    """

    def __init__(
        self,
        n_units: int,
        *,
        shape: tuple[int, ...],
        picture: tuple[int, int] | None = None,
        n_items: int,
        k: int,
    ):
        self.shape = np.array(shape, np.int64)
        self.picture = np.array(picture or (0, 0), np.int64)
        self.high, self.low = Extremes(n_units, k), Extremes(n_units, k)
        self.places = np.zeros((2, n_units, k), np.int64)  # in the image, of the two ends
        self.activity = np.full((n_items, n_units), np.nan, np.float32)

    @property
    def n_places(self) -> int:
        """How many places an image has."""
        return int(np.prod(self.shape))

    def update(self, values: Array, start: int) -> None:
        """Add a chunk of whole images.

        Parameters
        ----------
        values : array, shape (n_images x n_places, n_units)
            Activity at every place.
        start : int
            Place of the first row among all samples.
        """
        from nissl.atlas._peaks_kernel import peaks

        first = start // self.n_places
        high, high_at, low, low_at = peaks(np.asarray(values, np.float32), self.n_places)
        for end, extremes, found, at in (
            (0, self.high, high, high_at),
            (1, self.low, low, low_at),
        ):
            before = _ends(extremes)[end].copy()
            extremes.update(found, first)
            self.places[end] = _followed(self.places[end], before, _ends(extremes)[end], at, first)
        if len(self.activity):
            finite = np.where(np.isfinite(high), high, np.nan)
            self.activity[first : first + len(high)] = finite

    def result(self) -> dict[str, Array]:
        """Return the extremes of every unit, as `nissl.statistics.Extremes.result` does.

        Returns
        -------
        dict of arrays, each of shape (n_units, k)
            ``top`` and ``bottom`` with the samples where they are; -1 also where no image is more
            extreme than others: the lowest are all alike (zero after a ReLU), or all activity is.
        """
        found: dict[str, Array] = {}
        for end, (name, extremes) in enumerate((("top", self.high), ("bottom", self.low))):
            values, items = extremes.result()[name], _ends(extremes)[end]
            samples = np.where(items < 0, -1, items * self.n_places + self.places[end])
            found |= {name: values, f"{name}_places": samples}
        if found["top"].shape[1] > 1:
            found["top_places"][found["top"][:, 0] == found["bottom"][:, 0]] = -1
            found["bottom_places"][found["bottom"][:, 0] == found["bottom"][:, -1]] = -1
        return found

    def where(self, sample: Array) -> dict[str, Array]:
        """Say in which image samples lie, and where in it.

        Parameters
        ----------
        sample : array of int, shape (n,)
            Samples of the site.

        Returns
        -------
        dict of arrays, each of shape (n,)
            The columns of `nissl.atlas.tables.IMAGE_EXAMPLES`. The box is the cell of the map,
            drawn over the picture in the ratio of their sizes.
        """
        item, place = np.divmod(sample, self.n_places)
        rows, columns = self._grid()
        place = place - (self.n_places - rows * columns if rows else 0)  # tokens before patches
        row, column = np.divmod(place, columns) if rows else (place, place)
        there = (place >= 0) & (rows > 0)
        in_a_row = len(self.shape) == 1 and not self.picture.any()
        box = {"left": column / max(columns, 1), "top": row / max(rows, 1)}
        box |= {"width": np.full(len(item), 1 / max(columns, 1))}
        box |= {"height": np.full(len(item), 1 / max(rows, 1))}
        return {
            "stimulus": item.astype(np.int32),
            "map_row": np.where(there, row, -1).astype(np.int32),
            "map_column": np.where(there | in_a_row, column, -1).astype(np.int32),
            **{n: np.where(there, share, np.nan).astype(np.float32) for n, share in box.items()},
        }

    def _grid(self) -> tuple[int, int]:
        """Return rows and columns of the map; 0 where places do not lie in rows and columns."""
        if len(self.shape) == 2:
            return int(self.shape[0]), int(self.shape[1])
        if len(self.shape) == 1 and self.picture.all():
            # Square patches, after at most one token that is none.
            tall, wide = self.picture.tolist()
            for n in (self.n_places, self.n_places - 1):
                rows = isqrt(n * tall // wide)
                if rows and rows * rows * wide == n * tall:
                    return rows, n // rows
        return 0, 0

    def state(self) -> dict[str, Array]:
        """Return everything gathered, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes.
        """
        ends = {"high": self.high.state(), "low": self.low.state()}
        found = {f"{end}.{k}": array for end, part in ends.items() for k, array in part.items()}
        return found | {n: getattr(self, n) for n in STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> ImagePeaks:
        """Make it again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        ImagePeaks
            It goes on where the other stood.
        """
        made = cls(0, shape=(), n_items=0, k=1)
        for name in STATE:
            setattr(made, name, np.array(state[name]))
        for end in ("high", "low"):
            part = {k.split(".")[1]: a for k, a in state.items() if k.startswith(f"{end}.")}
            setattr(made, end, Extremes.from_state(part))
        return made


def _ends(extremes: Extremes) -> tuple[Array, Array]:
    return extremes.top_places, extremes.bottom_places


def _followed(places: Array, before: Array, now: Array, at: Array, first: int) -> Array:
    """Return the place in each image of a list that has changed."""
    new = (now >= first) & (now < first + len(at))
    unit = np.arange(len(now))[:, None]
    kept = now[:, :, None] == before[:, None, :]
    old = np.where(kept, places[:, None, :], 0).max(axis=2)
    return np.where(new, at[np.where(new, now - first, 0), unit], old)
