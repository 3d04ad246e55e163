"""Codes: values and gradients are those of dense products."""

import pytest
import torch

from nissl.features import top_codes


def both(k=3, n=20):
    torch.manual_seed(0)
    x, y = torch.randn(n, 7).double(), torch.randn(n, 5).double()
    weights = [torch.randn(*shape).double().requires_grad_() for shape in ((11, 7), (11,), (11, 5))]
    w_enc, b_enc, w_dec = weights
    codes = top_codes(x, w_enc, b_enc, k)
    sparse = (codes.decode(w_dec) - y).square().sum()
    scores = x @ w_enc.T + b_enc
    values, indices = scores.topk(k, -1)
    dense = torch.zeros_like(scores).scatter(-1, indices, values.relu())
    slow = (dense @ w_dec - y).square().sum()
    return codes, dense, sparse, slow, weights


def test_values_and_gradients_are_those_of_dense_products():
    codes, dense, sparse, slow, weights = both()
    assert torch.equal(codes.dense(), dense)
    assert float(sparse.detach()) == pytest.approx(float(slow.detach()), rel=1e-12)
    for ours, expected in zip(
        torch.autograd.grad(sparse, weights), torch.autograd.grad(slow, weights), strict=True
    ):
        assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-10)


def test_there_are_never_more_than_k():
    codes, *_ = both(k=4)
    assert (codes.dense() > 0).sum(-1).max() <= 4
