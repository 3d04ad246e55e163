"""The number type of the forward pass: float32, or bfloat16 where that is multiplied faster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["faster_dtype"]

WORTH_IT = 1.5  # times as fast as float32, for which two thirds of the digits are given up
OPERATIONS = 2e8  # of a product that is timed: two milliseconds of a core in float32
LARGEST = 1024  # sides of the matrix that is timed at most
REPEATS = 5


def faster_dtype(n_in: int, n_out: int, *, device: str | None = None) -> tuple[torch.dtype, float]:
    """Time a product of matrices in bfloat16 and in float32, and return the type to compute in.

    Processors with instructions for bfloat16 multiply it several times as fast as float32; without
    them it is emulated, and slower. The name of a processor does not tell, so it is measured.

    Parameters
    ----------
    n_in, n_out : int
        Shape of the model's largest weight matrices.
    device : str, optional
        Where the model will be.

    Returns
    -------
    dtype : torch.dtype
        bfloat16 where it is at least one and a half times as fast, else float32.
    ratio : float
        How many times as fast as float32 bfloat16 is.

    Examples
    --------
    >>> dtype, ratio = faster_dtype(64, 128)
    >>> dtype is (torch.bfloat16 if ratio >= 1.5 else torch.float32)
    True
    """
    n_in, n_out = min(n_in, LARGEST), min(n_out, LARGEST)
    n_rows = int(max(16, OPERATIONS / (2 * n_in * n_out)))
    x, weight = torch.ones(n_rows, n_in, device=device), torch.ones(n_out, n_in, device=device)
    pairs = {torch.float32: (x, weight), torch.bfloat16: (x.bfloat16(), weight.bfloat16())}
    shortest = dict.fromkeys(pairs, float("inf"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # threads that wait for each other would measure other processes
        for _ in range(REPEATS):
            for dtype, pair in pairs.items():
                shortest[dtype] = min(shortest[dtype], _seconds(*pair))
    finally:
        torch.set_num_threads(threads)
    ratio = shortest[torch.float32] / shortest[torch.bfloat16]
    return (torch.bfloat16 if ratio >= WORTH_IT else torch.float32), ratio


def _seconds(x: Tensor, weight: Tensor) -> float:
    clock = time.perf_counter if x.is_cuda else time.thread_time
    with torch.inference_mode():
        began = clock()
        torch.nn.functional.linear(x, weight)
        if x.is_cuda:
            torch.cuda.synchronize()
        return clock() - began
