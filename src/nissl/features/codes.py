"""Codes: the k largest features of each sample, and nothing computed of the others.

On a CPU the products are compiled loops over what is not zero; elsewhere they are torch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nissl.features.sparse_kernels import gather_dot, gather_sum, largest, scatter_sum

__all__ = ["Codes", "top_codes"]

MOST = 128  # features of a sample that are looked through for the least: beyond, torch sorts


@dataclass(frozen=True)
class Codes:
    """Features of samples, of which each has k.

    Parameters
    ----------
    values : Tensor, shape (n_samples, k)
        What they are.
    indices : Tensor of int64, shape (n_samples, k)
        Which they are.
    n_features : int
        How many there could be.
    """

    values: Tensor
    indices: Tensor
    n_features: int

    def dense(self) -> Tensor:
        """Return all features, shape (n_samples, n_features)."""
        shape = len(self.values), self.n_features
        return self.values.new_zeros(shape).scatter(-1, self.indices, self.values)

    def decode(self, w_dec: Tensor) -> Tensor:
        """Return the features times their rows.

        Parameters
        ----------
        w_dec : Tensor, shape (n_features, width)
            The decoder.

        Returns
        -------
        Tensor, shape (n_samples, width)
            What they add up to.
        """
        found: Tensor = _Decode.apply(self.values, self.indices, w_dec)  # type: ignore[no-untyped-call]
        return found


def top_codes(x: Tensor, w_enc: Tensor, b_enc: Tensor, k: int) -> Codes:
    """Encode samples by the k largest features of each, those below zero at zero.

    Parameters
    ----------
    x : Tensor, shape (n_samples, width)
        Activity. It is given no gradient.
    w_enc : Tensor, shape (n_features, width)
        The encoder.
    b_enc : Tensor, shape (n_features,)
        Its bias.
    k : int
        Features of a sample.

    Returns
    -------
    Codes
        With the graph of the encoder and its bias.
    """
    values, indices = _Encode.apply(x, w_enc, b_enc, k)  # type: ignore[no-untyped-call]
    return Codes(values.relu(), indices, len(w_enc))


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, k: int) -> Any:
        if x.device.type == "cpu" and k <= MOST:
            products, bias = _arrays(x @ w.T, b)
            values, indices = map(torch.from_numpy, largest(products, bias, k))
        else:
            values, indices = torch.addmm(b, x, w.T).topk(k, -1, sorted=False)
        ctx.save_for_backward(x, indices)
        ctx.n_features = len(w)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, indices = ctx.saved_tensors
        gradient, n = gradients[0], ctx.n_features
        bias = gradient.new_zeros(n).index_add_(0, indices.flatten(), gradient.flatten())
        return None, _scattered(gradient, indices, x, n), bias, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(values, indices, w)
        if values.device.type == "cpu":
            return torch.from_numpy(gather_sum(*_arrays(values, indices, w)))
        return torch.nn.functional.embedding_bag(indices, w, mode="sum", per_sample_weights=values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        values, indices, w = ctx.saved_tensors
        (gradient,) = gradients
        if gradient.device.type == "cpu":
            of_values = torch.from_numpy(gather_dot(*_arrays(gradient, indices, w)))
        else:
            of_values = torch.einsum("nd,nkd->nk", gradient, w[indices])
        return of_values, None, _scattered(values, indices, gradient, len(w))


def _scattered(values: Tensor, indices: Tensor, samples: Tensor, n_features: int) -> Tensor:
    if samples.device.type == "cpu":
        coded, which, x = _arrays(values, indices, samples)
        return torch.from_numpy(scatter_sum(coded, which, x, n_features))
    out = samples.new_zeros(n_features, samples.shape[1])
    products = values[..., None] * samples[:, None]
    return out.index_add_(0, indices.flatten(), products.flatten(0, 1))


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
