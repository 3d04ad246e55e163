"""Ceiling: the share of a unit's variance that any model of the stimulus could explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.progress import progress_bar
from nissl.statistics.bootstrap import bootstrap_interval
from nissl.statistics.exchangeability import NotExchangeable, autocorrelation
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import PermutedLabels, codes
from nissl.statistics.pvalues import against_null
from nissl.statistics.shift import CircularShift
from nissl.statistics.test import Test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["ceiling"]

Array = NDArray[np.floating[Any]]
Index = NDArray[np.int64]
UNITS = 256  # at a time


def ceiling(
    repeats: Recording | ArrayLike,
    *,
    on: str = "stimulus",
    repeat: str | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Return how much of each unit's response to stimuli any model could explain, from repeats.

    Parameters
    ----------
    repeats : array of shape (n_repeats, n_stimuli, n_units), or Recording
        Responses; in a Recording every stimulus has equally many samples.
    on : str
        Sample coordinate of a Recording that names the stimulus.
    repeat : str, optional
        That which names the repeat; by default samples of a stimulus are its repeats in order.
    level : float
        Nominal coverage of the interval, by bootstrap (BCa) over stimuli.
    n_resamples : int
        Resamples of the bootstrap.
    test : Test or None
        Draws (1,000), tail, correction, seed, and the null: stimuli permuted within each repeat
        (`PermutedLabels`), or shifted where they are bins of time (`CircularShift`).
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: ``ceiling``, the largest R2 between a model's predictions and the
        mean over repeats, below 0 where these agree less than by chance; its interval ``low`` to
        ``high``; ``single``, the largest R2 for one response; effect, null mean, p, q.

    Raises
    ------
    TooFewSamples
        There is one repeat, fewer than eight stimuli, or too few shifts to reach a p.
    NotExchangeable
        What repeats do not share hangs together from stimulus to stimulus, as in bins of time.
    NisslError
        Stimuli have unequal numbers of repeats, or values are not finite.

    Notes
    -----
    With R repeats of n stimuli, V the variance over stimuli of the mean over repeats and T the mean
    variance of a repeat, the signal power is S = (R V - T) / (R - 1) (Sahani and Linden 2003,
    NeurIPS), the noise power N = T - S. S / V is biased where stimuli are few; returned is
    ``ceiling = 1 - (n - 3) / (n - 1) * (N / R) / V``, whose mean is exactly S / (S + N / R) where
    signal and noise are normal: 0 for noise alone. By Spearman and Brown,
    ``single = ceiling / (R - (R - 1) * ceiling)``. The largest correlation of a model with the mean
    is the root of ``ceiling`` (CCmax of Schoppe et al. 2016, Front. Comput. Neurosci. 10, 10).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.standard_normal((50, 2)) * [1.0, 0.0]
    >>> found = ceiling(signal + rng.standard_normal((4, 50, 2)), progress=False)
    >>> found.significant().units, found.table["ceiling"].round(2).tolist()
    (['unit[0]'], [0.79, -0.24])
    """
    about, x = _read(repeats, on, repeat)
    n_repeats, n, n_units = x.shape
    still = (np.ptp(x, axis=1) == 0).all(axis=0)
    centred = np.where(still, 0.0, x - x.mean(axis=1, keepdims=True))
    # Labels of a null: the stimulus of each response, one repeat after the other.
    stimulus, within = np.tile(np.arange(n), n_repeats), np.repeat(np.arange(n_repeats), n)
    seed, n_draws, rows = 0, 0, []
    if test is not None:
        null: Any = test.null_or(PermutedLabels(), (PermutedLabels, CircularShift))
        least = _require(null, centred, stimulus, within, test)
        seed, n_draws = test.seed, test.draws(1000)
    with progress_bar("Ceiling", total=n_units, unit="units", progress=progress) as advance:
        for part in (centred[:, :, a : a + UNITS] for a in range(0, n_units, UNITS)):
            mean, square = part.mean(axis=0), (part**2).sum(axis=0)
            sums = np.concatenate([*part, square, mean**2], axis=1)

            def of(chosen: NDArray[np.int64], sums: Array = sums) -> Array:
                """Return the ceiling over some stimuli, from sums: a resample is one product."""
                k = len(chosen)
                total = np.bincount(chosen, minlength=n) @ sums
                *first, square, of_mean = total.reshape(n_repeats + 2, -1)
                means = np.asarray(first) / k
                power = (square - k * (means**2).sum(axis=0)) / (k - 1) / n_repeats
                v = (of_mean - k * means.mean(axis=0) ** 2) / (k - 1)
                return _share(power, v, n_repeats, k)

            found = bootstrap_interval(
                np.arange(n), statistic=of, level=level, n_resamples=n_resamples, seed=seed
            )
            made = [found.estimate, found.low, found.high]
            power, flat = square.sum(axis=0) / (n - 1) / n_repeats, part.reshape(n_repeats * n, -1)
            for d in range(n_draws):
                how: Any = {"exchange": None, "within": within, "seed": seed, "start": d}
                order = null.draw(stimulus, 1, **how)[0]
                shuffled = flat[order].reshape(part.shape).mean(axis=0)
                made.append(_share(power, (shuffled**2).sum(axis=0) / (n - 1), n_repeats, n))
            rows.append(np.stack(made))
            advance(part.shape[2])
    score, low, high, *draws = np.concatenate(rows, axis=1)
    single = score / (n_repeats - (n_repeats - 1) * score)
    columns = {"low": low, "high": high, "single": single, "n_repeats": n_repeats}
    said = {"seed": seed, "n_stimuli": n, "n_repeats": n_repeats, "level": level}
    if test is None:
        table = about.assign(ceiling=score, **columns, note=np.where(still, "does not vary", ""))
        return Finding(table, "ceiling", "none", said, "ceiling")
    return against_null(
        score,
        np.asarray(draws),
        units=about,
        score="ceiling",
        method="ceiling",
        null=null.name,
        alternative="greater",
        least_p=least,
        test=test,
    ).assign(said, **columns)


def _share(power: Array, of_mean: Array, n_repeats: int, n: int) -> Array:
    """Return the ceiling from the mean variance of a repeat and that of the mean over repeats."""
    noise = np.maximum((power - of_mean) / (n_repeats - 1), 0)  # N / R
    least = np.maximum(of_mean, 1e-12 * power)
    share = 1 - (n - 3) / (n - 1) * noise / np.where(least > 0, least, 1)
    return np.asarray(np.where(power > 0, share, 0.0))


def _require(null: Any, centred: Array, stimulus: Index, within: Index, test: Test) -> float:
    """Refuse a null that does not hold its level; return the least p that it can reach."""
    n_repeats, n, _ = centred.shape
    rest = (centred - centred.mean(axis=0))[:, :, :UNITS].reshape(n_repeats * n, -1)
    rho = max(autocorrelation(rest, exchange=within), 0.0)
    if not isinstance(null, CircularShift):
        if rho > max(0.2, 3 / np.sqrt(n_repeats * n)):
            raise NotExchangeable(
                f"the noise of neighbouring stimuli is correlated: {rho:.2f} at lag 1",
                where=null.name,
                do="give test=Test(null=CircularShift()) where stimuli are bins of time; where "
                "they are not, put them into an order of their own",
            )
    # Two series that forget by rho agree by chance as if they were this much shorter.
    elif 2 * rho**2 / max(1 - rho**2, 1e-9) > 0.15 * n:
        raise NotExchangeable(
            f"{n} bins are few for noise with a lag-1 autocorrelation of {rho:.2f}",
            where=null.name,
            do="record longer, or take slow trends out of each repeat",
        )
    count = null.log_arrangements(stimulus, exchange=None, within=within)
    least = float(np.exp(-count * (n_repeats - 1) / n_repeats))  # one repeat may stay as it is
    if least > test.smallest_p:
        raise TooFewSamples(
            f"{n} stimuli have too few shifts: p is at least {least:.2g}", do="use more stimuli"
        )
    return least


def _read(repeats: Any, on: str, repeat: str | None) -> tuple[Any, Array]:
    """Return what is known of the units, and responses of shape (n_repeats, n_stimuli, n_units)."""
    import pandas as pd

    if hasattr(repeats, "coords"):
        from nissl.recording.labels import coordinate
        from nissl.recording.recording import units_table

        about = units_table(repeats)
        which = None if repeat is None else codes(coordinate(repeats, repeat))
        x = _gathered(np.asarray(repeats.values), coordinate(repeats, on), which)
    else:
        x = np.asarray(repeats)
        if x.ndim != 3 or x.dtype.kind not in "biuf" or not x.shape[-1]:
            raise NisslError(
                f"repeats hold {x.dtype} in shape {x.shape}",
                do="give numbers of shape (n_repeats, n_stimuli, n_units), or a Recording",
            )
        about = pd.DataFrame({"unit": [f"unit[{i}]" for i in range(x.shape[2])]})
    if x.shape[0] < 2 or x.shape[1] < 8:
        raise TooFewSamples(
            f"there are {x.shape[0]} repeats of {x.shape[1]} stimuli",
            do="a ceiling needs two repeats or more, of eight stimuli or more",
        )
    if not np.isfinite(x).all():
        raise NisslError("responses hold NaN or infinity", do="leave those units or stimuli out")
    return about, x.astype(float, order="C")


def _gathered(values: Array, stimulus: NDArray[Any], which: Index | None) -> Array:
    """Return samples as repeats of stimuli, these in the order in which they first appear."""
    import pandas as pd

    order, names = pd.factorize(stimulus, use_na_sentinel=False)
    if which is None:
        which = np.asarray(pd.Series(order).groupby(order).cumcount())
    cells = np.zeros((len(names), which.max(initial=-1) + 1), np.int64)
    np.add.at(cells, (order, which), 1)
    if (cells != 1).any():
        count = cells.sum(axis=1)
        raise NisslError(
            f"not every stimulus has one sample in each of {cells.shape[1]} repeats: "
            f"'{names[count.argmin()]}' has {count.min()}, another {count.max()}",
            do="aggregate samples of a presentation first, and select equally many repeats of each",
        )
    return np.asarray(values[np.lexsort((order, which))].reshape(*cells.T.shape, -1))
