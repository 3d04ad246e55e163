"""Identify: a known network in the place of the unknown one, and which measure names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.alignment.measures.measure import MEASURES, Array, Measure, measure_of
from nissl.errors import NisslError
from nissl.methods import method
from nissl.progress import tracked
from nissl.recording.repeats import aligned_responses
from nissl.recording.units_by_site import by_site
from nissl.statistics.coordinates import finite

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Identification", "Limits", "identify"]


@dataclass(frozen=True)
class Limits:
    """What a target is measured with: how many stimuli and units, and how much noise.

    Parameters
    ----------
    n_stimuli, n_units : tuple of int or None
        Drawn at random of all, each number with each other; None is all.
    noise : tuple of float
        Variance of the noise added to each unit of the target, in shares of its own.
    n_draws : int
        How often each target is drawn.
    """

    n_stimuli: tuple[int | None, ...] = (None,)
    n_units: tuple[int | None, ...] = (None,)
    noise: tuple[float, ...] = (0.0,)
    n_draws: int = 10


@dataclass(frozen=True)
class Identification:
    """Which network each measure named for each target.

    Parameters
    ----------
    table : DataFrame
        A row for each measure, setting, target and draw: ``measure``, ``n_stimuli``, ``n_units``,
        ``noise``, ``target``, ``draw``, ``named``, and the values of the target with every
        candidate.
    """

    table: pd.DataFrame

    def __repr__(self) -> str:
        best = self.accuracy.groupby("measure")["accuracy"].mean()
        return (
            f"Identification: {best.idxmax()} is right in {best.max():.0%} of all settings' draws"
        )

    @property
    def accuracy(self) -> pd.DataFrame:
        """How often each measure is right in each setting, with the chance level."""
        settings = ["measure", "n_stimuli", "n_units", "noise"]
        right = self.table.assign(accuracy=self.table["named"] == self.table["target"])
        made = right.groupby(settings, sort=False)["accuracy"].mean().reset_index()
        return made.assign(chance=1 / self.table["target"].nunique())

    def confusion(self, measure: str) -> pd.DataFrame:
        """Return how often a measure named each candidate (columns) for each target (rows).

        Parameters
        ----------
        measure : str
            Its name.

        Returns
        -------
        DataFrame
            Shares; each row adds up to one.
        """
        import pandas as pd

        some = self.table[self.table["measure"] == measure]
        names = list(dict.fromkeys(self.table["target"]))
        made = pd.crosstab(some["target"], some["named"], normalize="index")
        return made.reindex(index=names, columns=names, fill_value=0.0)

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw how often each measure is right, over all settings, beside chance.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        from nissl.statistics.figure import bar

        axes = bar(self.accuracy.groupby("measure", sort=False)["accuracy"].mean(), axes=axes)
        axes.axhline(1 / self.table["target"].nunique(), color="#475569", linestyle=":")
        axes.set(ylabel="share named rightly", ylim=(0, 1))
        return axes


@method(system=231)
def identify(
    candidates: Mapping[str, Any],
    targets: Mapping[str, Any] | None = None,
    *,
    on: str = "stimulus",
    measures: str | Iterable[Measure | str] = "all",
    limits: Limits = Limits(),
    seed: int = 0,
    progress: bool = True,
) -> Identification:
    """Ask of each measure whether it names a network whose identity is known.

    Parameters
    ----------
    candidates : mapping of str to Recording or array, shape (n_stimuli, n_units)
        Networks, or sites of one, with the same stimuli. Where a measure reads repeats, several
        samples a stimulus, or (n_stimuli, n_repeats, n_units); the others read their means.
    targets : mapping of str to Recording or array, optional
        What takes the brain's place, under the names of the candidates that are right: the same
        architectures trained from another seed, say. By default the candidates themselves, of
        whose units a random half is the target, the other half the candidate.
    on : str
        The sample coordinate that says which stimulus a sample is.
    measures : "all", str, or iterable of Measure or str
        By which; all are those that need no repeats.
    limits : Limits
        Numbers of stimuli and units, noise, draws.
    seed : int
        Of draws, halves and noise.
    progress : bool
        Show a bar.

    Returns
    -------
    Identification
        Table, accuracy, confusion matrices, picture.

    Raises
    ------
    NisslError
        There are fewer than two candidates, a target without one, or stimuli that do not agree.

    Notes
    -----
    Source: Han et al. 2023, System identification of neural systems: If we got it right, would we
    know?

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> made = {name: np.tanh(x @ rng.standard_normal((8, 40))) ** power
    ...         for name, power in (("odd", 1), ("even", 2))}
    >>> found = identify(made, measures=["cka"], progress=False)
    >>> found.accuracy["accuracy"].tolist()
    [1.0]
    """
    import pandas as pd

    chosen = MEASURES if measures == "all" else measures
    by = [measure_of(m) for m in ([chosen] if isinstance(chosen, str) else chosen)]
    by = [one for one in by if measures != "all" or not one.repeats]
    repeats = any(one.repeats for one in by)
    sides = [by_site(x, repeats=repeats) for x in (candidates, targets) if x is not None]
    read, _ = aligned_responses(sides, on, repeats=repeats)
    known, *others = ({name: finite(x) for name, x in side.items()} for side in read)
    given = others[0] if others else None
    if len(known) < 2 or (given is not None and not set(given) <= set(known)):
        raise NisslError(
            f"candidates {list(known)}, targets {list(given or known)}",
            do="give two candidates or more, and targets under their names",
        )
    total = len(next(iter(known.values())))
    width = min(x.shape[-1] // (1 if given else 2) for x in (given or known).values())
    for name, n in {"n_stimuli": total, "n_units": width}.items():
        if any(v is not None and not 0 < v <= n for v in getattr(limits, name)):
            raise NisslError(f"{name}={getattr(limits, name)}, and there are {n}", where="limits")
    rng, rows = np.random.default_rng(seed), []
    settings = [*product(limits.n_stimuli, limits.n_units, limits.noise, range(limits.n_draws))]
    for setting in tracked(settings, "Identifying", unit="draws", progress=progress):
        n_stimuli, n_units, noise, draw = setting
        some = np.sort(rng.permutation(total)[: n_stimuli or total])
        drawn = _drawn(known, given, some, n_units, noise, rng)
        case = {"n_stimuli": len(some), "n_units": n_units or 0, "noise": noise, "draw": draw}
        for one in by:
            mine, theirs = (_normalised(one, side) for side in drawn)
            for target, x in theirs.items():
                scores = {name: one.score(y, x) for name, y in mine.items()}
                nearest = max if one.similarity else min
                named = nearest(scores, key=scores.__getitem__)
                said = {"measure": one.name, **case, "target": target, "named": named}
                rows.append({**said, **scores})
    return Identification(pd.DataFrame(rows))


def _drawn(
    known: dict[str, Array],
    given: dict[str, Array] | None,
    some: NDArray[np.int64],
    n_units: int | None,
    noise: float,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return candidates of some stimuli, and targets of some units under noise."""
    candidate, target = {}, dict(given or {})
    for name, x in known.items():
        units = rng.permutation(x.shape[-1])
        candidate[name] = x[some] if given else x[some][..., units[x.shape[-1] // 2 :]]
        if not given:
            target[name] = x[..., units[: x.shape[-1] // 2]]
    for name, x in target.items():
        x = x[some][..., rng.permutation(x.shape[-1])[:n_units]]
        spread = x.std(axis=tuple(range(x.ndim - 1)))
        target[name] = x + np.sqrt(noise) * spread * rng.standard_normal(x.shape)
    return candidate, target


def _normalised(by: Measure, side: dict[str, Array]) -> dict[str, Array]:
    """Return activity as it is scored; of what has repeats, their means where these are read."""
    read = {name: x if by.repeats or x.ndim == 2 else x.mean(1) for name, x in side.items()}
    return {name: by.normalise(by.prepare(x)) for name, x in read.items()}
