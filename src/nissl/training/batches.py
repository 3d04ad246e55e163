"""Batches: which samples each step of training sees."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError

__all__ = ["Batches"]


class Batches:
    """Rows of tensors in a random order, each once in an epoch; a batch is a function of its step.

    Parameters
    ----------
    *tensors : Tensor or array, each shape (n_samples, ...)
        Inputs, targets, and whatever else a sample has.
    batch_size : int
        Samples of a batch; what is left at the end of an epoch is not seen in it.
    seed : int
        Of the orders, one for each epoch.

    Raises
    ------
    NisslError
        The tensors have different numbers of samples, or fewer than a batch.

    Examples
    --------
    >>> batches = Batches(np.arange(6), batch_size=2, seed=0)
    >>> sorted(int(x) for step in range(3) for x in batches(step)[0])
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, *tensors: Any, batch_size: int, seed: int = 0) -> None:
        self.tensors = tuple(torch.as_tensor(tensor) for tensor in tensors)
        lengths = [len(tensor) for tensor in self.tensors]
        if len(set(lengths)) != 1:
            raise NisslError(
                f"the tensors have {lengths or 'no'} samples", do="give tensors of equal length"
            )
        if not 0 < batch_size <= lengths[0]:
            raise NisslError(
                f"a batch of {batch_size} cannot be made of {lengths[0]} samples",
                do=f"give batch_size= from 1 to {lengths[0]}",
            )
        self.batch_size = batch_size
        self.seed = seed
        self._order: tuple[int, np.ndarray[Any, Any]] = (-1, np.empty(0, np.int64))

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """Return the batch of one step, counted from 0."""
        epoch, place = divmod(step, len(self))
        if self._order[0] != epoch:
            drawn = np.random.default_rng((self.seed, epoch)).permutation(len(self.tensors[0]))
            self._order = (epoch, drawn)
        rows = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        return tuple(tensor[torch.from_numpy(rows)] for tensor in self.tensors)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.tensors[0]) // self.batch_size

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that the batches depend on."""
        digest = hashlib.sha256(f"{self.batch_size} {self.seed}".encode())
        for tensor in self.tensors:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
