"""Regressions that switch between states over one graph, learned with them (one-hot HMM-GLM)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nissl.errors import require_known
from nissl.methods import method
from nissl.statistics.emissions import NOTHING, Glm

__all__ = ["SharedGlm"]

Array = NDArray[np.floating[Any]]
N_SWEEPS = 3  # over the inputs, at each step
LEAST = 4  # strength of edges, in standard errors of a weight
NONE = 1e-9  # curvature of a state that has lost its samples


@method(system=31)
@dataclass(frozen=True)
class SharedGlm(Glm):
    """Regression of each unit on inputs, whose states share a graph and differ in strength.

    Parameters
    ----------
    family, penalty, weights, bias, variance
        As of `Glm`; the penalty is that of the first steps, which know no graph.
    prior : {"one-hot", "gaussian"}
        One-hot: every input of a unit inhibits, does nothing, or excites, the same in all states,
        each with a strength of its own. Gaussian: weights of states scatter about a shared mean.
    n_plain : int
        Steps before the prior comes in, so that states can part.
    graph : array, shape (n_units, n_inputs, 3)
        Probability that an input inhibits, does nothing, excites. Fitted, of "one-hot".
    share : array, shape (3,)
        How many do. Fitted.
    centre : array, shape (n_units, n_inputs)
        The shared mean of weights. Fitted, of "gaussian".
    scale : float
        Deviation of weights from nought, or from the mean. Fitted.
    step : int
        Steps that were made.

    Notes
    -----
    The classes of edges are summed over and strengths integrated one at a time, given the others,
    under a half-normal prior; the paper relaxes classes by a Gumbel softmax and goes by gradient.
    Shares of classes and the scale are learned in both.

    Source: Li et al. 2024, "One-hot generalized linear model for switching brain state discovery".

    Examples
    --------
    >>> from nissl.statistics import Past, hidden_states
    >>> counts = np.random.default_rng(0).poisson(1.0, (200, 3))
    >>> how = {"inputs": Past(3, decay=0.5), "progress": False}
    >>> found = hidden_states(counts, 1, emission=SharedGlm(), **how)
    >>> bool((found.emission.graph[:, :, 1] > 0.5).all())
    True
    """

    prior: str = "one-hot"
    n_plain: int = 30
    graph: Array = field(default_factory=lambda: NOTHING)
    share: Array = field(default_factory=lambda: np.array([0.1, 0.8, 0.1]))
    centre: Array = field(default_factory=lambda: NOTHING)
    scale: float = 1.0
    step: int = 0

    @property
    def connectome(self) -> Array:
        """How surely each input excites (1) or inhibits (-1) each unit, (n_units, n_inputs)."""
        return np.asarray(self.graph[..., 2] - self.graph[..., 0])

    @property
    def settled(self) -> bool:
        """Whether the prior has come in."""
        return self.step > self.n_plain + 1

    def fitted(self, x: Array, inputs: Array, weights: Array) -> Self:
        """Return weights, and the graph that they share."""
        require_known("prior", self.prior, ("one-hot", "gaussian"))
        step = replace(self, step=self.step + 1)
        if self.step <= self.n_plain:
            made = super(SharedGlm, step).fitted(x, inputs, weights)
            return replace(made, scale=float(made.weights.std()))
        b, h = self.quadratic(x, inputs, weights)
        if self.family == "gaussian":
            b, h = b / self.variance[..., None], h / self.variance[..., None, None]
        update = step._one_hot(b, h) if self.prior == "one-hot" else step._gaussian(b, h)
        return update.with_variance(x, inputs, weights)

    def _one_hot(self, b: Array, h: Array) -> Self:
        from scipy.special import log_ndtr, softmax

        # The bias is integrated out, from which an input whose mean is not nought is hard to tell.
        cross, own = h[..., :-1, -1], np.maximum(h[..., -1:, -1], NONE)
        b, rest, last = b[..., :-1] - cross * b[..., -1:] / own, h[..., :-1, :-1], b[..., -1:]
        rest = rest - cross[..., None] * cross[..., None, :] / own[..., None]
        mean, n_inputs = self.weights.copy(), self.weights.shape[2]
        graph, square = np.zeros((*mean.shape[1:], 3)), np.zeros_like(mean)
        log_share = np.log(self.share)
        for _ in range(N_SWEEPS):
            for p in range(n_inputs):
                curve = rest[:, :, p, p]
                left = b[:, :, p] - np.einsum("kuq,kuq->ku", rest[:, :, p], mean)
                left += curve * mean[:, :, p]
                spread = 1 / (curve + 1 / self.scale**2)
                sd = np.sqrt(spread)
                z = left * sd  # of the weight, were it free of its sign, in deviations
                odds = np.zeros((3, z.shape[1]))
                means, squares = np.zeros((2, 3, *z.shape))
                for c, sign in ((0, -1), (2, 1)):
                    below = log_ndtr(sign * z)
                    odds[c] = (np.log(2 * sd / self.scale) + z**2 / 2 + below).sum(axis=0)
                    ratio = np.exp(-(z**2) / 2 - below) / np.sqrt(2 * np.pi)
                    means[c] = sd * (z + sign * ratio)
                    squares[c] = spread * (1 + z**2 + sign * z * ratio)
                graph[:, p] = softmax(odds + log_share[:, None], axis=0).T
                mean[:, :, p] = np.einsum("uc,cku->ku", graph[:, p], means)
                square[:, :, p] = np.einsum("uc,cku->ku", graph[:, p], squares)
        scale = np.sqrt(square.sum() / len(b) / np.maximum(graph[..., ::2].sum(), 1e-9))
        # Edges no stronger than errors cannot be told from none, and would all be called edges.
        curves = np.median(np.einsum("kupp->kup", rest), axis=0)
        error = np.sqrt(1 / np.maximum(curves, NONE)).mean()
        scale = max(scale, LEAST * error)
        share = (graph.sum(axis=(0, 1)) + 1) / (graph.shape[0] * n_inputs + 3)
        bias = (last - (cross * mean).sum(axis=2, keepdims=True)) / own
        both = np.concatenate([mean, bias], axis=2)
        return replace(self.put(both), graph=graph, share=share, scale=float(scale))

    def _gaussian(self, b: Array, h: Array) -> Self:
        strength = np.append(np.full(self.weights.shape[2], self.scale**-2), 1e-9)
        centre = self.weights.mean(axis=0)
        pull = np.concatenate([centre, np.zeros((len(centre), 1))], axis=1) * strength
        inverse = np.linalg.inv(h + np.diag(strength))
        both = np.einsum("kupq,kuq->kup", inverse, b + pull)
        unsure = np.einsum("kupp->kup", inverse)[..., :-1]
        scale = np.sqrt(((both[..., :-1] - centre) ** 2 + unsure).mean())
        return replace(self.put(both), centre=centre, scale=float(scale))
