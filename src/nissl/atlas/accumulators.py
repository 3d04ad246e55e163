"""Everything an atlas accumulates about units while the network reads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.contexts import Contexts
from nissl.atlas.corpus import Corpus
from nissl.atlas.image_peaks import ImagePeaks
from nissl.recording import Chunk
from nissl.statistics import GroupMeans, Summary
from nissl.statistics.preference import Preference

__all__ = ["Accumulators", "SiteAccumulators"]

Array = NDArray[Any]


class SiteAccumulators:
    """The accumulators of one site.

    Parameters
    ----------
    n_units : int
        Units of the site.
    corpus : Corpus or None
        The text; None where samples are not tokens.
    top : int
        Extremes to keep at each end.
    active_above, active_below : array, shape (n_units,)
        Where a unit counts as active.
    sampled : array of int, shape (n_sampled,)
        Samples, in order, whose activity is kept for the neighbours.
    sample : array of float32, shape (n_sampled, n_units)
        Where it is put.
    images : ImagePeaks, optional
        Where samples are places in images.
    """

    def __init__(
        self,
        n_units: int,
        corpus: Corpus | None,
        *,
        top: int,
        active_above: Array,
        active_below: Array,
        sampled: Array,
        sample: Array,
        images: ImagePeaks | None = None,
    ):
        self.corpus = corpus
        self.images = images
        self.sampled = sampled
        self.summary = Summary(n_units, k=top, active_above=active_above, active_below=active_below)
        self.sample = sample
        self.contexts = Contexts(n_units, n_top=min(8, top), n_bottom=min(4, top))
        if corpus is not None:
            self.preference = Preference(n_units, corpus.n_labels, int(corpus.groups.max()) + 1)
            self.positions = GroupMeans(n_units, int(corpus.positions.max()) + 1)
            self.first = GroupMeans(n_units, 1)
            self.documents = GroupMeans(n_units, len(corpus.language))

    def update(self, chunk: Chunk, thread: Executor) -> None:
        """Add a chunk; half of the work is done in another thread.

        Parameters
        ----------
        chunk : Chunk
            The site's activity in one batch.
        thread : Executor
            One more thread.
        """
        rows = slice(chunk.start, chunk.start + len(chunk.values))
        work = thread.submit(self._summarise, chunk.values, chunk.start, rows)
        try:
            if self.corpus is not None:
                self._read(chunk.values, rows, self.corpus)
        finally:
            work.result()

    def _summarise(self, values: Array, start: int, rows: slice) -> None:
        corpus = self.corpus
        self.summary.update(values, start, keep=None if corpus is None else corpus.keep[rows])
        if corpus is not None:
            first, end = corpus.first_row[rows], corpus.end_row[rows]
            self.contexts.update(values, start, self.summary.extremes, first_row=first, end_row=end)
        if self.images is not None:
            self.images.update(values, start)
        a, b = np.searchsorted(self.sampled, [rows.start, rows.stop])
        self.sample[a:b] = values[self.sampled[a:b] - start]

    def _read(self, values: Array, rows: slice, corpus: Corpus) -> None:
        keep = corpus.keep[rows]
        self.preference.update(
            values,
            labels=corpus.labels[rows],
            weights=corpus.weights[rows],
            windows=corpus.window[rows],
            groups=corpus.groups[rows],
            keep=keep,
        )
        self.positions.update(values, groups=corpus.positions[rows], keep=keep)
        self.first.update(values, groups=np.where(keep, -1, 0))
        if len(corpus.language):
            self.documents.update(values, groups=corpus.labelled[rows], keep=keep)

    def state(self) -> dict[str, Array]:
        """Return everything, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `restore` takes; without `sample`, which belongs to the caller.
        """
        found: dict[str, Array] = {}
        for name in self._parts():
            part = getattr(self, name).state()
            found |= {f"{name}/{key}": array for key, array in part.items()}
        return found

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.
        """
        for name, kind in self._parts().items():
            part = {
                key.removeprefix(f"{name}/"): array
                for key, array in state.items()
                if key.startswith(f"{name}/")
            }
            setattr(self, name, kind.from_state(part))

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"summary": Summary, "contexts": Contexts}
        if self.images is not None:
            parts |= {"images": ImagePeaks}
        if self.corpus is not None:
            parts |= {
                "preference": Preference,
                "positions": GroupMeans,
                "first": GroupMeans,
                "documents": GroupMeans,
            }
        return parts


@dataclass
class Accumulators:
    """What was accumulated at each site, and the sample for the neighbours.

    Parameters
    ----------
    sites : dict of str to SiteAccumulators
        By full name, in order.
    layers : dict of str to int
        The block of each site, -1 where it is in none.
    samples : dict of str to array, each of shape (n_sampled, n_units)
        Activity of all units of the sites whose samples are the same, by how many there are and
        what they are.
    corpus : Corpus or None
        The text.
    """

    sites: dict[str, SiteAccumulators]
    layers: dict[str, int]
    samples: dict[str, Array]
    corpus: Corpus | None

    def state(self) -> dict[str, Array]:
        """Return everything, as arrays to be saved."""
        found = {f"sample/{n}": array for n, array in self.samples.items()}
        for site, at_site in self.sites.items():
            found |= {f"{site}//{key}": array for key, array in at_site.state().items()}
        return found

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` returned."""
        for n, array in self.samples.items():
            array[...] = state[f"sample/{n}"]
        for site, at_site in self.sites.items():
            start = f"{site}//"
            at_site.restore(
                {k.removeprefix(start): a for k, a in state.items() if k.startswith(start)}
            )
