"""Generalisation over time: what is read at one time of a trial, read at every other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nissl.brain.decoders import (
    KINDS,
    folds_of,
    inner_folds,
    items_of,
    kind_of,
    ridge_decoded,
    score_of,
)
from nissl.errors import NisslError, require_known
from nissl.progress import progress_bar
from nissl.statistics import Finding, Test, against_null, decoding_null

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from nissl.recording import Recording

__all__ = ["Generalisation", "generalise"]


@dataclass(frozen=True)
class Generalisation:
    """How well a decoder of one time of the trial reads every time.

    Parameters
    ----------
    finding : Finding
        A row for each two times: ``fitted``, ``read``, the score, its null mean, p, q.
    """

    finding: Finding

    @property
    def matrix(self) -> pd.DataFrame:
        """The scores, a row for each time at which the decoder was fitted."""
        return self.finding.table.pivot(index="fitted", columns="read", values=self.finding.score)

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw the matrix, what it exceeds by chance in colour, times of the fit upwards.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(4.5, 4))[1] if axes is None else axes
        above = self.finding.table.pivot(index="fitted", columns="read", values="effect")
        limit, (low, high) = (
            float(above.abs().max().max()),
            np.asarray(above.columns, float)[[0, -1]],
        )
        shown = axes.imshow(
            above, origin="lower", extent=(low, high, low, high), aspect="auto", cmap="RdBu_r",
            vmin=-limit, vmax=limit,
        )  # fmt: skip
        axes.figure.colorbar(shown, ax=axes, label=f"{self.finding.score} above chance")
        axes.set(xlabel="time read", ylabel="time of the fit")
        return axes


def generalise(
    rec: Recording,
    labels: str | ArrayLike,
    *,
    trial: str = "trial",
    folds: int | str | ArrayLike = 5,
    kind: str | None = None,
    n_times: int = 20,
    test: Test = Test(),
    progress: bool = True,
) -> Generalisation:
    """Fit a decoder at each time of a trial and read every time of other trials by it.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Trials of equal length, with ``time`` in the trial.
    labels : str or array, shape (n_samples,)
        A sample coordinate, or the labels; one a trial.
    trial : str
        The sample coordinate that tells trials apart.
    folds, kind
        As in `decode`, which see: whole trials are left out.
    n_times : int
        Times, each the mean of neighbouring samples.
    test : Test
        Draws (100) of trials' labels moved inside runs, tail, correction over all pairs, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Generalisation
        Matrix, finding, picture.

    Raises
    ------
    NisslError
        As in `decode`, or there are fewer samples in a trial than times.

    Notes
    -----
    The null is that labels have nothing to do with activity. Where both times tell them apart, by
    other patterns, a fit reads one from the other a little above or below chance, by the accident
    of its weights, and p says so: that a code is shared is told by several subjects, not by one.
    Source: King and Dehaene 2014, Characterizing the dynamics of mental representations.

    Examples
    --------
    >>> generalise(rec, "polarity").plot()  # doctest: +SKIP
    """
    import pandas as pd

    x, y, run = items_of(rec, labels, folds, trial)
    kind = kind or kind_of(y)
    require_known("kind", kind, list(KINDS))
    length = x.shape[2]
    if not 0 < n_times <= length:
        raise NisslError(f"{n_times} times of {length} samples", do=f"give n_times= up to {length}")
    parts = np.array_split(np.arange(length), n_times)
    x = np.stack([x[:, :, part].mean(2) for part in parts], axis=2)
    clock = np.asarray(rec["time"].values[:length]) if "time" in rec.coords else np.arange(length)
    times = [float(clock[part].mean()) for part in parts]
    divided, fold = folds_of(run, folds, y, kind)
    flat = x.reshape(len(x), -1)
    moved, null = decoding_null(y, fold, test.draws(100), values=flat, seed=test.seed)
    orders = np.concatenate([np.arange(len(y))[None], moved])
    predicted = np.empty((n_times, n_times, *orders.shape), y.dtype if kind == "classes" else float)
    total = len(divided) * n_times
    with progress_bar("Decoding over time", total=total, unit="fits", progress=progress) as advance:
        for train, rest in divided:
            inner = inner_folds(run, y, train, kind)
            for t in range(n_times):
                # Rows of one array, since the decoder takes indices: what is fitted, what is read.
                rows = np.concatenate([x[train, :, t], *np.moveaxis(x[rest], 2, 0)])
                told = np.concatenate([train, *[rest] * n_times])
                fit, read = np.split(np.arange(len(rows)), [len(train)])
                made = ridge_decoded("ridge", rows, y[orders][:, told], fit, read, kind, inner)
                predicted[t][:, :, rest] = made.reshape(len(orders), n_times, -1).swapaxes(0, 1)
                advance(1)
    pairs = [(t, u) for t in range(n_times) for u in range(n_times)]
    scores = [
        [score_of(y[order], predicted[t, u, d], kind, fold) for t, u in pairs]
        for d, order in enumerate(orders)
    ]
    units = pd.DataFrame(
        {"fitted": [times[t] for t, _ in pairs], "read": [times[u] for _, u in pairs]}
    )
    units.insert(0, "unit", [f"{a:g} -> {b:g}" for a, b in units.to_numpy()])
    how: dict[str, Any] = {"score": KINDS[kind], "method": "generalise", "null": null}
    return Generalisation(
        against_null(scores[0], scores[1:], units=units, alternative="greater", test=test, **how)
    )
