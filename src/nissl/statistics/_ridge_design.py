"""Features of a ridge regression in bands, and the decompositions of their training samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.statistics.nulls import codes

__all__ = ["Design", "band_of_each"]

Array = NDArray[np.floating[Any]]
Index = NDArray[np.int64]
COLUMNS = 4096  # features taken to float64 at a time, where they outnumber the samples
SPREAD = 1e-9  # a smaller share of the largest eigenvalue is lost in products
EPS = np.finfo(float).eps


class Design:
    """Features in bands; where these outnumber samples (`wide`), all goes by products of samples.

    A solution then has a row for each sample, to be weighted by band, and otherwise one for each
    feature.
    """

    def __init__(self, x: Array, band: Index):
        self.x, self.band, self.n_bands = x, band, int(band.max()) + 1
        self.wide = x.shape[1] > len(x)
        self.mean = x.mean(axis=0, dtype=float)
        self.products = self._all_products(self.mean)

    def usual_penalties(self) -> Array:
        """Return ten penalties about the mean eigenvalue."""
        total = np.trace(self.products, axis1=-2, axis2=-1).sum()
        mean = total / self.n_bands / min(self.x.shape)
        return np.asarray((mean if mean > 0 else 1.0) * 10.0 ** np.arange(-4, 6))

    def decompose(
        self, weights: Array, train: Index, test: Index | None, smallest: float, work: Any
    ) -> tuple[Array, Array, Array]:
        """Return eigenvalues, left vectors u of the trained samples, and what they lead to.

        ``lead @ (u.T @ y / (values + penalty))`` are predictions of the tested samples, or, where
        there are none, the solution.
        """
        from scipy.linalg import eigh

        mean = self.x[train].mean(axis=0, dtype=float)
        root = np.sqrt(weights)[self.band]
        if self.wide:
            kernel = self._kernel(weights, train, mean)
            gram = kernel[np.ix_(train, train)]
        else:
            gram = self._scatter(train, mean) * root[:, None] * root
        values, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
        if smallest < SPREAD * values[-1]:
            u, s, v = np.linalg.svd((self.x[train] - mean) * root, full_matrices=False)
            keep = s > s[0] * max(len(train), len(root)) * EPS
            values, u, vectors = s[keep] ** 2, u[:, keep], v[keep].T
        else:
            keep = values > max(values[-1], 0.0) * len(values) * EPS
            values, u = values[keep], vectors[:, keep]
            if not self.wide:
                vectors = u
                to_left = (root[:, None] * vectors / np.sqrt(values)).astype(work)
                u = (self.x[train] - mean).astype(work) @ to_left
        if self.wide:
            return values, u, u if test is None else kernel[np.ix_(test, train)] @ u
        lead = root[:, None] * vectors * np.sqrt(values)
        return values, u, lead if test is None else (self.x[test] - mean) @ lead

    def part(self, new: Array, band: int) -> Array:
        """Return what the solution of a band is multiplied with for new samples."""
        if self.wide:
            return self._with_samples(new, band, self.mean)
        return np.asarray((new - self.mean)[:, self.band == band])

    def _all_products(self, mean: Array) -> Array:
        """Return the products of samples, one matrix a band, or those of features."""
        if self.wide:
            return np.stack([self._with_samples(self.x, b, mean) for b in range(self.n_bands)])
        centred = self.x - mean
        return np.asarray(centred.T @ centred)

    def _with_samples(self, new: Array, band: int, mean: Array) -> Array:
        """Return the products of new samples with those of the design, over a band."""
        out, columns = np.zeros((len(new), len(self.x))), np.flatnonzero(self.band == band)
        for c in np.split(columns, range(COLUMNS, len(columns), COLUMNS)):
            left = new[:, c] - mean[c]
            out += left @ (left if new is self.x else self.x[:, c] - mean[c]).T
        return out

    def _kernel(self, weights: Array, train: Index, mean: Array) -> Array:
        """Return the products of all samples about the mean of the trained ones."""
        gram = np.tensordot(weights, self.products, 1)
        level = gram[train].mean(axis=0)
        about = gram - level - level[:, None] + level[train].mean()
        if about.diagonal()[train].sum() < 1e-3 * gram.diagonal()[train].sum():  # digits are lost
            about = np.tensordot(weights, self._all_products(mean), 1)
        return np.asarray(about)

    def _scatter(self, train: Index, mean: Array) -> Array:
        """Return the products of features over some samples, about their mean."""
        others = np.setdiff1d(np.arange(len(self.x)), train)
        if len(train) + len(others) == len(self.x):  # from those of all, where no digits are lost
            rest = self.x[others] - self.mean
            total = rest.sum(axis=0)
            gram = self.products - rest.T @ rest - np.outer(total, total) / len(train)
            if (gram.diagonal() >= 1e-3 * self.products.diagonal()).all():
                return np.asarray(gram)
        centred = self.x[train] - mean
        return np.asarray(centred.T @ centred)


def band_of_each(bands: Any, n_features: int) -> Index:
    """Return the band of each feature from labels, or from the columns of each band."""
    if bands is None:
        return np.zeros(n_features, np.int64)
    if len(bands) and all(np.ndim(b) == 1 for b in bands):
        columns = np.concatenate([np.asarray(b) for b in bands])
        band = np.repeat(np.arange(len(bands)), [len(b) for b in bands])[np.argsort(columns)]
    else:
        columns, band = np.arange(len(bands)), codes(bands)
    if not np.array_equal(np.sort(columns), np.arange(n_features)):
        raise NisslError(
            "a feature is not in exactly one band", where="bands", do="give each feature one band"
        )
    return band
