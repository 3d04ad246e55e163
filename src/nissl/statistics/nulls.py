"""Nulls that break the tie between labels and samples, and nothing else.

A null is a small frozen object that knows its name, the question it answers and how to draw.
Those of this file answer "does this unit respond to that label?": they return, for every draw, the
sample whose label each sample is given, so that ``labels[index[d]]`` is the d-th null labelling.
Every draw has a generator of its own, ``[seed, draw]``: the batch size does not change it.
The circular shift is in ``shift.py``; random directions and matched units (``matched.py``) and
re-initialised networks (``reinitialise.py``) answer other questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError

__all__ = ["LabelNull", "Null", "PermutedLabels", "codes"]


class Null(Protocol):
    """What every null has: a name, and the question that it answers.

    Examples
    --------
    >>> null: Null = PermutedLabels()
    >>> null.question
    'does this unit respond to that label?'
    """

    question: ClassVar[str]

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        ...


@runtime_checkable
class LabelNull(Null, Protocol):
    """What `permutation_test` needs of a null: draws of labels, and how many differ.

    Examples
    --------
    >>> isinstance(PermutedLabels(), LabelNull)
    True
    """

    def draw(
        self,
        labels: ArrayLike,
        n: int,
        *,
        exchange: ArrayLike | None,
        within: ArrayLike | None,
        seed: int,
        start: int,
    ) -> NDArray[np.int32]:
        """Return whose label each sample is given, shape (n, n_samples)."""
        ...

    def log_arrangements(
        self, labels: ArrayLike, *, exchange: ArrayLike | None, within: ArrayLike | None
    ) -> float:
        """Return the natural logarithm of the number of different null labellings."""
        ...


@dataclass(frozen=True)
class PermutedLabels:
    """Permute labels over exchangeability blocks.

    Parameters
    ----------
    exchange : str, optional
        Sample coordinate whose values may be exchanged under the null (document, fact, stimulus,
        trial): samples of one value are a block. None where every sample is independent.
    within : str, optional
        Sample coordinate across which nothing is exchanged (subject, run).
    how : {"auto", "whole", "within"}
        Permute the labels of whole blocks, or of samples within each block. "auto": whole where
        labels are constant in a block, or where blocks are equally long (their sequences of labels
        are then permuted); within blocks otherwise.

    Notes
    -----
    Source: Winkler et al. 2014, NeuroImage 92, "Permutation inference for the general linear
    model", section on exchangeability blocks.

    Examples
    --------
    >>> null = PermutedLabels(exchange="fact")
    >>> index = null.draw(["a", "a", "b", "b"], 2, exchange=[0, 0, 1, 1], seed=0)
    >>> index.shape, null.name
    ((2, 4), "PermutedLabels(exchange='fact')")
    """

    exchange: str | None = None
    within: str | None = None
    how: Literal["auto", "whole", "within"] = "auto"
    question: ClassVar[str] = "does this unit respond to that label?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        said = {"exchange": self.exchange, "within": self.within}
        parts = [f"{k}={v!r}" for k, v in said.items() if v is not None]
        parts += [f"how={self.how!r}"] if self.how != "auto" else []
        return f"PermutedLabels({', '.join(parts)})"

    def permutes_blocks(self, labels: ArrayLike, exchange: ArrayLike | None) -> bool:
        """Say whether labels of whole blocks are permuted, or of samples within each block.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The labels.
        exchange : array, shape (n_samples,), optional
            The exchangeability block of every sample.

        Returns
        -------
        bool
            True where it is whole blocks.

        Raises
        ------
        NisslError
            Whole blocks were asked for, but labels vary in blocks of different lengths.
        """
        if exchange is None:
            return True
        y, b = codes(labels), codes(exchange)
        able = _constant(y, b) or len(np.unique(np.bincount(b))) == 1
        if self.how == "whole" and not able:
            raise NisslError(
                "labels vary within blocks of different lengths, which cannot be permuted whole",
                do="use how='within', CircularShift(within=...) or blocks with one label each",
            )
        return self.how == "whole" or (self.how == "auto" and able)

    def draw(
        self,
        labels: ArrayLike,
        n: int,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> NDArray[np.int32]:
        """Draw null labellings.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The labels.
        n : int
            How many draws.
        exchange, within : array, shape (n_samples,), optional
            The block of every sample, and the stratum within which labels are permuted.
        seed : int
            The seed.
        start : int
            Number of the first draw.

        Returns
        -------
        array of int32, shape (n, n_samples)
            The sample whose label each sample is given.

        Raises
        ------
        NisslError
            Blocks lie across strata, or cannot be permuted whole.
        """
        places = self._places(labels, exchange, within)
        home = np.argsort(places.stratum, kind="stable")
        moved = np.empty((n, len(home)), dtype=np.int64)
        for d in range(n):
            rng = np.random.default_rng([seed, start + d])
            moved[d, home] = np.argsort(places.stratum + rng.random(len(home)))
        return places.index(moved)

    def every(
        self,
        labels: ArrayLike,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
    ) -> NDArray[np.int32]:
        """Return every different labelling but the given one.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The labels.
        exchange, within : array, shape (n_samples,), optional
            As for `draw`.

        Returns
        -------
        array of int32, shape (n_arrangements - 1, n_samples)
            The sample whose label each sample is given.

        Examples
        --------
        >>> labels = np.array([0, 0, 1])
        >>> labels[PermutedLabels().every(labels)].tolist()
        [[0, 1, 0], [1, 0, 0]]
        """
        places = self._places(labels, exchange, within)
        moved = np.arange(len(places.stratum))[None]
        for stratum in np.unique(places.stratum):
            here = np.flatnonzero(places.stratum == stratum)
            ways = here[_arrangements(places.label[here])]
            moved = np.repeat(moved, len(ways), axis=0)
            moved[:, here] = np.tile(ways, (len(moved) // len(ways), 1))
        given = (places.label[moved] == places.label).all(axis=1)
        return places.index(moved[~given])

    def _places(
        self, labels: ArrayLike, exchange: ArrayLike | None, within: ArrayLike | None
    ) -> _Places:
        """Return what is permuted: blocks, or samples that are blocks of their own."""
        y = codes(labels)
        b = np.arange(len(y)) if exchange is None else codes(exchange)
        strata = np.zeros(len(y), dtype=np.int64) if within is None else codes(within)
        if not self.permutes_blocks(labels, exchange):
            # Inside a block and a stratum, every sample is a block of its own.
            strata = codes(b * (strata.max() + 1) + strata)
            b = np.arange(len(y))
        first = np.unique(b, return_index=True)[1]
        of_block = strata[first]
        if not np.array_equal(of_block[b], strata):
            raise NisslError(
                "a block lies in more than one stratum of `within`", do="use blocks inside strata"
            )
        if _constant(y, b):
            return _Places(of_block, y[first], b, first, None)
        order = np.argsort(b, kind="stable").reshape(len(first), -1)
        sequence = np.unique(y[order], axis=0, return_inverse=True)[1].ravel()
        return _Places(of_block, sequence, b, first, order)

    def log_arrangements(
        self,
        labels: ArrayLike,
        *,
        exchange: ArrayLike | None = None,
        within: ArrayLike | None = None,
    ) -> float:
        """Count the different labellings that a draw can give.

        Parameters
        ----------
        labels : array, shape (n_samples,)
            The labels.
        exchange, within : array, shape (n_samples,), optional
            As for `draw`.

        Returns
        -------
        float
            Natural logarithm of the number; the smallest p that can be had is its inverse.
        """
        places = self._places(labels, exchange, within)
        return _log_multinomial(places.label, places.stratum)


@dataclass(frozen=True)
class _Places:
    """The blocks that are permuted: the stratum and the label (or sequence of labels) of each."""

    stratum: NDArray[np.int64]
    label: NDArray[np.int64]
    block: NDArray[np.int64]  # of every sample
    first: NDArray[np.int64]  # sample of every block
    order: NDArray[np.int64] | None  # samples of every block, where labels vary in blocks

    def index(self, moved: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return whose label each sample is given, for the block whose labels each block has."""
        index = np.empty((len(moved), len(self.block)), dtype=np.int32)
        for d, row in enumerate(moved):
            if self.order is None:
                index[d] = self.first[row][self.block]
            else:
                index[d, self.order.ravel()] = self.order[row].ravel()
        return index


def _arrangements(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return every different order of some labels, as whose label is where."""
    names, counts = np.unique(label, return_counts=True)
    if len(names) == 1:
        return np.arange(len(label))[None]
    own, rest = (np.flatnonzero(x) for x in (label == names[0], label != names[0]))
    ways = rest[_arrangements(label[rest])]
    chosen = np.array(list(combinations(range(len(label)), counts[0])))
    found = np.empty((len(chosen), len(ways), len(label)), dtype=np.int64)
    for made, where in zip(found, chosen, strict=True):
        made[:, where] = own
        made[:, np.setdiff1d(np.arange(len(label)), where)] = ways
    return found.reshape(-1, len(label))


def codes(column: ArrayLike) -> NDArray[np.int64]:
    """Return a column as the integers 0, 1, ... in sorted order of its values.

    Parameters
    ----------
    column : array, shape (n,)
        Any values that can be sorted.

    Returns
    -------
    array of int64, shape (n,)
        Equal values have equal codes.

    Examples
    --------
    >>> codes(["b", "a", "b"]).tolist()
    [1, 0, 1]
    """
    return np.unique(np.asarray(column), return_inverse=True)[1].ravel().astype(np.int64)


def _constant(y: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """Say whether every block has one label."""
    first = np.unique(b, return_index=True)[1]
    return bool(np.array_equal(y[first][b], y))


def _log_multinomial(y: NDArray[np.int64], strata: NDArray[Any]) -> float:
    """Count the ways to order labels inside strata, in logarithms."""
    from scipy.special import gammaln

    sizes = np.bincount(codes(strata))
    cells = np.unique(np.stack([strata, y]), axis=1, return_counts=True)[1]
    return float(gammaln(sizes + 1).sum() - gammaln(cells + 1).sum())
