"""Pseudo-online decoding: a continuous recording read window by window, idle a class of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import NisslError
from nissl.methods import method
from nissl.progress import tracked
from nissl.statistics import CircularShift, Finding, Test, against_null, decoding_null
from nissl.statistics import folds as divide
from nissl.statistics.decoders import decoded, information_rate, score_of
from nissl.statistics.design import column_of
from nissl.statistics.nulls import codes
from nissl.statistics.series import read_series, run_starts, window_starts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["PseudoOnline", "pseudo_online"]


@dataclass(frozen=True)
class PseudoOnline:
    """What was read from the windows of a recording.

    Parameters
    ----------
    finding : Finding
        One row: ``nmcc``, its null mean, p; ``accuracy``, a mean over classes; ``bits_per_minute``.
    windows : DataFrame
        Of each window ``fold``, ``start``, ``end`` (when it can be read), ``label``, ``predicted``.
    """

    finding: Finding
    windows: pd.DataFrame

    def plot(self) -> Figure:
        """Draw the true class of each window, and the one that was read, over time."""
        from nissl.statistics.figure import panels

        figure, rows = panels(1, 2, size=2.4)
        names, place = np.unique(self.windows[["label", "predicted"]], return_inverse=True)
        for axes, line, said in zip(rows, place.reshape(-1, 2).T, ("label", "read"), strict=True):
            axes.plot(self.windows["end"], line)
            axes.set_yticks(range(len(names)), names.astype(str))
            axes.set(xlabel="end of the window", ylabel=said)
        return figure


@method(system=114)
def pseudo_online(
    rec: Recording | ArrayLike,
    labels: str | ArrayLike,
    window: tuple[float, float],
    *,
    idle: Any = 0,
    folds: int | str | ArrayLike = 5,
    model: Any = None,
    test: Test = Test(),
    progress: bool = True,
) -> PseudoOnline:
    """Read the class of overlapping windows, idle among them, by models fitted to other runs.

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        Continuous activity in the order of time.
    labels : str or array, shape (n_samples,)
        The class of each sample; a window has that which fills most of it, of equals idle.
    window : tuple of two floats
        Length and step, in seconds, or samples where there is no time.
    idle : value
        The label of no task.
    folds : int, str or array, shape (n_samples,)
        Blocks of windows, or the run of each sample. One is left out at a time, and with it what
        is less than a window away.
    model : estimator, optional
        Of scikit-learn or pyriemann, given windows (n_windows, n_units, n_times). By default linear
        discriminant analysis of the logarithm of variances.
    test : Test
        `CircularShift` of windows' labels inside folds; 99 draws, of a given model 19.
    progress : bool
        Show a bar.

    Returns
    -------
    PseudoOnline
        Normalised Matthews correlation, (MCC + 1) / 2, and bits a minute by Wolpaw's formula: too
        many, since it takes windows as independent and classes as equally frequent.

    Notes
    -----
    Stretches of one label are not permuted: idle ones are longer. In white noise p <= 0.05 and 0.2
    in 0.08 and 0.27, and of shifts 0.04 and 0.16. Source: Carrara and Papadopoulo 2024.

    Examples
    --------
    >>> pseudo_online(rec, "seizure", (2.0, 0.5)).plot()  # doctest: +SKIP
    """
    import pandas as pd
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import matthews_corrcoef

    x, _, stretch, rate = read_series(rec, least_units=1)
    named: Any = rec if hasattr(rec, "coords") else None
    label = column_of("labels", labels, len(x), named)
    names = np.unique(label)
    names = names[np.argsort(names != idle, kind="stable")]  # of equals the first
    if names[0] != idle:
        raise NisslError(f"no sample is idle ({idle!r})", where="labels", do="give idle=")
    whole = isinstance(folds, (int, np.integer))
    run = np.zeros(len(x), int) if whole else codes(column_of("folds", folds, len(x), named))
    stretch = stretch * (run.max() + 1) + run
    shortest = int(np.diff(run_starts(stretch), append=len(x)).min())
    length, step = (round(w * (rate or 1)) for w in window)
    if not (1 < length <= shortest and step > 0):
        said = f"windows of {length} samples every {step}, runs of {shortest} or more"
        raise NisslError(said, where="window", do="give two samples or more that fit, and a step")
    start = window_starts(stretch, length, step)
    share = np.cumsum(np.r_[np.zeros((1, len(names))), label[:, None] == names], axis=0)
    y = names[(share[start + length] - share[start]).argmax(axis=1)]
    fold = np.arange(len(y)) * np.asarray(folds) // len(y) if whole else run[start]
    if few := [str(name) for name in names if len(np.unique(fold[y == name])) < 2]:
        said = f"{', '.join(few)}: the class of windows in fewer than two folds"
        raise NisslError(said, where="labels", do="shorten windows, or leave the class out")
    power = np.log([np.maximum(x[s : s + length].var(axis=0), 1e-300) for s in start])
    given, fitted = power, LinearDiscriminantAnalysis()
    if model is not None:
        view = np.lib.stride_tricks.sliding_window_view(x, length, axis=0)
        given, fitted = view[start], model
    test.null_or(CircularShift())
    n = test.draws(99 if model is None else 19)
    moved, null = decoding_null(y, fold, n, kind="shift", values=power, seed=test.seed)
    drawn = y[np.r_[np.arange(len(y))[None], moved]]
    made = np.empty_like(drawn)
    # From the end of a fitted window to the beginning of one that is read is a length or more.
    parts = divide(fold, gap=2 * length - 1, times=start)
    for train, rest in tracked(parts, "Reading", unit="folds", progress=progress):
        for row, read in zip(drawn, made, strict=True):
            read[rest] = row[train[0]]  # where a draw left one class only to be fitted
            if (row[train] != row[train[0]]).any():
                read[rest] = decoded(fitted, given, row[None], train, rest, "classes")[0]
    scores = [(matthews_corrcoef(*pair) + 1) / 2 for pair in zip(drawn, made, strict=True)]
    about: Any = {"score": "nmcc", "method": "pseudo_online", "null": null, "units": ["all"]}
    about |= {"alternative": "greater", "test": test}
    finding = against_null(scores[:1], np.c_[scores[1:]], **about)
    accuracy = score_of(y, made[0], "classes")
    bits = information_rate(accuracy, len(names)) * 60 * (rate or 1) / step
    clock = named["time"].values if rate else np.arange(len(x))
    told = {"start": clock[start], "end": clock[start] + length / (rate or 1)}
    windows = pd.DataFrame({"fold": fold, **told, "label": y, "predicted": made[0]})
    return PseudoOnline(finding.assign(accuracy=accuracy, bits_per_minute=bits), windows)
