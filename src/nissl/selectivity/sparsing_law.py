"""The sparsing law: how the share of active neurons goes with the amount of training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.methods import method
from nissl.statistics.curve_fit import FittedCurve, checkpoints, separable_fit

__all__ = ["LAWS", "SparsingLaw", "sparsing_law"]

Array = NDArray[np.floating[Any]]
LAWS = ("power", "logspace")
# Where the search begins, on data counted in shares of the largest amount.
EXPONENTS, RATES = np.geomspace(0.05, 4, 12), np.geomspace(0.1, 30, 12)
STARTS = 4  # the best of them, refined
BOUNDS = np.log([0.02, 0.02]), np.log([6.0, 100.0])  # of exponent and rate: least, largest


@dataclass(frozen=True)
class SparsingLaw(FittedCurve):
    """A law of the activation ratio over data.

    ``limit + amplitude x^-exponent`` ("power"), or ``limit + amplitude exp(-rate x^exponent)``
    ("logspace"), with x the amount as a share of `scale`.

    Parameters
    ----------
    kind : {"power", "logspace"}
        Which.
    limit, amplitude, exponent, rate : float
        Its parameters; the rate of a power law is 0.
    scale : float
        The amount of data that counts as 1: the largest of the fit.
    r2 : float
        The share of variance that the law explains where it was fitted.

    Examples
    --------
    >>> SparsingLaw("power", 0.4, -0.2, 0.5, 0.0, 100.0, 1.0).at([25, 100]).round(2).tolist()
    [0.0, 0.2]
    """

    kind: str
    limit: float
    amplitude: float
    exponent: float
    rate: float
    scale: float
    r2: float

    def at(self, x: ArrayLike) -> Array:
        """Return the law's activation ratios at amounts of data above 0."""
        share = np.asarray(x, dtype=float) / self.scale
        return np.asarray(self.limit + self.amplitude * _shape(share, self.exponent, self.rate))

    @property
    def rises(self) -> bool:
        """Whether the ratio rises with data; else it falls."""
        return self.amplitude < 0


@method(system=50)
def sparsing_law(
    amounts: ArrayLike, ratios: ArrayLike, *, kind: Literal["power", "logspace"]
) -> SparsingLaw:
    """Fit the law of the activation ratio over the amount of training data.

    Parameters
    ----------
    amounts : array, shape (n,)
        Data seen at each checkpoint, such as tokens; above 0.
    ratios : array, shape (n,)
        Of each: the ``ratio`` of `ppl_sparsity`.
    kind : {"power", "logspace"}
        The paper's law for SiLU, which rises there, or for ReLU, which falls there. Here either may
        rise or fall.

    Returns
    -------
    SparsingLaw
        By least squares: limit and amplitude are solved for, the rest is searched.

    Raises
    ------
    UnknownName
        There is no such law.
    NisslError
        There are fewer than five checkpoints, an amount is not above 0, values are not finite, or
        all ratios are the same.

    Notes
    -----
    Source: Luo et al. 2024, section 4.2.

    Examples
    --------
    >>> amounts = np.arange(1, 20) * 1e5
    >>> law = sparsing_law(amounts, 0.4 - 9 * amounts**-0.3, kind="power")
    >>> round(law.limit, 2), round(law.exponent, 2), law.rises
    (0.4, 0.3, True)
    """
    require_known("law", kind, LAWS)
    d, y = checkpoints(amounts, ratios, n_parameters=4, least=5)
    if d.min() <= 0:
        raise NisslError("an amount is not above 0", do="leave out the checkpoint before training")
    x, with_rate = d / d.max(), kind == "logspace"
    found = separable_fit(
        lambda place: _shape(x, place[0], place[1] if with_rate else 0.0),
        y,
        grids=(EXPONENTS, RATES if with_rate else np.ones(1)),
        bounds=BOUNDS,
        starts=STARTS,
    )
    exponent, rate = map(float, found.place)
    rate = rate if with_rate else 0.0
    return SparsingLaw(
        kind, found.offset, found.amplitude, exponent, rate, float(d.max()), found.r2
    )


def _shape(x: Array, exponent: float, rate: float) -> Array:
    return np.asarray(np.exp(-rate * x**exponent) if rate else x**-exponent)
