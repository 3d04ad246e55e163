"""Generalisation over time: what is read at one time of a trial, read at every other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import NisslError
from nissl.progress import tracked
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.decoders import KINDS, Items, decoded

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
        limit, ends = float(above.abs().max().max()), np.asarray(above.columns, float)[[0, -1]]
        how: Any = {"extent": (*ends, *ends), "vmin": -limit, "vmax": limit, "cmap": "RdBu_r"}
        shown = axes.imshow(above, origin="lower", aspect="auto", **how)
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

    given = Items.of(rec, labels, folds=folds, items=trial, kind=kind)
    y, length = given.y, given.x.shape[2]
    if not 0 < n_times <= length:
        raise NisslError(f"{n_times} times of {length} samples", do=f"give n_times= up to {length}")
    parts = np.array_split(np.arange(length), n_times)
    x = np.stack([given.x[:, :, part].mean(2) for part in parts])  # (n_times, n_trials, n_units)
    given = replace(given, x=x.transpose(1, 2, 0))
    clock = np.asarray(rec["time"].values[:length]) if "time" in rec.coords else np.arange(length)
    times = [float(clock[part].mean()) for part in parts]
    orders, null = given.orders(test, 100)
    predicted = given.empty(n_times, n_times, len(orders))
    fits = [(fold, t) for fold in given.parts for t in range(n_times)]
    for (train, rest), t in tracked(fits, "Decoding over time", unit="fits", progress=progress):
        # Rows of one array, since the decoder takes indices: what is fitted, what is read.
        rows, told = (
            np.concatenate([x[t, train], *x[:, rest]]),
            np.r_[train, np.tile(rest, n_times)],
        )
        fit, read = np.split(np.arange(len(rows)), [len(train)])
        how = (fit, read, given.kind, given.inner(train))
        made = decoded("ridge", rows, y[orders][:, told], *how)
        predicted[t][:, :, rest] = made.reshape(len(orders), n_times, -1).swapaxes(0, 1)
    pairs = [(t, u) for t in range(n_times) for u in range(n_times)]
    scores = [
        [given.score(predicted[t, u, d], order) for t, u in pairs] for d, order in enumerate(orders)
    ]
    units = pd.DataFrame([(times[t], times[u]) for t, u in pairs], columns=["fitted", "read"])
    units.insert(0, "unit", [f"{a:g} -> {b:g}" for a, b in units.to_numpy()])
    about: Any = {"score": KINDS[given.kind], "method": "generalise", "null": null, "test": test}
    found = against_null(scores[0], scores[1:], units=units, alternative="greater", **about)
    return Generalisation(found)
