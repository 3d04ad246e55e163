"""Encode: how well responses are predicted from features of the stimulus, beside a ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.brain.readouts.linear import Linear
from nissl.brain.readouts.readout import Readout, readout_of
from nissl.errors import NisslError
from nissl.progress import tracked
from nissl.recording import Recording
from nissl.recording.align import rows_of
from nissl.statistics import Finding, Test, ceiling, delayed
from nissl.statistics import folds as divide
from nissl.statistics.decoders import finite
from nissl.statistics.design import column_of
from nissl.statistics.predictions import against_moved, prediction_correlation
from nissl.statistics.series import units_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Encoding", "encode"]

Array = NDArray[np.floating[Any]]
Features = Recording | ArrayLike | Mapping[str, Any]


@dataclass(frozen=True)
class Encoding:
    """How well each unit's responses were predicted in samples that were left out.

    Parameters
    ----------
    finding : Finding
        A row for each unit: ``correlation`` of responses and predictions within folds, effect,
        null mean, p, q; ``ceiling``, the share of its variance that any model could explain, and
        ``of_ceiling``, the squared correlation in shares of that: NaN without repeats.
    predictions : array, shape (n_samples, n_units)
        Of each sample by the model that did not see it.
    """

    finding: Finding
    predictions: Array

    def __repr__(self) -> str:
        found = f", {(self.table['q'] <= 0.05).sum()} with q <= 0.05" if "q" in self.table else ""
        r = self.table["correlation"].median()
        return f"Encoding of {len(self.table)} units: median r {r:.3f}{found}"

    @property
    def table(self) -> pd.DataFrame:
        """The rows of the finding."""
        return self.finding.table

    def plot(self, *, kind: str = "", axes: Axes | None = None) -> Axes:
        """Draw correlations, the largest first, beside chance and ceiling; or a map of the brain.

        Parameters
        ----------
        kind : {"ranked", "map"}, optional
            By default a map where units have x, y and z in mm, on a glass brain by nilearn.
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        from nissl.statistics.figure import glass_brain, ranked

        r, places = self.table["correlation"], self.table.filter(["x", "y", "z"]).to_numpy(float)
        placed = places.shape[1] == 3 and bool(np.isfinite(places).all())
        if kind == "map" or (not kind and placed):
            if not placed:
                raise NisslError("units have no x, y and z", do="draw kind='ranked'")
            axes = glass_brain(r, places, axes=axes)
        else:
            axes = ranked(r, null_sd=self.table.get("null_sd"), axes=axes)
            limit = np.sqrt(self.table["ceiling"].clip(lower=0))[np.argsort(-r.to_numpy())]
            if limit.notna().any():
                how: Any = {"color": "C3", "markersize": 2, "label": "ceiling"}
                axes.plot(np.arange(len(limit)), limit, ".", **how)
                axes.legend(frameon=False, fontsize=7)
            axes.set(ylabel="correlation")
        axes.set_title(repr(self), fontsize=8)
        return axes


def encode(
    features: Features,
    rec: Recording | ArrayLike,
    *,
    on: str = "stimulus",
    folds: int | str | ArrayLike = 5,
    readout: Readout | str = "linear",
    delays: tuple[int, ...] = (),
    test: Test | None = Test(),
    progress: bool = True,
) -> Encoding:
    """Predict responses from features of what was shown, each sample by a model of other runs.

    Parameters
    ----------
    features : Recording or array, shape (n_stimuli, n_features), or mapping of str to either
        One row a stimulus, or a sample of `rec`; several are bands with weights of their own. Or
        maps, (n_stimuli, n_places, n_channels), which a linear readout takes flat.
    rec : Recording or array, shape (n_samples, n_units)
        Responses, in order of time.
    on : str
        The sample coordinate of stimuli; samples of one that recurs are left out together.
    folds : int, str or array, shape (n_samples,)
        A number of folds; or a run, session or subject of each sample, left out one at a time.
    readout : Readout or str
        "linear" (ridge); of maps "factorised", "attention", "modulated"; or one of your own.
    delays : tuple of int
        Lags of features, in samples, each with weights of its own: of a slow response (1, 2, 3, 4).
    test : Test or None
        Draws (1,000) of predictions moved inside folds as `decoding_null` says, tail, correction
        over units, seed. None: no null.
    progress : bool
        Show a bar.

    Returns
    -------
    Encoding
        Correlations, null, ceiling where stimuli recur equally often, predictions, map.

    Raises
    ------
    NisslError
        Features and responses do not agree, are not finite, or a stimulus has no features.
    TooFewSamples
        There are fewer runs or stimuli than folds.

    Notes
    -----
    The question is whether predictions follow responses; where folds are runs that show the same
    stimuli, it is not whether new ones are predicted.
    Source: Naselaris et al. 2011, Encoding and decoding in fMRI; bands: Dupre la Tour et al. 2022.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((120, 8))
    >>> responses = features @ rng.standard_normal((8, 3)) + rng.standard_normal((120, 3))
    >>> found = encode(features, responses, progress=False)
    >>> bool((found.table["correlation"] > 0.8).all())
    True
    """
    by = readout_of(readout)
    x, bands = _features(features, by)
    y, stimulus = finite(rec, "responses"), None
    if y.ndim != 2:
        raise NisslError(f"responses have shape {y.shape}", do="give (n_samples, n_units)")
    named = rec if isinstance(rec, Recording) else None
    if named is not None and on in named.coords:
        stimulus = np.asarray(named[on].values)
        x = _looked_up(x, features, stimulus, on)
    if len(x) != len(y):
        raise NisslError(
            f"{len(x)} rows of features, {len(y)} samples of responses",
            do=f"give one row a sample, or both the coordinate '{on}'",
        )
    n_folds = int(folds) if isinstance(folds, (int, np.integer)) else None
    run = column_of("folds", folds, len(y), named) if n_folds is None else None
    group = stimulus if run is None else run
    parts = divide(group, n_samples=len(y), n=n_folds)
    if delays:
        centred = (x - x.mean(0)).reshape(len(x), -1)
        lagged = delayed(centred, delays, groups=run).reshape(len(x), len(delays), *x.shape[1:])
        x = np.moveaxis(lagged, 1, -2).reshape(*x.shape[:-1], -1)
        bands = None if bands is None else bands * len(delays)
    if bands is not None and isinstance(by, Linear) and by.bands is None:
        by = Linear(tuple(bands))
    predicted, fold = np.empty_like(y), np.empty(len(y), dtype=np.int64)
    seed = 0 if test is None else test.seed
    over = (0, 1) if by.places else 0  # places of a map are compared: they share a scale
    for number, (train, rest) in enumerate(
        tracked(parts, "Encoding", unit="folds", progress=progress)
    ):
        mean, spread = x[train].mean(over), x[train].std(over)
        scaled = (x - mean) / np.where(spread > 0, spread, 1)
        n = 0 if group is None else min(len(np.unique(group[train])), 5)
        inner: Any = divide(group[train], n=n) if group is not None and n > 1 else 5
        fitted = by.fit(scaled[train], y[train], groups=inner, seed=seed)
        predicted[rest], fold[rest] = fitted.predict(scaled[rest]), number
    r = prediction_correlation(y, predicted, fold)
    units = _about_units(rec, r, on)
    if test is None:
        finding = Finding(units.assign(correlation=r), "encode", "none", score="correlation")
    else:
        how: Any = {"units": units, "method": "encode", "test": test, "progress": progress}
        finding = against_moved(y, predicted, fold, x, **how)
    return Encoding(finding, predicted)


def _features(given: Features, by: Readout) -> tuple[Array, list[str] | None]:
    """Return features as one array, and the band of each where there are several."""
    several = given if isinstance(given, Mapping) else {"": given}
    arrays = {str(name): finite(x, "features") for name, x in several.items()}
    shapes, wanted = [x.shape for x in arrays.values()], "(n_stimuli, n_features)"
    if by.places:
        wanted = "maps, (n_stimuli, n_places, n_channels)"
    rows = {shape[:2] if by.places else shape[:1] for shape in shapes}
    if len(rows) != 1 or {len(shape) for shape in shapes} - ({3} if by.places else {2, 3}):
        raise NisslError(f"features have shapes {shapes}", do=f"give {wanted}")
    if not by.places:
        arrays = {name: x.reshape(len(x), -1) for name, x in arrays.items()}
    bands = [name for name, one in arrays.items() for _ in range(one.shape[-1])]
    return np.concatenate([*arrays.values()], axis=-1), bands if len(arrays) > 1 else None


def _looked_up(x: Array, features: Features, stimulus: NDArray[Any], on: str) -> Array:
    """Return the features of the stimulus of each sample."""
    first = next(iter(features.values())) if isinstance(features, Mapping) else features
    if not isinstance(first, Recording) or on not in first.coords:
        if len(x) == len(stimulus):
            return x
        raise NisslError(f"features do not say which '{on}' each row is", do="give a Recording")
    return np.asarray(x[rows_of(first, on, stimulus)])


def _about_units(rec: Any, r: Array, on: str) -> pd.DataFrame:
    """Return what is known of units, their ceilings and the shares that were reached."""
    try:
        top = ceiling(rec, on=on, test=None, n_resamples=2, progress=False).table["ceiling"]
        known = top.to_numpy(float)
    except (NisslError, KeyError):  # without repeats there is none
        known = np.full_like(r, np.nan)
    share = np.divide(r**2, known, out=np.full_like(r, np.nan), where=known > 0)
    return units_of(rec, len(r)).assign(ceiling=known, of_ceiling=share)
