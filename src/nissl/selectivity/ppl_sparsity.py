"""PPL-p% sparsity: how few neurons a language model needs before its perplexity rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.losses import losses
from nissl.behaviour.tail_error import Tails
from nissl.errors import NisslError
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.statistics import Finding

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from nissl.network import Network
    from nissl.network.edits.edit import Change
    from nissl.network.edits.values import PerUnit

__all__ = ["ppl_sparsity", "thresholded"]

NULL = "a random choice of units for each token"
SEED = 0  # of the random choice
TOLERANCE = 0.05  # relative, of the square of the tail error, or of the loss that may be added
# Squares of tail errors: where the search begins, the factor it goes on by at most, and its end.
BEGIN, STEP, LEAST = 0.0025, 16, 1e-6


@method(system=50)
def ppl_sparsity(
    net: Network,
    texts: Any,
    *,
    p: float = 1.0,
    tail_error: float | None = None,
    sites: str | list[str] = "mlp.neurons",
    n_tokens: int = 256,
    batch_size: int = 16,
    progress: bool = True,
) -> Finding:
    """Find the share of neurons that are active, where the others may cost p percent of perplexity.

    A neuron is active at a token where its contribution, |activity| x norm of its output weights,
    is above its layer's threshold. All layers' thresholds share one tail error: the norm of the sum
    of what is below, over the norm of the layer's output. The largest tail error is searched for
    with which perplexity has risen by no more than `p` percent.

    Parameters
    ----------
    net : Network
        A language model.
    texts : sequence of str or of token ids
        What it predicts; each text counts alike.
    p : float
        Percent by which perplexity may rise.
    tail_error : float, optional
        Take this tail error, from 0 to 1, instead of searching.
    sites : str or list of str
        Neurons, in the order of the layers.
    n_tokens : int
        Tokens at which tail errors are measured, spread over the texts.
    batch_size : int
        Windows in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each layer (``unit`` is its site): ``ratio``, the share of neurons that are
        active; ``null_mean``, the share that a random choice for each token needs for the same tail
        error; ``effect``; ``threshold`` of the contributions; ``tail_error``; ``site``; ``layer``.
        There is no p. The provenance has the mean ``ratio`` over layers, the shared ``tail_error``,
        ``perplexity``, ``perplexity_thresholded``, and ``perplexity_random``: with as many neurons
        at each token, on average, that are chosen at random.

    Raises
    ------
    NisslError
        `p` is not above 0, `tail_error` is no share, or a site has no output weights.

    Notes
    -----
    A network that does not need its MLPs has a ratio of zero: look at ``perplexity``.

    Source: Luo et al. 2024, section 3; the tail error is the CETT of Zhang et al. 2024. The random
    choice is ours.

    Examples
    --------
    >>> found = ppl_sparsity(net, texts, p=1)  # doctest: +SKIP
    >>> with net.edit(thresholded(net, found)):  # doctest: +SKIP
    ...     losses(net, texts)
    """
    if p <= 0 or (tail_error is not None and not 0 <= tail_error <= 1):
        raise NisslError(
            f"p={p} and tail_error={tail_error} allow nothing",
            do="give p above 0, or a tail_error from 0 to 1",
        )
    tails = _tails(net, texts, sites, n_tokens, batch_size, progress)

    def loss(*edits: Any) -> float:
        with net.edit(*edits):
            lost = losses(net, texts, batch_size=batch_size, progress=False)
        return float(lost.mean())

    @cache
    def without_tails(error: float) -> float:
        return loss(_edit(net, _thresholds(tails, error)))

    dense = loss()
    if tail_error is None:
        allowed = dense + math.log1p(p / 100)
        tail_error = _searched(without_tails, dense, allowed, progress=progress)
    thresholds = _thresholds(tails, tail_error)
    found = _table(net, tails, thresholds)
    said: dict[str, str | int | float] = {
        "ratio": float(found["ratio"].mean()),
        "tail_error": tail_error,
        "p_percent": p,
        "perplexity": math.exp(dense),
        "perplexity_thresholded": math.exp(without_tails(tail_error)),
        "perplexity_random": math.exp(loss(_edit(net, thresholds, SEED))),
        "n_tokens": n_tokens,
        "seed": SEED,
        "network": net.name,
    }
    return Finding(found, "ppl_sparsity", NULL, said, "ratio")


def thresholded(net: Network, found: Finding) -> Change:
    """Return the edit under which only active neurons are left.

    Parameters
    ----------
    net : Network
        The network.
    found : Finding
        Of `ppl_sparsity`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Raises
    ------
    UnknownName
        The network has no such site.

    Examples
    --------
    >>> with net.edit(thresholded(net, found)):  # doctest: +SKIP
    ...     net.generate("The capital of France is")
    """
    return _edit(net, dict(zip(found.table["site"], found.table["threshold"], strict=True)))


@dataclass(frozen=True)
class AsMany:
    """A rule of edits: as many values as are above their thresholds are kept, chosen at random."""

    values: PerUnit
    generator: Generator

    def bind(self, net: Any, chosen: Mapping[str, Any]) -> AsMany:
        """Look the thresholds up."""
        return replace(self, values=self.values.bind(net, chosen))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return what is left of the values; as many on average over draws."""
        import torch

        share = (x.abs() > self.values.of(site, x.float())).float().mean(-1, keepdim=True)
        drawn = torch.rand(x.shape, generator=self.generator).to(x.device)
        return torch.where(drawn < share, x, torch.zeros_like(x))


def _tails(
    net: Network,
    texts: Any,
    sites: Any,
    n_tokens: int,
    batch_size: int,
    progress: bool,
) -> dict[str, Tails]:
    """Record some tokens of every layer, evenly spread over the texts."""
    from nissl.network import plan_of, stream

    plan = plan_of(net, texts, batch_size=batch_size)
    step = max(1, plan.n_samples // n_tokens)
    write = {site.name: net.output_weights(site.name).float().cpu() for site in net.find(sites)}
    kept: dict[str, list[NDArray[Any]]] = {name: [] for name in write}

    def consume(chunk: Any) -> None:
        kept[chunk.site].append(chunk.values[-chunk.start % step :: step].copy())

    stream(net, plan, sites=list(write), consume=consume, progress=progress)
    return {name: Tails(np.concatenate(rows), write[name], name) for name, rows in kept.items()}


def _thresholds(tails: Mapping[str, Tails], error: float) -> dict[str, float]:
    return {name: layer.threshold(error) for name, layer in tails.items()}


def _edit(net: Network, thresholds: Mapping[str, float], seed: int | None = None) -> Change:
    """Return the edit of thresholds on contributions; with a seed, units are chosen at random."""
    import torch

    from nissl.network import threshold
    from nissl.network.edits.values import PerUnit

    above = {
        site: level / torch.linalg.vector_norm(net.output_weights(site).float(), dim=1)
        for site, level in thresholds.items()
    }
    edit = threshold(sites=list(above), above=above)
    if seed is not None:
        edit.rule = AsMany(PerUnit(above), torch.Generator().manual_seed(seed))
    return edit


def _searched(
    loss: Callable[[float], float], dense: float, allowed: float, *, progress: bool
) -> float:
    """Return the largest tail error that was tried whose loss is no larger than is allowed."""
    room = allowed - dense
    rises = {0.0: 0.0}  # of the loss, by the square of the tail error, about as which it grows
    with progress_bar("Searching", total=None, unit="errors", progress=progress) as advance:
        while True:
            low = max(square for square, rise in rises.items() if rise <= room)
            high = min((square for square in rises if square > low), default=math.inf)
            near = rises[low] >= (1 - TOLERANCE) * room or high <= (1 + TOLERANCE) * low
            if near or low >= 1 or high <= LEAST:
                return math.sqrt(low)
            square = _next(low, high, rises, (1 - TOLERANCE / 2) * room)
            rises[square] = loss(math.sqrt(square)) - dense
            advance(1)


def _next(low: float, high: float, rises: Mapping[float, float], aim: float) -> float:
    """Return the square between two where the rise should be what is aimed at."""
    if not low and high == math.inf:
        return BEGIN
    if high == math.inf:
        return min(low * min(aim / max(rises[low], 1e-9), STEP), 1.0)
    if not low:
        return high * max(aim / rises[high], 1 / STEP)
    place = 0.5
    if rises[low] > 0:  # a straight line between logarithms
        place = math.log(aim / rises[low]) / math.log(rises[high] / rises[low])
    return float(low * (high / low) ** min(max(place, 0.1), 0.9))


def _table(net: Network, tails: Mapping[str, Tails], thresholds: Mapping[str, float]) -> Any:
    import pandas as pd

    rows = []
    for site in net.find(list(tails)):
        layer, level = tails[site.name], thresholds[site.name]
        error, ratio = layer.error(level), layer.ratio(level)
        rows.append(
            {
                "unit": site.name,
                "ratio": ratio,
                "effect": ratio - layer.chance(error),
                "null_mean": layer.chance(error),
                "threshold": level,
                "tail_error": error,
                "site": site.name,
                "layer": site.layer,
            }
        )
    return pd.DataFrame(rows)
