"""How much a unit's activity says about the position in the window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.statistics.test import Test

__all__ = ["position_information", "position_test"]

Array = NDArray[Any]


@method(system=160)
def position_information(frequency: ArrayLike) -> NDArray[np.floating[Any]]:
    """Return the mutual information of being active and the position.

    Parameters
    ----------
    frequency : array, shape (n_positions, n_units)
        Share of samples at each position at which each unit is active; positions count alike.

    Returns
    -------
    array of float64, shape (n_units,)
        In nats; 0 for units that are always active or never.

    Notes
    -----
    Source: Voita, Ferrando and Nalmpantis 2023, section 5.1.

    Examples
    --------
    >>> position_information([[1.0, 0.5], [0.0, 0.5]]).round(3).tolist()
    [0.693, 0.0]
    """
    share = np.asarray(frequency, dtype=float)
    whole = share.mean(axis=0)

    def part(observed: Array, expected: Array) -> Array:
        ratio = np.divide(
            observed, expected, out=np.ones_like(observed), where=(observed > 0) & (expected > 0)
        )
        return np.asarray(observed * np.log(ratio))

    each = part(share, np.broadcast_to(whole, share.shape))
    each += part(1 - share, np.broadcast_to(1 - whole, share.shape))
    return np.asarray(np.maximum(each.mean(axis=0), 0.0))


def position_test(
    active: ArrayLike, samples: ArrayLike, *, test: Test = Test()
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Test whether how often units are active depends on the position.

    The statistic is the variance of a unit's frequencies between stretches of the window. It is
    compared with sets of windows that are each shifted circularly by a random number of stretches,
    and with the same sets, the signs of whose deviations from their means are flipped at random;
    the larger p counts. Shifting supposes that a window's end may join its beginning, which is
    wrong of units that drift slowly; flipping that deviations are symmetric, which is wrong of
    those that are rarely active.

    Parameters
    ----------
    active : array, shape (n_sets, n_stretches, n_units)
        At how many samples of each stretch each unit was active, by set of windows.
    samples : array, shape (n_sets, n_stretches, 1)
        How many samples there were; the same for all stretches of a set.
    test : Test
        Draws (999 of each kind), tail ("gpd", its own), seed. There is no correction.

    Returns
    -------
    information : array of float64, shape (n_units,)
        `position_information`.
    p : array of float64, shape (n_units,)
        One-sided.

    Raises
    ------
    NisslError
        Stretches of a set have different numbers of samples, or there are fewer than two.

    Notes
    -----
    The test is ours.

    Examples
    --------
    >>> counts = np.random.default_rng(0).binomial(20, 0.5, (16, 10, 2))
    >>> counts[:, :3, 1] += 5
    >>> p = position_test(counts, np.full((16, 10, 1), 25.0))[1]
    >>> bool(p[0] > 0.05), bool(p[1] < 0.01)
    (True, True)
    """
    from nissl.statistics.pvalues import compare

    test = test.own(tail="gpd")
    test.require(null=(None,), alternative=(None, "greater"))
    counts, total = np.asarray(active, dtype=float), np.asarray(samples, dtype=float)
    if counts.ndim != 3 or counts.shape[1] < 2 or (total != total[:, :1]).any():
        raise NisslError(
            "positions cannot be shifted circularly",
            where=f"counts of shape {counts.shape}",
            do="give (n_sets, n_stretches, n_units), and stretches of equal lengths",
        )
    # Turning a window round multiplies each of its Fourier components by a phase, and the variance
    # between stretches is the sum of their squares: no draw needs the counts themselves.
    waves = np.fft.rfft(counts, axis=1)[:, 1:].astype(np.complex64)
    n_sets, n_stretches, n_units = counts.shape
    rng, n_permutations = np.random.default_rng(test.seed), test.draws(999)
    turns = rng.integers(0, n_stretches, (n_permutations, n_sets))
    signs = rng.choice(np.array([-1, 1], np.complex64), (n_permutations, n_sets))
    observed = np.zeros(n_units)
    turned, flipped = (np.zeros((n_permutations, n_units)) for _ in range(2))
    for k in range(1, waves.shape[1] + 1):
        # All but the last of an even number stand for their mirror images, too.
        share, wave = 1.0 if 2 * k == n_stretches else 2.0, waves[:, k - 1]
        phases = np.exp(-2j * np.pi * k / n_stretches * turns).astype(np.complex64)
        observed += share * np.abs(wave.sum(axis=0)) ** 2
        turned += share * np.abs(phases @ wave) ** 2
        flipped += share * np.abs(signs @ wave) ** 2
    # Turning, or flipping, all sets alike changes nothing.
    p = [
        compare(
            observed,
            draws,
            alternative="greater",
            tail=test.tail,
            least_p=float(each) ** (1 - n_sets),
        ).p
        for draws, each in ((turned, n_stretches), (flipped, 2))
    ]
    frequency = counts.sum(axis=0) / np.maximum(total.sum(axis=0), 1)
    return position_information(frequency), np.maximum(*p)
