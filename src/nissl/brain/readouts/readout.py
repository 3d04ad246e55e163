"""What a readout is; a new one is a file with one class, and a line in `READOUTS`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, require_known

__all__ = ["READOUTS", "Fitted", "Readout", "readout_of"]

Array = NDArray[np.floating[Any]]
# The module of each readout, which has a class of that name in capitals: linear.Linear.
READOUTS = {name: name.capitalize() for name in ("linear", "factorised", "attention", "modulated")}


class Fitted(Protocol):
    """A readout with its weights."""

    def predict(self, x: Any) -> Array:
        """Return responses to features, shape (n_samples, n_units)."""


@dataclass(frozen=True)
class Readout:
    """How responses are made of features: it is fitted, and then predicts."""

    places: ClassVar[bool] = False  # reads maps (n_samples, n_places, n_channels); else vectors

    def fit(self, x: Array, y: Array, *, groups: Any, seed: int = 0) -> Fitted:
        """Return the readout with its weights.

        Parameters
        ----------
        x, y : array
            Features, (n_samples, n_features) or (n_samples, n_places, n_channels), and responses,
            (n_samples, n_units).
        groups : int, or list of (train, test)
            Inner folds: a number of blocks, or what `nissl.statistics.folds` returns.
        seed : int
            Of first weights.
        """
        raise NisslError("the readout has no fit", where=type(self).__name__, do="write one")


def readout_of(given: Readout | str) -> Readout:
    """Return a readout by its name.

    Parameters
    ----------
    given : Readout or str
        A readout, or a name of `READOUTS`.

    Returns
    -------
    Readout
        The readout.
    """
    if isinstance(given, Readout):
        return given
    require_known("readout", given, list(READOUTS))
    made: type[Readout] = getattr(import_module(f"nissl.brain.readouts.{given}"), READOUTS[given])
    return made()
