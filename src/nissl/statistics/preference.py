"""Which labels of samples (tokens, pairs of tokens) every unit prefers within documents.

A unit that is more active in one document than in another will seem to prefer every word of that
document. So activity is compared within the window in which it was recorded, and the evidence for
a preference is counted in documents, never in samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.statistics._chunk import Array, as_chunk, as_column, same_shape

__all__ = ["Preference"]

EXPONENTS = 2.0 ** np.arange(-3, 2)
LEAST = 8  # rows without which a window has no deviation worth the name


class Preference:
    """The labels each unit prefers, with effect and p-value, gathered chunk by chunk.

    Within each window a unit's activity is standardised (mean 0, deviation 1; held within 32
    deviations). The mean over a document's occurrences of a label is the document's contrast, and
    the **effect** is the mean contrast over the documents that have the label: how many of its
    deviations within documents the unit is above (below, if negative) its mean at that label.

    The **null** is that labels have nothing to do with activity but where they lie: each document's
    labels are shifted circularly in that document by a random amount of its own. Then an occurrence
    meets every moment of its document equally often; so, exponentials being convex, the expectation
    of ``exp(s * contrast)`` is at most the mean of ``exp(s * activity)`` over the document, and by
    Chernoff's inequality the sum S of the contrasts reaches its value with probability at most
    ``exp(-s * S) * product of these means``, for any s. The least over s = 1/8, 1/4, 1/2, 1 and 2
    is the p-value, doubled because both signs are looked at. It holds for few documents, for
    skewed, heavy-tailed and autocorrelated activity, for labels in runs, and for documents that
    differ in mean or scale, because nothing about the distribution is assumed. Where it errs, it
    is too large: by a factor of about ten, or by 11% of its logarithm.

    What it cannot tell apart is a label and what always goes with it: another word, or a place in
    the document. Leave out positions that stand for themselves, such as the first (`keep`).

    Parameters
    ----------
    n_units : int
        Number of units.
    n_labels : int
        Number of labels, coded 0, 1, 2, ...
    n_groups : int
        Number of documents; or of groups of documents where there are too many to keep apart
        (memory is 40 bytes a unit and group), whose activity is then pooled.

    Notes
    -----
    Jensen's and Chernoff's (1952) inequalities; their use for this question is ours. Memory is 4
    bytes a unit and label. The obvious test, a t-test of document totals with their signs flipped,
    calls up to ten times too many: document totals of sparse or skewed units are not symmetric.

    Examples
    --------
    >>> from nissl.statistics.labels import document_weights
    >>> rng = np.random.default_rng(0)
    >>> activity = rng.standard_normal((900, 2)).astype(np.float32)
    >>> documents = np.arange(900) // 30
    >>> labels = rng.integers(0, 10, 900)
    >>> activity[labels == 3, 1] += 4
    >>> preference = Preference(2, 10, 30)
    >>> weights = document_weights(labels, documents)
    >>> preference.update(
    ...     activity, labels=labels, weights=weights, windows=documents, groups=documents
    ... )
    >>> found = preference.result(k=1)
    >>> int(found["label"][1, 0]), bool(found["q"][1, 0] < 0.001), bool(found["q"][0, 0] > 0.05)
    (3, True, True)
    """

    def __init__(self, n_units: int, n_labels: int, n_groups: int):
        from nissl.statistics._preference_kernel import STEPS

        self.n_units = n_units
        self.n_labels = n_labels
        self.n_groups = n_groups
        self.sums = np.zeros((n_labels, n_units), np.float32)
        self.exponentials = np.zeros((n_groups, 2 * STEPS, n_units), np.float32)
        self.incidence = np.zeros((n_labels, n_groups))
        self.rows = np.zeros(n_groups, np.int64)

    def update(
        self,
        values: Any,
        start: int = 0,
        *,
        labels: Any,
        weights: Any,
        windows: Any,
        groups: Any,
        keep: Any = None,
    ) -> None:
        """Add a chunk of whole windows.

        Parameters
        ----------
        values : array, shape (n_rows, n_units)
            Activity.
        start : int
            Place of the first row; all accumulators take it, this one has no use for it.
        labels : array of int, shape (n_rows,) or (n_rows, n_sets)
            Label of each row, -1 for none; in several sets where a row has several labels.
        weights : array, like `labels`
            One over the occurrences of the label in the document (`document_weights`).
        windows : array of int, shape (n_rows,)
            Window of each row; rows of a window follow each other. Windows with fewer than eight
            rows are passed over.
        groups : array of int, shape (n_rows,)
            Document, or group of documents, of each row; one for all rows of a window.
        keep : array of bool, shape (n_rows,), optional
            Rows to count; the others are passed over.
        """
        from nissl.statistics._preference_kernel import add_preferences

        values = as_chunk(values, self.n_units)
        n = len(values)
        if not n:
            return
        codes = np.ascontiguousarray(np.asarray(labels, np.int32).reshape(n, -1))
        shares = np.ascontiguousarray(np.asarray(weights, np.float32).reshape(n, -1))
        same_shape(codes.shape, shares.shape, "labels and weights of shapes")
        document = as_column(groups, n, "groups", np.int64)
        kept = np.ones(n, bool) if keep is None else as_column(keep, n, "keep", bool)
        if codes.max() >= self.n_labels or document.max() >= self.n_groups or document.min() < 0:
            raise NisslError(
                f"label {codes.max()} or document {document.max()} is beyond the accumulator's "
                f"{self.n_labels} labels and {self.n_groups} documents",
                do="make it for as many as there are",
            )
        window = as_column(windows, n, "windows", np.int64)
        starts = np.flatnonzero(np.diff(window, prepend=window[0] - 1))
        edges = np.append(starts, n)
        if (document != np.repeat(document[starts], np.diff(edges))).any():
            raise NisslError(
                "a window has rows of more than one document", do="give each document its windows"
            )
        # Rows of windows too short to standardise count nowhere.
        enough = np.add.reduceat(kept.astype(np.int64), starts) >= LEAST
        kept = kept & np.repeat(enough, np.diff(edges))
        add_preferences(
            values, codes, shares, edges, document, kept, LEAST, self.sums, self.exponentials
        )
        self.rows += np.bincount(document[kept], minlength=self.n_groups)
        for column in range(codes.shape[1]):
            some = kept & (codes[:, column] >= 0)
            where = (codes[some, column], document[some])
            np.add.at(self.incidence, where, shares[some, column].astype(np.float64))

    def merge(self, other: Preference) -> None:
        """Add what another accumulator of the same units, labels and documents has gathered.

        Parameters
        ----------
        other : Preference
            Unchanged.
        """
        mine, theirs = self.exponentials.shape, other.exponentials.shape
        same_shape((mine, self.n_labels), (theirs, other.n_labels), "(units and documents, labels)")
        self.sums += other.sums
        self.exponentials += other.exponentials
        self.incidence += other.incidence
        self.rows += other.rows

    def result(
        self,
        *,
        k: int = 5,
        first: int = 0,
        last: int | None = None,
        min_documents: int = 4,
        n_units: int | None = None,
        candidates: int = 8,
    ) -> dict[str, Array]:
        """Return the labels of every unit with the strongest evidence.

        Parameters
        ----------
        k : int
            Labels for each unit.
        first, last : int, optional
            Look at the labels from the first up to the last, which is left out.
        min_documents : int
            Labels in fewer documents are not looked at.
        n_units : int, optional
            Units searched in all, where this accumulator holds only some of them.
        candidates : int
            Labels for which the bound is computed document by document, chosen by the bound
            with all documents pooled.

        Returns
        -------
        dict of arrays, each of shape (n_units, k)
            ``label`` (-1 where there are fewer than k), ``effect``, ``documents``, ``log_p``
            (natural), ``p`` (two-sided), and ``q``: p times the number of units and labels
            searched, at most 1 (Bonferroni). The least p comes first.
        """
        last = self.n_labels if last is None else last
        documents = np.round(self.incidence.sum(axis=1)).astype(np.int64)
        labels, log_p = self._best(first, last, documents, min_documents, max(k, candidates))
        order = np.argsort(np.where(labels >= 0, log_p, 1.0), axis=0, kind="stable")[:k]
        labels = np.take_along_axis(labels, order, axis=0).T
        log_p = np.minimum(np.take_along_axis(log_p, order, axis=0).T + np.log(2.0), 0.0)
        searched = int((documents[first:last] >= min_documents).sum())
        log_q = log_p + np.log(max(searched, 1) * (n_units or self.n_units))
        none = labels < 0
        label = np.where(none, -1, labels + first)
        effect = np.full(labels.shape, np.nan, np.float32)
        unit, _ = np.nonzero(~none)
        effect[~none] = self.sums[label[~none], unit] / documents[label[~none]]
        found = np.zeros(labels.shape, np.int64)
        found[~none] = documents[label[~none]]
        with np.errstate(under="ignore"):
            return {
                "label": label,
                "effect": effect,
                "documents": found,
                "log_p": np.where(none, 0.0, log_p),
                "p": np.where(none, 1.0, np.exp(log_p)),
                "q": np.where(none, 1.0, np.exp(np.minimum(log_q, 0.0))),
            }

    def _best(
        self, first: int, last: int, documents: Array, min_documents: int, n: int
    ) -> tuple[Array, Array]:
        """Return the n likeliest labels of each unit, counted from `first`, and their log p."""
        from nissl.statistics._preference_kernel import bound_labels, search_labels

        some = self.rows > 0
        rows = self.rows[some].astype(np.float32)
        pooled = self.exponentials.sum(axis=0, dtype=np.float64) / max(int(rows.sum()), 1)
        labels = np.full((n, self.n_units), -1, np.int64)
        score = np.zeros((n, self.n_units), np.float32)
        with np.errstate(divide="ignore"):
            log_pooled = np.log(pooled).astype(np.float32)
            log_means = np.log(self.exponentials[some] / rows[:, None, None])
        part, counts = self.sums[first:last], documents[first:last].astype(np.float64)
        search_labels(part, counts, log_pooled, EXPONENTS, min_documents, score, labels)
        log_p = np.zeros((n, self.n_units))
        incidence = np.ascontiguousarray(self.incidence[first:last, some])
        bound_labels(part, incidence, log_means, EXPONENTS, labels, log_p)
        return labels, log_p

    def state(self) -> dict[str, Array]:
        """Return everything gathered, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes; not copied, because they may be large.
        """
        return {name: getattr(self, name) for name in _STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Preference:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Preference
            An accumulator that goes on where the other stood.
        """
        n_labels, n_units = np.shape(state["sums"])
        preference = cls(n_units, n_labels, len(state["rows"]))
        for name in _STATE:
            setattr(preference, name, np.array(state[name]))
        return preference


_STATE = ("sums", "exponentials", "incidence", "rows")
