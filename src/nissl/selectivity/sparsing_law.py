"""The sparsing law: how the share of active neurons goes with the amount of training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, UnknownName
from nissl.methods import method

__all__ = ["LAWS", "SparsingLaw", "sparsing_law"]

Array = NDArray[np.floating[Any]]
LAWS = ("power", "logspace")
LEAST = 4  # parameters of the logspace power law
# Where the search begins, on data counted in shares of the largest amount.
EXPONENTS, RATES = np.geomspace(0.05, 4, 12), np.geomspace(0.1, 30, 12)
STARTS = 4  # the best of them, refined
BOUNDS = np.log([0.02, 0.02]), np.log([6.0, 100.0])  # of exponent and rate: least, largest


@dataclass(frozen=True)
class SparsingLaw:
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

    def at(self, amounts: ArrayLike) -> Array:
        """Return the law at amounts of data.

        Parameters
        ----------
        amounts : array
            Amounts, above 0.

        Returns
        -------
        array of float64, shape of `amounts`
            Activation ratios.
        """
        x = np.asarray(amounts, dtype=float) / self.scale
        return np.asarray(self.limit + self.amplitude * _shape(x, self.exponent, self.rate))

    def explains(self, amounts: ArrayLike, ratios: ArrayLike) -> float:
        """Return the share of the variance of ratios that the law explains.

        Parameters
        ----------
        amounts, ratios : array, shape (n,)
            Of checkpoints, those of the fit or others.

        Returns
        -------
        float
            At most 1; below 0 where their mean would be a better guess.
        """
        return _explained(np.asarray(ratios, dtype=float), self.at(amounts))

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
        By least squares. Limit and amplitude are linear and solved for; the rest is searched on a
        grid, and refined from the best places of it.

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
    from scipy.optimize import least_squares

    if kind not in LAWS:
        raise UnknownName("law", kind, LAWS)
    d, y = np.asarray(amounts, dtype=float), np.asarray(ratios, dtype=float)
    _check(d, y)
    x, rates = d / d.max(), RATES if kind == "logspace" else np.ones(1)

    def solved(place: Array) -> tuple[Array, float, float]:
        rate = float(np.exp(place[1])) if kind == "logspace" else 0.0
        return _solved(_shape(x, float(np.exp(place[0])), rate), y)

    def residual(place: Array) -> Array:
        return y - solved(place)[0]

    grid = np.stack(np.meshgrid(EXPONENTS, rates, indexing="ij"), axis=-1).reshape(-1, 2)
    starts = np.log(grid)
    errors = [np.square(residual(start)).sum() for start in starts]
    fits = [
        least_squares(residual, starts[i], bounds=BOUNDS, max_nfev=300)
        for i in np.argsort(errors)[:STARTS]
    ]
    best: Any = min(fits, key=lambda fit: float(fit.cost))
    fitted, amplitude, limit = solved(best.x)
    exponent, rate = np.exp(best.x)
    return SparsingLaw(
        kind,
        limit,
        amplitude,
        float(exponent),
        float(rate) if kind == "logspace" else 0.0,
        float(d.max()),
        _explained(y, fitted),
    )


def _shape(x: Array, exponent: float, rate: float) -> Array:
    return np.asarray(np.exp(-rate * x**exponent) if rate else x**-exponent)


def _solved(shape: Array, y: Array) -> tuple[Array, float, float]:
    """Return the best law of a given shape, its amplitude and limit."""
    d = shape - shape.mean()
    square = float(d @ d)
    amplitude = float(d @ y) / square if square > 1e-300 else 0.0
    limit = float(y.mean() - amplitude * shape.mean())
    return limit + amplitude * shape, amplitude, limit


def _check(d: Array, y: Array) -> None:
    if d.ndim != 1 or d.shape != y.shape or len(d) <= LEAST:
        raise NisslError(
            f"{d.shape} amounts and {y.shape} ratios do not hold {LEAST} parameters",
            do=f"give one ratio for each of {LEAST + 1} checkpoints or more",
        )
    if not (np.isfinite(d).all() and np.isfinite(y).all()) or d.min() <= 0:
        raise NisslError(
            "an amount is not above 0, or a value is not finite",
            do="leave out the checkpoint before training, and what was not measured",
        )
    if np.ptp(y) == 0 or np.ptp(d) == 0:
        raise NisslError("all values are the same", do="give checkpoints over which they change")


def _explained(y: Array, fitted: Array) -> float:
    return float(1 - np.square(y - fitted).sum() / np.square(y - y.mean()).sum())
