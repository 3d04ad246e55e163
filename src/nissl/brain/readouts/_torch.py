"""What readouts of maps share: trained by gradients on inner folds, each unit stopped early."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from nissl.brain.readouts.readout import Array, Readout
from nissl.statistics.folds import as_folds
from nissl.training import Batches, train


@dataclass(frozen=True)
class MapReadout(Readout):
    """A readout that is a module, ``module(n_places, n_channels, n_units)``; at first it is 0."""

    steps: int = 200
    learning_rate: float = 0.03
    weight_decay: float = 0.1
    places: ClassVar[bool] = True
    module: ClassVar[type[nn.Module]]

    def fit(self, x: Array, y: Array, *, groups: Any, seed: int = 0) -> FittedMaps:
        """Return the readout with its weights: see `Readout.fit`."""
        mean, spread, parts = y.mean(0), np.where(np.ptp(y, 0) > 0, y.std(0), 1), []
        a, b = (torch.as_tensor(z, dtype=torch.float32) for z in (x, (y - mean) / spread))
        how = asdict(self) | {"clip": None, "cache": False, "progress": False, "seed": seed}
        how |= {"loss": lambda model, batch: (model(batch[0]) - batch[1]).square().mean()}
        for n, (rows, rest) in enumerate(as_folds(groups, len(x))[:3]):  # three, for time
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed + n)
                model = self.module(*x.shape[1:], y.shape[1])
            batches = Batches(a[rows], b[rows], batch_size=min(256, len(rows)), seed=seed)
            done = train(model, batches, checkpoints=range(0, self.steps, 25), **how)
            models = [done.at(step).requires_grad_(False) for step in done.checkpoints]
            errors = torch.stack([(m(a[rest]) - b[rest]).square().mean(0) for m in models])
            parts.append([models[i] for i in errors.argmin(0)])
        return FittedMaps(parts, mean, spread)


@dataclass(frozen=True)
class FittedMaps:
    """For each inner fold, each unit's model as it was when the unit was stopped."""

    parts: list[list[nn.Module]]
    mean: Array
    spread: Array

    def predict(self, x: Any) -> Array:
        """Return responses to maps, shape (n_samples, n_units)."""
        return self.averaged(x) * self.spread + self.mean

    def averaged(self, x: Any, method: str = "forward") -> Array:
        """Return what a method of the models gives, shape (n_samples, n_units, ...), averaged."""
        maps = torch.as_tensor(x, dtype=torch.float32)
        made = {m: getattr(m, method)(maps).numpy() for part in self.parts for m in set(part)}
        each = [np.stack([made[m][:, i] for i, m in enumerate(p)], axis=1) for p in self.parts]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)
