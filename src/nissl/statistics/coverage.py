"""Neuron activation coverage: which states of units are covered by data, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known

__all__ = ["Coverage", "averaged"]

Array = NDArray[np.floating[Any]]
BINS, FULL = 50, 0.05  # the paper's on CIFAR-10: 50 of 50,000 images in one of 50 bins


class Coverage:
    """How densely data fill the states of units, gathered chunk by chunk.

    Parameters
    ----------
    n_units : int
        Units.
    bins : int
        Into how many states the range from 0 to 1 is cut.
    full_density : float
        The density at which a state counts as wholly covered.

    Attributes
    ----------
    counts : array of int, shape (n_units, bins)
        Samples in each state.
    n_samples : int
        All samples.

    Raises
    ------
    NisslError
        Fewer than two bins, or a density that is not above 0.

    Notes
    -----
    Source: Liu et al. 2024, equation 5 and its histogram (section 3.2).

    Examples
    --------
    >>> fitted = Coverage(1, bins=4, full_density=2.0)
    >>> fitted.update([[0.1], [0.2], [0.3], [0.1]])
    >>> fitted.area, fitted.of([[0.24], [0.26], [0.9]]).ravel()
    (array([0.375]), array([1. , 0.5, 0. ]))
    """

    def __init__(self, n_units: int, *, bins: int = BINS, full_density: float = FULL):
        if bins < 2 or not full_density > 0:
            raise NisslError(
                f"{bins} bins and a density of {full_density} tell nothing apart",
                do="give at least two bins, and a density above 0, such as 0.05",
            )
        self.bins, self.full_density = bins, full_density
        self.counts = np.zeros((n_units, bins), np.int64)
        self.n_samples = 0

    def update(self, states: ArrayLike, start: int = 0) -> None:
        """Add a chunk of states between 0 and 1, shape (n_rows, n_units)."""
        places = self._bin(states)
        flat = (places + self.bins * np.arange(len(self.counts))).ravel()
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)
        self.n_samples += len(places)

    def merge(self, other: Coverage) -> None:
        """Add what another accumulator of the same units has gathered."""
        if (self.counts.shape, self.full_density) != (other.counts.shape, other.full_density):
            raise NisslError(
                "coverage of other units, bins or density cannot be merged",
                do="make both with the same settings",
            )
        self.counts += other.counts
        self.n_samples += other.n_samples

    def result(self) -> Array:
        """Return the coverage of every state, from 0 to 1, shape (n_units, bins)."""
        if not self.n_samples:
            raise NisslError("no data say what is covered", do="update with states first")
        density = self.counts * (self.bins / self.n_samples)
        return np.asarray(np.minimum(density / self.full_density, 1.0))

    def of(self, states: ArrayLike) -> Array:
        """Return how covered each state of new inputs is.

        Parameters
        ----------
        states : array, shape (n_rows, n_units)
            Between 0 and 1.

        Returns
        -------
        array of float64, shape (n_rows, n_units)
            Between 0, a state that no data have, and 1.
        """
        return np.asarray(self.result()[np.arange(len(self.counts)), self._bin(states)])

    def score(self, states: ArrayLike, layer: ArrayLike | None = None) -> Array:
        """Return how covered each input is: the paper's NAC-UE, low where it comes from elsewhere.

        Parameters
        ----------
        states : array, shape (n_rows, n_units)
            Between 0 and 1.
        layer : array of str, shape (n_units,), optional
            The layer of each unit; layers then count alike, however many units they have.

        Returns
        -------
        array of float64, shape (n_rows,)
            The mean coverage.
        """
        return self._mean(self.of(states), layer)

    def criterion(self, layer: ArrayLike | None = None) -> float:
        """Return how much of the states is covered: the paper's NAC-ME, a score of the model.

        Parameters
        ----------
        layer : array of str, shape (n_units,), optional
            As for `score`.

        Returns
        -------
        float
            The mean `area`.
        """
        return float(self._mean(self.area[None], layer)[0])

    @property
    def area(self) -> Array:
        """Of all states of each unit, the share that is covered, shape (n_units,)."""
        return np.asarray(self.result().mean(axis=1))

    def _mean(self, values: Array, layer: ArrayLike | None) -> Array:
        name = np.zeros(len(self.counts)) if layer is None else np.asarray(layer)
        return averaged(values, "network", name)[:, 0]

    def _bin(self, states: ArrayLike) -> NDArray[np.integer[Any]]:
        x = np.asarray(states)
        if x.ndim != 2 or x.shape[1] != len(self.counts):
            raise NisslError(
                f"states of shape {x.shape} are not of {len(self.counts)} units",
                do="give an array of shape (n_samples, n_units)",
            )
        if not ((x >= 0) & (x <= 1)).all():
            raise NisslError(
                "a state is not between 0 and 1",
                do="bring them there, as nissl.selectivity.activation_states does",
            )
        return np.minimum((x * self.bins).astype(np.int64), self.bins - 1)


def averaged(values: Array, by: str, site: NDArray[Any]) -> Array:
    """Average columns over sites ("site"), or those over the network ("network"), or do not.

    Parameters
    ----------
    values : array, shape (n_rows, n_units)
        Anything of every unit.
    by : {"unit", "site", "network"}
        What is left.
    site : array, shape (n_units,)
        The site of each unit.

    Returns
    -------
    array of float64, shape (n_rows, n_units or n_sites or 1)
        Sites in order of first appearance.

    Examples
    --------
    >>> averaged(np.array([[1.0, 3.0, 5.0]]), "site", np.array(["a", "a", "b"])).tolist()
    [[2.0, 5.0]]
    """
    require_known("what is scored", by, ("unit", "site", "network"))
    if by == "unit":
        return values
    names = dict.fromkeys(site.tolist())
    means = np.stack([values[:, site == name].mean(axis=1) for name in names], axis=1)
    return means if by == "site" else means.mean(axis=1, keepdims=True)
