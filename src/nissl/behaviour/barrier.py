"""The loss barrier: how much worse networks between two are than the two themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from nissl.errors import NisslError
from nissl.network.symmetries.one_architecture import require_same_weights
from nissl.network.symmetries.trace import call, weights_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Barrier", "barrier"]


@dataclass(frozen=True, repr=False)
class Barrier:
    """The loss along the line between the weights of two networks.

    Parameters
    ----------
    table : DataFrame
        ``share`` of the second network, from 0 to 1, ``loss`` there, and its ``excess`` over the
        straight line between the losses of the two.
    """

    table: pd.DataFrame

    @property
    def height(self) -> float:
        """The largest excess, 0 or more."""
        return float(self.table["excess"].max())

    def __repr__(self) -> str:
        return f"Barrier of {self.height:.4g} over {len(self.table)} networks"

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw the loss along the line.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        from nissl.statistics.figure import curve

        axes = curve(self.table.set_index("share")["loss"], axes=axes)
        axes.set(xlabel="share of the second network", ylabel="loss")
        return axes


def barrier(
    a: nn.Module,
    b: nn.Module,
    loss: Callable[[nn.Module], Any],
    *,
    n: int = 11,
    statistics: Iterable[Any] | None = None,
) -> Barrier:
    """Measure the loss along the line between the weights of two networks.

    Parameters
    ----------
    a, b : nn.Module
        Of one architecture; neither is changed.
    loss : callable
        ``loss(model)`` returns a number; the model is in evaluation mode.
    n : int
        Networks on the line, both ends among them.
    statistics : iterable, optional
        Examples on which the statistics of batch norms are estimated anew in every network, the
        ends too. Between networks those that were averaged are wrong, and are most of the barrier.

    Returns
    -------
    Barrier
        The losses; ``.height`` is the largest excess over the line between those of the ends.

    Raises
    ------
    NisslError
        The networks differ, `n` is under 3, or a loss is not finite.

    Notes
    -----
    Source: Entezari et al. 2022; statistics anew: Jordan et al. 2023 (REPAIR).

    Examples
    --------
    >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = a.weight.data.fill_(-1), b.weight.data.fill_(1)
    >>> barrier(a, b, lambda model: 1 - model(torch.ones(1)) ** 2, n=3).height
    1.0
    """
    import pandas as pd

    if n < 3:
        raise NisslError(f"{n} networks hold none between two", do="give n=3 or more")
    require_same_weights(a, b)
    first, second = weights_of(a), weights_of(b)
    model = copy.deepcopy(a).eval()
    examples = None if statistics is None else list(statistics)
    shares, losses = np.linspace(0, 1, n), []
    for share in shares:
        with torch.no_grad():
            for name, x in weights_of(model).items():
                between = x.is_floating_point()
                x.copy_(torch.lerp(first[name], second[name], share) if between else first[name])
            if examples is not None:
                _estimate(model, examples)
            losses.append(float(loss(model)))
    if not np.isfinite(losses).all():
        raise NisslError("the loss is not finite", where=f"share {shares[~np.isfinite(losses)][0]}")
    excess = np.array(losses) - (losses[0] + shares * (losses[-1] - losses[0]))
    return Barrier(pd.DataFrame({"share": shares, "loss": losses, "excess": excess}))


def _estimate(model: nn.Module, examples: list[Any]) -> None:
    """Set the statistics of batch norms to those over examples."""
    norms = [x for x in model.modules() if isinstance(x, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over examples
            norm.train()
        for example in examples:
            call(model, example)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
