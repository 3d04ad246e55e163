"""Local interaction basis: directions of each layer that matter for the next, and act on few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import LinearDictionary

__all__ = ["local_interaction_basis"]

Function = Callable[[Tensor], Tensor]


@method(system=87)
def local_interaction_basis(
    parts: Sequence[Function],
    x: Tensor,
    *,
    sites: Sequence[str] = (),
    rotate: bool = True,
    tolerance: float = 1e-6,
) -> tuple[list[LinearDictionary], list[Tensor]]:
    """Align directions of each layer with the Jacobian to the next, and drop what does not matter.

    Activity is whitened, and turned to the right singular vectors of the Jacobian to the features
    of the next layer, over all samples; each is scaled by its singular value. The last layer has
    its principal components. Source: Bushnaq et al. 2024, section 3.

    Parameters
    ----------
    parts : sequence of callables
        Each takes activity of one layer, shape (n_samples, width), to the next; samples do not mix.
    x : Tensor, shape (n_samples, width)
        Activity of the first layer.
    sites : sequence of str, optional
        What the layers are called.
    rotate : bool
        False gives principal components everywhere, to compare with.
    tolerance : float
        Of the largest variance or squared singular value; directions of less are dropped.

    Returns
    -------
    list of LinearDictionary
        Features of each layer.
    list of Tensor, each shape (n_features of the next layer, n_features)
        The mean square of what each feature brings to each later one, by integrated gradients.

    Raises
    ------
    NisslError
        There is no part or sample, another number of sites, or activity that does not vary.
    """
    names = tuple(sites) or tuple(f"layer {i}" for i in range(len(parts) + 1))
    if not parts or len(names) != len(parts) + 1 or len(x) < 2:
        raise NisslError(f"{len(parts)} parts, {len(names)} sites, {len(x)} samples do not fit")
    layers = list(accumulate(parts, lambda y, part: part(y).detach(), initial=x.detach()))
    basis: list[LinearDictionary] = []
    edges: list[Tensor] = []

    def onward(z: Tensor) -> Tensor:
        return basis[0].encode(parts[i](z))

    for i in reversed(range(len(layers))):
        name, y, mean = names[i], layers[i], layers[i].mean(0)
        variance, enc = _eigen((y - mean).T @ (y - mean) / len(y), tolerance, name)
        dec = enc.T
        if basis and rotate:
            enc, dec = enc / variance.sqrt(), variance.sqrt()[:, None] * dec
            square = torch.zeros_like(dec @ enc)
            for gradient in _gradients(onward, y):
                square += dec @ gradient.T @ gradient @ dec.T / len(y)
            squared, turned = _eigen(square, tolerance, name)
            enc, dec = enc @ turned * squared.sqrt(), (turned / squared.sqrt()).T @ dec
        here = LinearDictionary(name, enc, 0 * enc[0], dec, mean, torch.clone, name="lib")
        if basis:
            edges.insert(0, _edges(onward, here, here.encode(y)))
        basis.insert(0, here)
    return basis, edges


def _eigen(matrix: Tensor, tolerance: float, where: str) -> tuple[Tensor, Tensor]:
    """Return the large eigenvalues, the largest first, and their vectors as columns."""
    if not bool(torch.isfinite(matrix).all()) or not bool(matrix.any()):
        raise NisslError("activity is not finite, does not vary, or does not matter", where=where)
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(matrix))
    kept = values > tolerance * values[0]
    return values[kept], vectors[:, kept]


def _gradients(function: Function, x: Tensor) -> Iterator[Tensor]:
    """Yield the gradient of each output, shape (n_samples, width)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        for output in function(x).sum(0):  # samples do not mix: each has its own gradient
            yield torch.autograd.grad(output, x, retain_graph=True)[0]


def _edges(onward: Function, here: LinearDictionary, features: Tensor) -> Tensor:
    """Return mean squares of integrated gradients, shape (n_out, n_in)."""
    points = torch.cat([at * features for at in (0.1, 0.3, 0.5, 0.7, 0.9)])
    found = _gradients(lambda f: onward(here.decode(f)), points)
    means = (gradient.unflatten(0, (5, -1)).mean(0) for gradient in found)
    return torch.stack([(mean * features).square().mean(0) for mean in means])
