"""Mechanisms over domains: whether a linear regression is the same in all, and what changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.exchangeability import NotExchangeable, autocorrelation
from nissl.statistics.nulls import codes

__all__ = ["dependence_of_changes", "independent_within", "require_domains", "same_mechanism"]

Array = NDArray[np.floating[Any]]
Codes = NDArray[np.int64]


def same_mechanism(x: Array, target: int, given: Sequence[int], domain: Codes) -> float:
    """Return p of one linear Gaussian mechanism in all domains.

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity, samples independent.
    target : int
        The unit that is driven.
    given : sequence of int
        The units that drive it.
    domain : array of int, shape (n_samples,)
        The domain of each sample, 0, 1, ...

    Returns
    -------
    float
        Of coefficients and level (Chow's F) and of the residuals' spread (Brown and Forsythe's),
        which are independent of each other, by Fisher's method.

    Examples
    --------
    >>> x, domain = np.random.default_rng(0).standard_normal((200, 2)), np.arange(200) // 50
    >>> x[:, 1] += domain * x[:, 0]
    >>> [same_mechanism(x, 1, [0], domain) < 0.001, same_mechanism(x, 0, [], domain) < 0.001]
    [True, False]
    """
    from scipy.stats import chi2, f, levene

    n, k, n_domains = len(x), 1 + len(given), int(domain.max()) + 1
    whole = _residuals(x, [target], given)[:, 0]
    inside = sum((_residuals(x[domain == d], [target], given) ** 2).sum() for d in range(n_domains))
    more, rest = (n_domains - 1) * k, n - n_domains * k
    ratio = ((whole @ whole - inside) / more) / (inside / rest)
    p = [f.sf(ratio, more, rest), levene(*(whole[domain == d] for d in range(n_domains))).pvalue]
    return float(chi2.sf(-2 * np.log(np.maximum(p, 1e-300)).sum(), 4))


def independent_within(x: Array, a: int, b: int, given: Sequence[int], domain: Codes) -> float:
    """Return p of two units independent given others, in every domain.

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity, samples independent.
    a, b : int
        The units.
    given : sequence of int
        The others.
    domain : array of int, shape (n_samples,)
        The domain of each sample, 0, 1, ...

    Returns
    -------
    float
        Of the squares of Fisher's z of the partial correlation, summed over domains: effects of
        opposite signs do not cancel.

    Examples
    --------
    >>> x, domain = np.random.default_rng(0).standard_normal((200, 2)), np.arange(200) // 100
    >>> x[:, 1] += (-1.0) ** domain * x[:, 0]
    >>> independent_within(x, 0, 1, [], domain) < 0.001
    True
    """
    from scipy.stats import chi2

    total, n_domains = 0.0, int(domain.max()) + 1
    for d in range(n_domains):
        left, right = _residuals(x[domain == d], [a, b], given).T
        r = left @ right / np.sqrt((left @ left) * (right @ right))
        freedom = len(left) - len(given) - 3
        total += freedom * np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)) ** 2
    return float(chi2.sf(total, n_domains))


def dependence_of_changes(
    x: Array, cause: int, effect: int, given: Sequence[int], domain: Codes, seed: int = 0
) -> float:
    """Return how much the mechanisms of cause and effect change together over domains.

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity, samples independent.
    cause, effect : int
        The units; in the right direction their mechanisms change independently.
    given : sequence of int
        Units that drive both.
    domain : array of int, shape (n_samples,)
        The domain of each sample, 0, 1, ...
    seed : int
        Of the permutations of domains.

    Returns
    -------
    float
        HSIC of the two mechanisms' parameters (level, coefficients, logarithm of the residuals'
        deviation), by Gaussian kernels, in deviations of 199 permutations of domains.

    Source: Huang et al. 2020, JMLR 21(89), section 4, on distributions embedded by kernels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> domain, gain = np.arange(1000) // 50, rng.uniform(0, 2, (2, 20))
    >>> cause = gain[0, domain] * rng.standard_normal(1000)
    >>> x = np.c_[cause, gain[1, domain] * cause + rng.standard_normal(1000)]
    >>> dependence_of_changes(x, 0, 1, [], domain) < dependence_of_changes(x, 1, 0, [], domain)
    True
    """
    from scipy.spatial.distance import pdist, squareform

    kernels = []
    for target, drivers in ((cause, given), (effect, [cause, *given])):
        theta = np.array([_parameters(x[domain == d], target, drivers) for d in np.unique(domain)])
        apart = squareform(pdist(theta / np.maximum(theta.std(axis=0), 1e-12), "sqeuclidean"))
        kernel = np.exp(-apart / max(float(np.median(apart[apart > 0])), 1e-12))
        kernels.append(kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean())
    rng, (one, other) = np.random.default_rng(seed), kernels
    orders = [rng.permutation(len(other)) for _ in range(199)]
    drawn = [(one * other[np.ix_(order, order)]).sum() for order in orders]
    return float(((one * other).sum() - np.mean(drawn)) / np.std(drawn))


def require_domains(x: Array, domain: Codes, stretch: Codes, names: Array) -> None:
    """Refuse domains in which mechanisms cannot be told or samples are no independent ones.

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity.
    domain, stretch : array of int, shape (n_samples,)
        The domain of each sample, 0, 1, ..., and the run: neighbours in both are neighbours.
    names : array of str, shape (n_units,)
        What errors call units.

    Raises
    ------
    TooFewSamples
        There is one domain, or one has fewer than ten samples more than units.
    NotExchangeable
        Samples of a domain are autocorrelated.
    NisslError
        Units of a domain do not vary, or follow from each other.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((40, 2))
    >>> require_domains(x, np.arange(40) // 20, np.zeros(40, int), np.array(["a", "b"]))
    """
    (n, n_units), counts = x.shape, np.bincount(domain)
    if len(counts) < 2 or counts.min() < n_units + 10:
        raise TooFewSamples(
            f"{len(counts)} domains, the least of {counts.min()} samples",
            where="over",
            do=f"give two or more, of {n_units + 10} samples each",
        )
    for d in range(len(counts)):
        z = x[domain == d] - x[domain == d].mean(axis=0)
        sd = z.std(axis=0)
        flat = sd <= 1e-12 * np.abs(x).max(axis=0)
        if flat.any() or np.linalg.matrix_rank(z / sd, tol=1e-6 * len(z) ** 0.5) < n_units:
            raise NisslError(
                f"units do not vary, or follow from the others, in domain {d}",
                where=", ".join(names[flat]) or None,
                do="leave them out, or give fewer domains",
            )
    within = codes(domain * (stretch.max() + 1) + stretch)
    memory = np.array([autocorrelation(column[:, None], exchange=within) for column in x.T])
    if memory.max() > max(0.1, 3.5 / np.sqrt(n)):
        raise NotExchangeable(
            f"samples are correlated inside domains: lag-1 autocorrelation {memory.max():.2f}",
            where=str(names[memory.argmax()]),
            do="take samples further apart, means of trials, or what their past does not predict",
        )


def _design(x: Array, given: Sequence[int]) -> Array:
    return np.column_stack([np.ones(len(x)), x[:, list(given)]])


def _residuals(x: Array, targets: list[int], given: Sequence[int]) -> Array:
    """Return what is left of targets after linear regression on others."""
    design = _design(x, given)
    return np.asarray(x[:, targets] - design @ np.linalg.lstsq(design, x[:, targets])[0])


def _parameters(x: Array, target: int, given: Sequence[int]) -> Array:
    """Return level, coefficients and the logarithm of the residuals' deviation."""
    weights = np.linalg.lstsq(_design(x, given), x[:, target])[0]
    return np.append(weights, np.log(_residuals(x, [target], given).std() + 1e-300))
