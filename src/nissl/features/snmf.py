"""Semi-nonnegative factorisation: activity as nonnegative sums of a few groups of units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nissl.methods import method

__all__ = ["NonnegativeCode", "snmf"]


@method(system=34)
def snmf(
    x: Tensor, n_features: int, *, kept: float = 1.0, n_iter: int = 200, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Factor activity, ``x ~ sizes @ directions`` with nonnegative sizes.

    Parameters
    ----------
    x : Tensor, shape (n_samples, n_units)
        Finite activity of either sign.
    n_features : int
        How many directions.
    kept : float
        The share of units that a direction may have: those of its largest weights.
    n_iter : int
        Rounds of directions, then sizes.
    seed : int
        Of k-means on samples of length 1, from which it starts.

    Returns
    -------
    tuple of Tensor, shapes (n_samples, n_features) and (n_features, n_units)
        Sizes, and directions of length 1 (0 of a feature that no sample has). The squared error
        never rises. Source: Ding et al. 2010 (closed form, multiplicative update). Shafran et al.
        2025 keep the largest weights of the closed form, and the error may rise; here ``kept``
        below 1 sets one direction after another to the best of so few units.
    """
    from sklearn.cluster import KMeans

    unit, size = torch.nn.functional.normalize(x).numpy(), x.square().sum(1).numpy()
    near = KMeans(n_features, n_init=1, random_state=seed).fit_predict(unit, sample_weight=size)
    sizes = torch.nn.functional.one_hot(torch.from_numpy(near).long(), n_features).to(x) + 0.2
    n_kept, tiny = max(round(kept * x.shape[1]), 1), torch.finfo(x.dtype).tiny
    rows = x.new_zeros(n_features, x.shape[1])
    for _ in range(n_iter):
        gram, wanted = sizes.T @ sizes, sizes.T @ x
        if n_kept == x.shape[1]:
            rows = torch.linalg.pinv(gram, hermitian=True) @ wanted
        for i in range(n_features if n_kept < x.shape[1] else 0):
            # The error is quadratic in one direction, alike in all units: its largest are its best.
            best = (wanted[i] - gram[i] @ rows) / gram[i, i].clamp(min=tiny) + rows[i]
            top = best.abs().topk(n_kept).indices
            rows[i] = torch.zeros_like(best).index_copy(0, top, best[top])
        along, overlap = x @ rows.T, rows @ rows.T
        above = along.relu() + sizes @ (-overlap).relu()
        sizes = sizes * (above / ((-along).relu() + sizes @ overlap.relu()).clamp(min=tiny)).sqrt()
    norms = rows.norm(dim=1)
    return sizes * norms, rows / norms.clamp(min=tiny)[:, None]


@dataclass(frozen=True, eq=False)
class NonnegativeCode:
    """Nonnegative least squares from products with directions (Beck and Teboulle 2009)."""

    overlap: Tensor  # products of the directions with each other

    def __call__(self, along: Tensor) -> Tensor:
        """Return sizes, shape (..., n_features), of products of that shape."""
        overlap = self.overlap.to(along)
        rate = 1 / torch.linalg.eigvalsh(overlap)[-1].clamp(min=torch.finfo(along.dtype).tiny)
        sizes, ahead, t = torch.zeros_like(along), torch.zeros_like(along), 1.0
        for _ in range(100):
            before, s = sizes, (1 + (1 + 4 * t * t) ** 0.5) / 2
            sizes = (ahead + rate * (along - ahead @ overlap)).relu()
            ahead, t = sizes + (t - 1) / s * (sizes - before), s
        return sizes
