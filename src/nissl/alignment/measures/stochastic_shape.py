"""Stochastic shape: how far two noisy representations are, in mean and in noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nissl.alignment.measures.measure import Array, Measure
from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.statistics.coordinates import coordinates

__all__ = ["StochasticShape"]

FIRST, STEPS, ENOUGH = 15, 300, 1e-9  # of each start, of the best; the gain that ends it


@method(system=277)
@dataclass(frozen=True)
class StochasticShape(Measure):
    """The distance of two representations whose responses vary from repeat to repeat.

    The mean over stimuli of ``alpha * |m - m'|**2 + (2 - alpha) * bures(S, S')**2``, of means m and
    covariances S of each stimulus' repeats, after the rotation that makes it least; its root. With
    alpha 1 this is Wasserstein's distance of Gaussians, with 2 that of means, with 0 of noise.

    Parameters
    ----------
    alpha : float
        How much means count, from 0 to 2.
    scaled : bool
        Make both sides of size one, so that the distance is from 0 to the root of 2.
    n_components : int
        The largest principal components of each side are kept.
    n_starts : int
        Of the search for the rotation: the one that fits means, that of principal axes, and random
        ones; the best goes on. Where it stops short the distance is too large, and the triangle
        inequality may fail.

    Notes
    -----
    It takes arrays (n_stimuli, n_repeats, n_units), NaN where a stimulus has fewer repeats, or
    Recordings with several samples of a stimulus. Of fewer repeats than units the covariance has
    a bias, the same on both sides where both have as many.

    Source: Duong et al. 2023, Representational dissimilarity metric spaces for stochastic neural
    networks.
    """

    alpha: float = 1.0
    scaled: bool = True
    n_components: int = 50
    n_starts: int = 16
    name = "stochastic_shape"
    similarity = False
    invariant = ("translation", "rotation", "scale")
    repeats = True

    def prepare(self, x: Any) -> Array:
        """Return the mean of each stimulus, and below it rows whose products are the covariance."""
        if not 0 <= self.alpha <= 2 or self.n_starts < 1:
            raise NisslError(
                f"alpha is {self.alpha}, starts {self.n_starts}", do="give 0 to 2, one or more"
            )
        x = np.asarray(x, dtype=np.float64)
        there = ~np.isnan(x).all(axis=2) if x.ndim == 3 else np.zeros((1, 1))
        if there.sum(1).min() < 2:
            raise TooFewSamples(
                f"responses of shape {x.shape} hold no two repeats of each stimulus",
                do="give (n_stimuli, n_repeats, n_units), or leave such stimuli out",
            )
        flat = coordinates(x[there])
        axes = np.linalg.svd(flat, full_matrices=False)[2][: self.n_components]
        flat = flat @ axes.T
        flat *= np.where((flat**3).sum(0) < 0, -1, 1)  # so that starts turn with the units
        values = np.zeros((*there.shape, flat.shape[1]))
        values[there] = flat
        n = there.sum(1)[:, None, None]
        mean = values.sum(1, keepdims=True) / n
        noise = np.linalg.qr((values - mean) * there[..., None] / np.sqrt(n - 1), mode="r")
        return np.concatenate([mean, noise], axis=1)

    def normalise(self, prepared: Array) -> Array:
        """Return means about their own mean, and noise, each by its weight."""
        mean, noise = prepared[:, :1], prepared[:, 1:]
        mean = mean - mean.mean(0)
        made = np.concatenate(
            [np.sqrt(self.alpha) * mean, np.sqrt(2 - self.alpha) * noise], axis=1
        ) / np.sqrt(len(prepared))
        size = np.linalg.norm(made)
        if not size > 1e-12 * np.linalg.norm(prepared):
            raise NisslError("responses vary neither over stimuli nor repeats", do="leave it out")
        return np.asarray(made / size if self.scaled else made)

    def score(self, a: Array, b: Array) -> float:
        """Return the distance."""
        lacking = [np.maximum(a.shape, b.shape) - x.shape for x in (a, b)]
        a, b = (np.pad(x, [(0, n) for n in more]) for x, more in zip((a, b), lacking, strict=True))
        rng, size = np.random.default_rng(0), a.shape[2]
        starts = [_rotation(b[:, 0], a[:, 0]), np.eye(size)]
        for _ in range(self.n_starts - 2):  # its own inverse, so that the sides may trade places
            axes = np.linalg.qr(rng.standard_normal((size, size)))[0]
            starts.append(axes * rng.choice([-1, 1], size) @ axes.T)
        found = [_climb(a, b, one, FIRST) for one in starts[: self.n_starts]]
        best = max(found, key=lambda one: one[0][-1])[1]
        common = _climb(a, b, best, STEPS)[0][-1]
        return float(np.sqrt(max((a**2).sum() + (b**2).sum() - 2 * common, 0)))


def _climb(a: Array, b: Array, rotation: Array, steps: int) -> tuple[list[float], Array]:
    """Return what two sides have in common, in turn by rotations of noise and of units."""
    found: list[float] = []
    for _ in range(steps):
        left, size, right = np.linalg.svd(a[:, 1:] @ (b[:, 1:] @ rotation).swapaxes(1, 2))
        found.append(float((a[:, 0] * (b[:, 0] @ rotation)).sum() + size.sum()))
        if len(found) > 1 and found[-1] - found[-2] < ENOUGH * abs(found[-1]):
            break
        turned = np.concatenate([b[:, :1], left @ right @ b[:, 1:]], axis=1)
        rotation = _rotation(turned.reshape(-1, b.shape[2]), a.reshape(-1, b.shape[2]))
    return found, rotation


def _rotation(b: Array, a: Array) -> Array:
    """Return the rotation of the columns of `b` that fits `a` best."""
    left, _, right = np.linalg.svd(b.T @ a)
    return np.asarray(left @ right)
