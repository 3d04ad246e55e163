"""Where units fire: counted by token, by n-gram and by position, while a network reads.

A text is looked through once, before it is read (`read_ngrams`); then every chunk of activity is
counted (`Firings`), and nothing else of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.statistics.groups import GroupMeans
from nissl.statistics.labels import document_weights, frequent_labels, pooled_documents
from nissl.statistics.preference import Preference

__all__ = ["Firings", "NgramText", "read_ngrams"]

Array = NDArray[Any]
MOST_STRETCHES = 51  # of a window, whose positions are counted together
POOLS = 16  # sets of windows that are turned together under the null of position
MOST_GROUPS = 128  # documents kept apart in the null of preferences; more are pooled in order
LEAST_WINDOWS = 8


@dataclass(frozen=True)
class NgramText:
    """The tokens of a text with their n-grams and positions, as codes.

    Parameters
    ----------
    keep : array of bool, shape (n_samples,)
        Samples that count: all but the first of a window, at which activity stands for itself,
        and special tokens.
    labels : array of int32, shape (n_samples, n_orders)
        Label of the token, the pair and so on that ends here; -1 for those that are rare.
    weights : array of float32, shape (n_samples, n_orders)
        One over the label's occurrences in the document.
    window, group : array of int, shape (n_samples,)
        Window, and document (or group of documents).
    ngrams : array of int, shape (n_labels, n_orders)
        Token ids of each label, the last token last; -1 before shorter ones.
    order : array of int, shape (n_labels,)
        How many tokens each label has.
    occurrences : array of int, shape (n_labels,)
        How often each occurs among samples that count.
    stretch : array of int, shape (n_samples,)
        ``pool * n_stretches + stretch of the window``; -1 outside whole windows.
    n_stretches : int
        Stretches of a window; 0 where there are too few whole windows to ask about position.
    """

    keep: Array
    labels: Array
    weights: Array
    window: Array
    group: Array
    ngrams: Array
    order: Array
    occurrences: Array
    stretch: Array
    n_stretches: int


def read_ngrams(
    token: Array,
    document: Array,
    position: Array,
    window: Array,
    *,
    n_labels: tuple[int, ...] = (1000, 400, 200),
    min_documents: int = 5,
    special: Iterable[int] = (),
) -> NgramText:
    """Look through a text.

    Parameters
    ----------
    token, document, position, window : array of int, shape (n_samples,)
        Of each sample, in the order in which they will be read: its token, its document, its
        position in the window, and the window, counted from 0.
    n_labels : tuple of int
        How many tokens, pairs, triples, ... to count: those in the most documents.
    min_documents : int
        Leave out those in fewer documents.
    special : iterable of int
        Tokens that are not of the text, such as the one that begins it: they count nowhere.

    Returns
    -------
    NgramText
        The samples.

    Raises
    ------
    NisslError
        No token occurs in so many documents.

    Examples
    --------
    >>> token, document = np.tile([7, 8, 9], 6), np.repeat(np.arange(6), 3)
    >>> text = read_ngrams(token, document, np.tile(np.arange(3), 6), document, n_labels=(9, 9))
    >>> text.ngrams.tolist(), text.occurrences.tolist()
    ([[-1, 8], [-1, 9], [7, 8], [8, 9]], [6, 6, 6, 6])
    """
    keep = (position > 0) & ~np.isin(token, list(special))
    labels, weights, ngrams, orders = [], [], [], []
    first = 0
    for n, most in enumerate(n_labels, start=1):
        codes, table = _ngrams(token, window, n)
        kept, label = frequent_labels(
            np.where(keep, codes, -1), document, n_labels=most, min_documents=min_documents
        )
        labels.append(np.where(label >= 0, label + first, -1).astype(np.int32))
        weights.append(document_weights(labels[-1], document, keep))
        ids = np.full((len(kept), len(n_labels)), -1)
        ids[:, len(n_labels) - n :] = table[kept]
        ngrams.append(ids)
        orders.append(np.full(len(kept), n))
        first += len(kept)
    if not len(orders[0]):
        raise NisslError(
            f"no token occurs in {min_documents} documents",
            where=f"{len(np.unique(document))} documents",
            do="give more documents, or a smaller min_documents",
        )
    every = np.stack(labels, axis=1)
    stretch, n_stretches = _stretches(position, window)
    return NgramText(
        keep=keep,
        labels=every,
        weights=np.stack(weights, axis=1),
        window=window,
        group=pooled_documents(document, MOST_GROUPS),
        ngrams=np.concatenate(ngrams),
        order=np.concatenate(orders),
        occurrences=np.bincount(every[keep][every[keep] >= 0], minlength=first),
        stretch=stretch,
        n_stretches=n_stretches,
    )


class Firings:
    """What the units of one site do at tokens, n-grams and positions, gathered chunk by chunk.

    A unit is *active* beyond one activity, and *fires* beyond a larger one (the same for ReLU).

    Parameters
    ----------
    n_units : int
        Units of the site.
    text : NgramText
        What is read.
    active, firing : tuple of (array, array), each of shape (n_units,)
        Activity above and below which a unit is active, and fires.

    Attributes
    ----------
    active, fired : array of int, shape (n_units,)
        At how many samples that count each unit was active, and fired.
    by_label : GroupMeans
        Share of each label's occurrences at which each unit fired.
    by_stretch : GroupMeans or None
        Share of samples at which each unit was active, by pool of windows and stretch.
    preference : Preference
        Which label each unit prefers.
    """

    def __init__(
        self, n_units: int, text: NgramText, *, active: tuple[Any, Any], firing: tuple[Any, Any]
    ):
        self.text = text
        self.thresholds = active, firing
        n_labels = len(text.order)
        self.active = np.zeros(n_units, np.int64)
        self.fired = np.zeros(n_units, np.int64)
        self.by_label = GroupMeans(n_units, n_labels)
        self.by_stretch = (
            GroupMeans(n_units, POOLS * text.n_stretches) if text.n_stretches else None
        )
        self.preference = Preference(n_units, n_labels, int(text.group.max()) + 1)

    def update(self, values: Array, start: int = 0) -> None:
        """Add the activity at a chunk of whole windows, whose first sample is `start`."""
        text, rows = self.text, slice(start, start + len(values))
        keep = text.keep[rows]
        on, fires = ((values > above) | (values < below) for above, below in self.thresholds)
        self.active += on[keep].sum(axis=0)
        self.fired += fires[keep].sum(axis=0)
        firing = fires.astype(np.float32)
        for labels in text.labels[rows].T:
            self.by_label.update(firing, groups=labels, keep=keep)
        if self.by_stretch is not None:
            self.by_stretch.update(on.astype(np.float32), groups=text.stretch[rows], keep=keep)
        self.preference.update(
            values,
            labels=text.labels[rows],
            weights=text.weights[rows],
            windows=text.window[rows],
            groups=text.group[rows],
            keep=keep,
        )

    def counts(self) -> NDArray[np.int64]:
        """Return how often each unit fired at each label, shape (n_labels, n_units)."""
        found = self.by_label.result()
        fired = np.nan_to_num(found["mean"]) * found["count"][:, None]
        return np.asarray(np.rint(fired), np.int64)

    def stretches(self) -> tuple[Array, Array]:
        """Return how often each unit was active, and how many samples there were.

        Shapes (n_pools, n_stretches, n_units) and (n_pools, n_stretches, 1), by pool of windows and
        stretch of the window.
        """
        if self.by_stretch is None:
            raise NisslError("position was not counted", do="give at least eight whole windows")
        found = self.by_stretch.result()
        shape = (POOLS, self.text.n_stretches, -1)
        samples = found["count"].astype(float).reshape(shape)
        active = np.rint(np.nan_to_num(found["mean"]).reshape(shape) * samples)
        used = samples[:, 0, 0] > 0
        return active[used], samples[used]


def _ngrams(token: Array, window: Array, n: int) -> tuple[Array, Array]:
    """Code the n tokens that end at each sample, -1 where the window has fewer; and their table."""
    whole = np.arange(len(token)) >= n - 1
    whole[n - 1 :] &= window[n - 1 :] == window[: len(window) - n + 1]
    ends = np.flatnonzero(whole)
    columns = np.stack([token[ends - back] for back in range(n - 1, -1, -1)], axis=1)
    table, codes = np.unique(columns, axis=0, return_inverse=True)
    found = np.full(len(token), -1)
    found[ends] = codes.ravel()
    return found, table


def _stretches(position: Array, window: Array) -> tuple[Array, int]:
    """Return pool and stretch of every sample of whole windows, and the stretches of a window.

    All stretches are equally long, so that a window can be shifted circularly by any number of
    them. The first position is left out, and what is left over at the end.
    """
    n_windows = int(window.max()) + 1
    last = np.zeros(n_windows, np.int64)
    np.maximum.at(last, window, position)
    starts = np.full(n_windows, np.iinfo(np.int64).max)
    np.minimum.at(starts, window, position)
    length = int(last.max())
    whole = (last == length) & (starts == 0)
    if length < 2 or whole.sum() < LEAST_WINDOWS:
        return np.full(len(position), -1), 0
    each = -(-length // MOST_STRETCHES)
    n = length // each
    stretch = (position - 1) // each
    pool = (np.cumsum(whole) - 1) % POOLS
    inside = whole[window] & (position > 0) & (stretch < n)
    return np.where(inside, pool[window] * n + stretch, -1), n
