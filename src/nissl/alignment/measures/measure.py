"""What a measure is; a new one is a file with one class, and a line in `MEASURES`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.statistics.coordinates import coordinates

__all__ = ["MEASURES", "Measure", "PairMeasure", "measure_of", "of_norm_one"]

Array = NDArray[np.floating[Any]]
# The module of each measure, which has a class of that name in capitals: rsa.RSA.
MEASURES = {
    "rsa": "RSA",
    "topological_rsa": "TopologicalRSA",
    "cka": "CKA",
    "cca": "CCA",
    "procrustes": "Procrustes",
    "linear_predictivity": "LinearPredictivity",
    "soft_matching": "SoftMatching",
    "stochastic_shape": "StochasticShape",
}


@dataclass(frozen=True)
class Measure:
    """How alike two representations of the same stimuli are.

    It is a function of two arrays, in three steps, so that what belongs to one side is computed
    once, and again only in part where stimuli are permuted or left out. ``measure(a, b)`` does all.
    """

    name: ClassVar[str] = ""
    similarity: ClassVar[bool] = True  # else a distance: small where alike
    symmetric: ClassVar[bool] = True
    invariant: ClassVar[tuple[str, ...]] = ()  # what may be done to one side and changes nothing
    pairs: ClassVar[bool] = False  # what is prepared is of pairs of stimuli, (n, n); else (n, any)
    repeats: ClassVar[bool] = False  # all samples are read: (n_stimuli, n_repeats, n_units)

    def prepare(self, x: Any) -> Array:
        """Return what of one side can be taken apart by stimuli, all units read."""
        return coordinates(x)

    def normalise(self, prepared: Array) -> Array:
        """Return what the score is of; stimuli in another order give it in that order."""
        return of_norm_one(prepared - prepared.mean(0))

    def score(self, a: Array, b: Array) -> float:
        """Return how alike, or how far, two normalised sides are."""
        raise NisslError("the measure has no score", where=type(self).__name__, do="write one")

    def __call__(self, a: ArrayLike, b: ArrayLike) -> float:
        """Return how alike, or how far, two arrays (n_stimuli, n_units) are."""
        return self.score(*(self.normalise(self.prepare(x)) for x in (a, b)))


@dataclass(frozen=True)
class PairMeasure(Measure):
    """A similarity of pairs of stimuli, (n, n): the cosine of what is normalised to norm one."""

    pairs: ClassVar[bool] = True

    def score(self, a: Array, b: Array) -> float:
        """Return the cosine."""
        return float(np.vdot(a, b))


def of_norm_one(x: Array, least: float = 0.0) -> Array:
    """Return an array divided by its norm, or refuse one whose norm is not above the least."""
    size = np.linalg.norm(x)
    if not size > least:
        raise NisslError("all stimuli have the same pattern", do="leave this site out")
    return np.asarray(x / size)


def measure_of(given: Measure | str) -> Measure:
    """Return a measure by its name.

    Parameters
    ----------
    given : Measure or str
        A measure, or a name of `MEASURES`.

    Returns
    -------
    Measure
        The measure.
    """
    if isinstance(given, Measure):
        return given
    require_known("measure", given, list(MEASURES))
    made: type[Measure] = getattr(
        import_module(f"nissl.alignment.measures.{given}"), MEASURES[given]
    )
    return made()
