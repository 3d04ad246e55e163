"""A trained model with its checkpoints and losses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from nissl.errors import NisslError

__all__ = ["Trained"]


@dataclass(frozen=True, repr=False)
class Trained:
    """What training gave: the model, the loss of every step, and the checkpoints.

    Parameters
    ----------
    model : nn.Module
        After the last step, in evaluation mode.
    losses : array, shape (n_steps,)
        The loss of each step, before its update.
    checkpoints : tuple of int
        Steps whose weights were kept; 0 is before training, the last one is the end.
    folder : Path or None
        Where it is cached; None where it is not.

    Examples
    --------
    >>> model = nn.Linear(1, 1)
    >>> Trained(model, np.ones(3), (3,), None, lambda step: model.state_dict()).at(3)
    Linear(in_features=1, out_features=1, bias=True)
    """

    model: nn.Module
    losses: np.ndarray[Any, Any]
    checkpoints: tuple[int, ...]
    folder: Path | None
    weights: Callable[[int], Mapping[str, Tensor]] = field(compare=False)

    def at(self, step: int) -> nn.Module:
        """Return a copy of the model as it was at a checkpoint.

        Parameters
        ----------
        step : int
            One of `checkpoints`.

        Returns
        -------
        nn.Module
            In evaluation mode, on the same device.

        Raises
        ------
        NisslError
            No weights were kept at this step.
        """
        if step not in self.checkpoints:
            raise NisslError(
                f"no weights were kept at step {step}",
                do=f"the checkpoints are {', '.join(map(str, self.checkpoints))}",
            )
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.weights(step))
        return model.eval()

    def __repr__(self) -> str:
        name = type(self.model).__name__
        return (
            f"Trained {name}: {len(self.losses):,} steps, loss {self.losses[-1]:.4g}, "
            f"{len(self.checkpoints)} checkpoints"
        )
