"""Rows of recordings in a random order, read from their stores in blocks."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nissl.recording import Recording

__all__ = ["ShuffledRows"]

BLOCK = 1024  # consecutive rows, read at once
POOL = 64  # blocks that are mixed, from anywhere in the recording


class ShuffledRows:
    """Batches of recordings for `nissl.training.train`, of which a step alone decides.

    Blocks of consecutive rows are taken in a random order, some at a time, and their rows mixed:
    what is in memory is bounded, and neighbours in a text do not meet in every batch.

    Parameters
    ----------
    recs : sequence of Recording, each shape (n_samples, n_units)
        Of the same samples.
    batch_size : int
        Rows of a batch.
    seed : int
        Of the order.

    Raises
    ------
    NisslError
        When read: a value is not finite.
    """

    def __init__(self, recs: Sequence[Recording], *, batch_size: int, seed: int = 0) -> None:
        self.recs, self.batch_size, self.seed = tuple(recs), batch_size, seed
        self.n = len(recs[0])
        self.block = min(BLOCK, self.n)
        self.per_pool = min(max(POOL * self.block // batch_size, 1), self.n // batch_size)
        self._pool: tuple[int, list[Tensor], Tensor] = (-1, [], torch.empty(0))

    def __len__(self) -> int:
        """Batches in which each row is seen about once."""
        return self.n // self.batch_size

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """Return the batch of one step, counted from 0."""
        pool, place = divmod(step, self.per_pool)
        if self._pool[0] != pool:
            self._pool = pool, *self._read(pool)
        _, values, order = self._pool
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        return tuple(x[rows] for x in values)

    def _read(self, pool: int) -> tuple[list[Tensor], Tensor]:
        """Return the rows of one pool, of each recording, and the order to take them in."""
        wanted = self.per_pool * self.batch_size
        n_blocks = -(-self.n // self.block)
        taken: list[slice] = []
        # Blocks go round: pool after pool takes those that come next in the order of their epoch.
        at, found = pool * -(-wanted // self.block), 0
        while found < wanted:
            epoch, number = divmod(at, n_blocks)
            block = np.random.default_rng((self.seed, epoch)).permutation(n_blocks)[number]
            start, end = block * self.block, min((block + 1) * self.block, self.n)
            taken.append(slice(start, end))
            at, found = at + 1, found + end - start
        order = np.random.default_rng((self.seed, 1, pool)).permutation(found)[:wanted]
        read = []
        for rec in self.recs:
            values, end = np.empty((found, rec.shape[1]), np.float32), 0
            for rows in taken:
                start, end = end, end + rows.stop - rows.start
                values[start:end] = rec[rows].values
            # A sum in doubles is finite where all are, and one pass.
            if not np.isfinite(values.sum(dtype=np.float64)):
                raise NisslError("activity is not finite", do="leave out these samples")
            read.append(torch.from_numpy(values))
        return read, torch.from_numpy(order)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that the batches depend on, all values included: one pass."""
        digest = hashlib.sha256(f"{self.batch_size} {self.seed} {self.n} {BLOCK} {POOL}".encode())
        for rec in self.recs:
            digest.update(str(rec.shape).encode())
            for start in range(0, self.n, self.block):
                values = np.asarray(rec[start : start + self.block].values, np.float32, order="C")
                digest.update(values.tobytes())
        return digest.hexdigest()
