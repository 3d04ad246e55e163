"""Bilinear layers: their third-order tensor, and eigenvectors of what they write."""

from __future__ import annotations

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import LinearDictionary

__all__ = ["bilinear_tensor", "eigenfeatures"]


@method(system=150)
def bilinear_tensor(w: Tensor, v: Tensor, p: Tensor) -> Tensor:
    """Return a bilinear layer, ``p @ ((w @ x) * (v @ x))``, as one tensor.

    Parameters
    ----------
    w, v : Tensor, shape (n_hidden, width)
        The two matrices that read; a bias is one more column, and one more input that is 1.
    p : Tensor, shape (n_out, n_hidden)
        The matrix that writes; one row is a direction of the output.

    Returns
    -------
    Tensor, shape (n_out, width, width)
        The interaction matrix of each output, symmetric: ``output[o] == x @ tensor[o] @ x``.

    Raises
    ------
    NisslError
        The shapes are not those of one layer, or weights not finite. Source: Sharkey 2023.

    Examples
    --------
    >>> bilinear_tensor(torch.ones(1, 2), torch.tensor([[0.0, 1.0]]), torch.ones(1, 1)).tolist()
    [[[0.0, 0.5], [0.5, 1.0]]]
    """
    if w.ndim != 2 or p.ndim != 2 or w.shape != v.shape or p.shape[1] != len(w):
        shapes = ", ".join(str(tuple(x.shape)) for x in (w, v, p))
        raise NisslError(f"{shapes} are no bilinear layer", do="give (h, i), (h, i) and (o, h)")
    tensor = torch.stack([w.T @ (row[:, None] * v) for row in p])
    if not bool(tensor.isfinite().all()):
        raise NisslError("the layer's weights are not finite, or too large")
    return (tensor + tensor.mT) / 2


@method(system=213)
def eigenfeatures(
    w: Tensor,
    v: Tensor,
    p: Tensor,
    *,
    directions: Tensor | None = None,
    n: int | None = None,
    sites: tuple[str, str] = ("in", "out"),
) -> LinearDictionary:
    """Return the eigenvectors of interaction matrices as features, the largest first.

    Parameters
    ----------
    w, v, p : Tensor
        A layer, as `bilinear_tensor` takes it.
    directions : Tensor, shape (n_directions, n_out), optional
        Of the output, each made of length 1; by default each output by itself.
    n : int, optional
        Features of a direction, of the largest ``|eigenvalue|``; by default all.
    sites : tuple of two str
        What the layer reads and what it writes.

    Returns
    -------
    LinearDictionary
        A feature is ``(eigenvector . x) ** 2``; it writes its eigenvalue times its direction. All
        features of orthogonal directions decode to the output's projection on them, exactly.
        Of inputs of one length, the eigenvector of the largest eigenvalue writes most along the
        direction: an adversarial direction from weights alone. Source: Pearce et al. 2025.
    """
    rows = torch.eye(len(p)) if directions is None else directions
    if rows.ndim != 2 or rows.shape[1] != len(p):
        raise NisslError(f"directions of {tuple(rows.shape)} for {len(p)} outputs", do="give rows")
    reads, writes = [], []
    for row in torch.nn.functional.normalize(rows.to(p), dim=-1):
        values, vectors = torch.linalg.eigh(bilinear_tensor(w, v, row[None] @ p)[0])
        top = values.abs().argsort(descending=True, stable=True)[:n]
        reads.append(vectors[:, top])
        writes.append(values[top, None] * row)
    enc, dec = torch.cat(reads, 1), torch.cat(writes)
    zeros = [dec.new_zeros(size) for size in dec.shape]
    return LinearDictionary(sites[0], enc, zeros[0], dec, zeros[1], torch.square, sites[1], "eigen")
