"""What a hidden state emits: Gaussian or Poisson activity, categories, or regressions on inputs.

A new one is a class with the two methods of `Emission`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, require_known

__all__ = ["EMISSIONS", "Categorical", "Emission", "Gaussian", "Glm", "Poisson"]

Array = NDArray[np.floating[Any]]
NOTHING = np.empty(0)
# Samples of the whole data that every state is given: one alone must not become a state of its own.
PSEUDO = 1.0


class Emission(Protocol):
    """What a kind of emission can do; one that says ``settled`` is False is fitted on.

    Examples
    --------
    >>> x = np.array([[0.0], [2.0]])
    >>> Poisson().fitted(x, NOTHING, np.ones((2, 1))).rate.tolist()
    [[1.0]]
    """

    def fitted(self, x: Array, inputs: Array, weights: Array) -> Emission:
        """Return the emission of each state; weights (n_samples, n_states) are its samples."""
        ...

    def log_likelihood(self, x: Array, inputs: Array) -> Array:
        """Return the log-likelihood of each sample in each state, (n_samples, n_states)."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Normal activity, with the covariance of each state.

    Parameters
    ----------
    diagonal : bool
        Units are independent inside a state.
    mean : array, shape (n_states, n_units)
        Fitted.
    covariance : array, shape (n_states, n_units, n_units)
        Fitted.

    Examples
    --------
    >>> x = np.array([[0.0], [2.0]])
    >>> Gaussian().fitted(x, NOTHING, np.ones((2, 1))).covariance.tolist()
    [[[1.0]]]
    """

    diagonal: bool = False
    mean: Array = field(default_factory=lambda: NOTHING)
    covariance: Array = field(default_factory=lambda: NOTHING)

    def fitted(self, x: Array, inputs: Array, weights: Array) -> Gaussian:
        """Return means and covariances, shrunk towards that of all data by one sample of it."""
        size = weights.sum(axis=0)
        whole = np.cov(x.T, ddof=0).reshape(x.shape[1], -1)
        mean = (weights.T @ x + PSEUDO * x.mean(axis=0)) / (size[:, None] + PSEUDO)
        covariance = np.empty((len(size), *whole.shape))
        for k, centre in enumerate(mean):
            d = x - centre
            spread = (weights[:, k, None] * d).T @ d
            covariance[k] = (spread + PSEUDO * whole) / (size[k] + PSEUDO)
        if self.diagonal:
            covariance *= np.eye(x.shape[1])
        return replace(self, mean=mean, covariance=covariance)

    def log_likelihood(self, x: Array, inputs: Array) -> Array:
        """Return the log density, (n_samples, n_states)."""
        from scipy.linalg import solve_triangular

        try:
            lower = np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError as error:
            raise NisslError(
                "a unit does not vary, or others tell it exactly",
                where="covariance",
                do="leave it out, or give emission=Gaussian(diagonal=True)",
            ) from error
        made = np.empty((len(x), len(self.mean)))
        for k, (centre, root) in enumerate(zip(self.mean, lower, strict=True)):
            z = solve_triangular(root, (x - centre).T, lower=True)
            made[:, k] = -0.5 * (z**2).sum(axis=0) - np.log(np.diag(root)).sum()
        return np.asarray(made - 0.5 * x.shape[1] * np.log(2 * np.pi))


@dataclass(frozen=True)
class Poisson:
    """Independent counts.

    Parameters
    ----------
    rate : array, shape (n_states, n_units)
        Counts a sample. Fitted.

    Examples
    --------
    >>> x = np.array([[0.0], [2.0]])
    >>> Poisson().fitted(x, NOTHING, np.ones((2, 1))).rate.tolist()
    [[1.0]]
    """

    rate: Array = field(default_factory=lambda: NOTHING)

    def fitted(self, x: Array, inputs: Array, weights: Array) -> Poisson:
        """Return rates, shrunk towards those of all data by one sample of it."""
        require_counts(x)
        size = weights.sum(axis=0)[:, None] + PSEUDO
        return Poisson((weights.T @ x + PSEUDO * np.maximum(x.mean(axis=0), 1e-9)) / size)

    def log_likelihood(self, x: Array, inputs: Array) -> Array:
        """Return the log probability, (n_samples, n_states)."""
        return poisson(x[:, None], self.rate[None])


@dataclass(frozen=True)
class Categorical:
    """Independent categories, the numbers 0, 1, ... in each unit.

    Parameters
    ----------
    share : array, shape (n_states, n_units, n_categories)
        Probabilities. Fitted.

    Examples
    --------
    >>> x = np.array([[0], [1], [1], [1]])
    >>> Categorical().fitted(x, NOTHING, np.ones((4, 1))).share.tolist()
    [[[0.25, 0.75]]]
    """

    share: Array = field(default_factory=lambda: NOTHING)

    def fitted(self, x: Array, inputs: Array, weights: Array) -> Categorical:
        """Return probabilities, shrunk towards those of all data by one sample of it."""
        require_counts(x)
        is_it = x[:, :, None] == np.arange(x.max() + 1)
        size = weights.sum(axis=0)[:, None, None] + PSEUDO
        return Categorical(
            (np.einsum("tk,tuc->kuc", weights, is_it) + PSEUDO * is_it.mean(axis=0)) / size
        )

    def log_likelihood(self, x: Array, inputs: Array) -> Array:
        """Return the log probability, (n_samples, n_states)."""
        code = x.astype(np.int64)
        if code.max(initial=0) >= self.share.shape[2]:
            raise NisslError(f"category {code.max()} is none that was fitted", do="fit it, too")
        with np.errstate(divide="ignore"):
            log = np.log(self.share)
        return np.asarray(log[:, np.arange(code.shape[1]), code].sum(axis=2).T)


@dataclass(frozen=True)
class Glm:
    """Regression of each unit on inputs, with weights of each state.

    Parameters
    ----------
    family : {"poisson", "gaussian"}
        Counts with a logarithmic link, or normal activity with a variance of each unit.
    penalty : float
        Of squared weights, in samples; that of the bias is nought.
    weights : array, shape (n_states, n_units, n_inputs)
        Fitted.
    bias : array, shape (n_states, n_units)
        Fitted.
    variance : array, shape (n_states, n_units)
        Fitted, of the Gaussian.

    Examples
    --------
    >>> inputs = np.arange(8.0)[:, None] - 3.5
    >>> made = Glm("gaussian", penalty=0).fitted(3 * inputs, inputs, np.ones((8, 1)))
    >>> made.weights.round(6).tolist()
    [[[3.0]]]
    """

    family: str = "poisson"
    penalty: float = 1.0
    weights: Array = field(default_factory=lambda: NOTHING)
    bias: Array = field(default_factory=lambda: NOTHING)
    variance: Array = field(default_factory=lambda: NOTHING)

    def fitted(self, x: Array, inputs: Array, weights: Array) -> Self:
        """Return weights, by Newton's method from those that are there."""
        made = self.begun(x, inputs, weights)
        penalty = np.append(np.full(inputs.shape[1], self.penalty), 1e-9)
        # From weights that are there one step is enough: the next expectation is another anyway.
        for _ in range(1 if self.weights.size or self.family == "gaussian" else 4):
            b, h = made.quadratic(x, inputs, weights)
            made = made.put(np.linalg.solve(h + np.diag(penalty), b[..., None])[..., 0])
        return made.with_variance(x, inputs, weights)

    def begun(self, x: Array, inputs: Array, weights: Array) -> Self:
        """Return the emission with rates for a start where there are no weights yet."""
        require_known("family", self.family, ("poisson", "gaussian"))
        if inputs.ndim != 2:
            raise NisslError("a regression needs inputs", where="inputs", do="give inputs=Past()")
        if self.family == "poisson":
            require_counts(x)
        if self.weights.size:
            return self
        rate = (weights.T @ x + PSEUDO * x.mean(axis=0)) / (weights.sum(axis=0)[:, None] + PSEUDO)
        bias = np.log(np.maximum(rate, 1e-9)) if self.family == "poisson" else rate
        whole = np.broadcast_to(x.var(axis=0), bias.shape)
        return replace(
            self, weights=np.zeros((*bias.shape, inputs.shape[1])), bias=bias, variance=whole
        )

    def quadratic(self, x: Array, inputs: Array, weights: Array) -> tuple[Array, Array]:
        """Return b and H of the log-likelihood's parabola b'w - w'Hw/2, of weights and bias."""
        design = np.concatenate([inputs, np.ones((len(x), 1))], axis=1)
        now = np.concatenate([self.weights, self.bias[..., None]], axis=2)
        b, h = np.empty_like(now), np.empty((*now.shape, now.shape[2]))
        for k, w in enumerate(now):
            if self.family == "poisson":
                rate = np.exp(np.clip(design @ w.T, -30, 15))
                curve, slope = weights[:, k, None] * rate, weights[:, k, None] * (x - rate)
                for u, column in enumerate(curve.T):
                    h[k, u] = (column[:, None] * design).T @ design
                b[k] = slope.T @ design + np.einsum("upq,uq->up", h[k], w)
            else:
                share = weights[:, k, None] * design
                h[k] = share.T @ design
                b[k] = x.T @ share
        return b, h

    def put(self, both: Array) -> Self:
        """Return the emission with weights and biases, (n_states, n_units, n_inputs + 1)."""
        return replace(self, weights=both[..., :-1], bias=both[..., -1])

    def with_variance(self, x: Array, inputs: Array, weights: Array) -> Self:
        """Return the emission with the variance of what is left over."""
        if self.family == "poisson":
            return self
        left = np.einsum("tk,tku->ku", weights, (x[:, None] - self.predicted(inputs)) ** 2)
        size = weights.sum(axis=0)[:, None] + PSEUDO
        return replace(self, variance=(left + PSEUDO * 1e-3 * x.var(axis=0)) / size)

    def predicted(self, inputs: Array) -> Array:
        """Return what is expected of each unit in each state, (n_samples, n_states, n_units)."""
        linear = np.einsum("tp,kup->tku", inputs, self.weights, optimize=True) + self.bias
        return np.asarray(np.exp(np.clip(linear, -30, 15)) if self.family == "poisson" else linear)

    def log_likelihood(self, x: Array, inputs: Array) -> Array:
        """Return the log probability or density, (n_samples, n_states)."""
        expected = self.predicted(inputs)
        if self.family == "poisson":
            return poisson(x[:, None], expected)
        error = (x[:, None] - expected) ** 2 / self.variance
        return np.asarray(-0.5 * (error + np.log(2 * np.pi * self.variance)).sum(axis=2))


EMISSIONS: dict[str, Emission] = {
    "gaussian": Gaussian(),
    "poisson": Poisson(),
    "categorical": Categorical(),
    "glm": Glm(),
}


def poisson(x: Array, rate: Array) -> Array:
    """Return the log probability of counts, summed over the last axis."""
    from scipy.special import gammaln, xlogy

    return np.asarray((xlogy(x, rate) - rate - gammaln(x + 1)).sum(axis=-1))


def require_counts(x: Array) -> None:
    """Refuse what is no count."""
    bad = (x < 0) | (x != np.round(x))
    if bad.any():
        row, unit = np.argwhere(bad)[0]
        raise NisslError(
            f"{x[row, unit]:g} is no count", where=f"sample {row}, unit {unit}", do="use 'gaussian'"
        )
