"""Forward-backward and Viterbi of one sequence, in logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["best_path", "forward_backward"]

Array = NDArray[np.float64]


@njit(nogil=True, cache=True)
def _log_sum(values: Any) -> Any:
    top = values.max()
    if top == -np.inf:
        return top
    total = 0.0
    for value in values:
        total += np.exp(value - top)
    return top + np.log(total)


@njit(nogil=True, cache=True)
def forward_backward(emission: Array, initial: Array, transition: Array) -> Any:
    """Return the log-likelihood, the posterior of states, and summed posteriors of transitions.

    All that is given is logarithms: emission (n_samples, n_states), initial (n_states,),
    transition (from, to).
    """
    n, k = emission.shape
    forward, backward = np.empty((n, k)), np.zeros((n, k))
    forward[0] = initial + emission[0]
    for t in range(1, n):
        for j in range(k):
            forward[t, j] = _log_sum(forward[t - 1] + transition[:, j]) + emission[t, j]
    for t in range(n - 2, -1, -1):
        for i in range(k):
            backward[t, i] = _log_sum(transition[i] + emission[t + 1] + backward[t + 1])
    total = _log_sum(forward[n - 1])
    moves = np.zeros((k, k))
    for t in range(n - 1):
        for i in range(k):
            for j in range(k):
                step = transition[i, j] + emission[t + 1, j] + backward[t + 1, j]
                moves[i, j] += np.exp(forward[t, i] + step - total)
    return total, np.exp(forward + backward - total), moves


@njit(nogil=True, cache=True)
def best_path(emission: Array, initial: Array, transition: Array) -> Any:
    """Return the likeliest sequence of states, all that is given being logarithms."""
    n, k = emission.shape
    score = initial + emission[0]
    origin = np.zeros((n, k), np.int64)
    for t in range(1, n):
        now = np.empty(k)
        for j in range(k):
            come = score + transition[:, j]
            origin[t, j] = np.argmax(come)
            now[j] = come[origin[t, j]] + emission[t, j]
        score = now
    path = np.empty(n, np.int64)
    path[-1] = np.argmax(score)
    for t in range(n - 1, 0, -1):
        path[t - 1] = origin[t, path[t]]
    return path
