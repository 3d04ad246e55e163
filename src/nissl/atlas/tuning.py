"""Tuning: which coordinates of the samples a unit's activity depends on, against a null."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.eta_squared import EtaSquared, eta_squared
from nissl.atlas.finished_batches import FinishedBatches
from nissl.atlas.tables import TUNING, conform
from nissl.atlas.tuning_plan import PER_BIN, TuningPlan, plan_tuning
from nissl.errors import NisslError
from nissl.recording import Recording, check
from nissl.statistics import Finding, Test
from nissl.statistics.test import CORRECTIONS

if TYPE_CHECKING:
    import pandas as pd

    from nissl.statistics.pvalues import Compared

__all__ = ["Tuning", "tuning"]

BYTES = 256e6  # that a batch of units may take


@dataclass(frozen=True)
class Tuning:
    """What units are tuned to.

    Parameters
    ----------
    finding : Finding
        One row a unit and coordinate; the columns are described at `tuning`.
    skipped : dict of str to str
        Coordinates that could not be tested, and why.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((4, 1)), samples={"time": range(4)})
    >>> tuning(rec, progress=False).skipped
    {'time': 'time itself'}
    """

    finding: Finding
    skipped: dict[str, str]


def tuning(
    rec: Recording,
    *,
    labels: Sequence[str] | None = None,
    exchange: str | Sequence[str] | None = None,
    n_bins: int | None = None,
    test: Test = Test(),
    batch_size: int | None = None,
    finished: FinishedBatches | None = None,
    progress: bool = True,
) -> Tuning:
    """Test every unit for tuning to every coordinate of the samples.

    The score is eta squared, the share of a unit's variance that lies between the levels of the
    coordinate; inside each block where the null shifts inside blocks. Its null permutes what
    `nissl.atlas.tuning_plan` says may be exchanged, by the same draws for all units.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy. Values that are not finite are left out, unit by unit.
    labels : sequence of str, optional
        Sample coordinates; all that can be tested where not given.
    exchange : str or sequence of str, optional
        Coordinates of exchangeability blocks, from large to small; found by name where not given.
    n_bins : int, optional
        Bins of circular and continuous coordinates; by default 24 and 12.
    test : Test
        Draws (1,000; fewer where the null has fewer), tail, correction over all units and
        coordinates, seed. The null follows from the coordinate.
    batch_size : int, optional
        Units read at a time; as many as fit into 256 MB where not given.
    finished : FinishedBatches, optional
        Where finished batches are kept, and taken from where they are there already.
    progress : bool
        Show a bar.

    Returns
    -------
    Tuning
        Its finding has these columns:

        - ``unit``, ``coordinate``, ``kind``, ``eta2``; ``effect``, by how much it exceeds its null
          mean; ``null_mean``, ``null_sd``, ``p``, ``q``;
        - ``preferred``, the level with the highest mean (of an angle, the direction of the curve's
          mean vector), and ``preferred_name``;
        - ``auroc`` of the preferred category against all others, in the observations that chose it;
          of spikes ``vector_length`` of an angle's curve and ``information`` in bits per spike; NaN
          elsewhere;
        - ``n`` observations, and ``null``, what was permuted;
        - lists: ``levels``, ``level_names``, ``level_n`` (observations at each), ``curve`` (mean
          count of spikes; of other quantities the mean departure from the unit's mean, inside
          blocks where the null shifts inside them), ``null_low`` and ``null_high`` (2.5th and
          97.5th percentile of the null's curves, at each level by itself);
        - ``note``, why a unit was not tested; its p and q are then 1.

    Raises
    ------
    NotARecording
        `rec` is not a Recording.
    UnknownName
        There is no such coordinate.
    NisslError
        Fewer than 19 draws, by which no p-value can reach 0.05.

    Notes
    -----
    Source: circular shifts, Harris 2020, bioRxiv 2020.08.13.249235; bits per spike, Skaggs et al.
    1993, NIPS 5; correction by the maximum, Westfall and Young 1993.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> side = np.tile(["left", "right"], 20)
    >>> noise = np.random.default_rng(0).standard_normal((40, 2))
    >>> rec = as_recording(noise + np.c_[side == "left", np.zeros(40)] * 5,
    ...                 samples={"trial": range(40), "side": side})
    >>> tuning(rec, progress=False).finding.significant().units
    ['unit[0]']
    """
    check(rec)
    test = test.own()
    test.require(null=(None,), alternative=(None, "greater"), correction=CORRECTIONS)
    n_permutations = test.draws(1000)
    if n_permutations < 19:
        raise NisslError(f"{n_permutations} draws cannot give a p of 0.05", do="give 999 or more")
    plans, skipped = plan_tuning(rec, labels=labels, exchange=exchange, n_bins=n_bins)
    plans, short = _stationary(rec, plans)
    skipped |= short
    table = _tested(
        rec, plans, test, batch_size, finished or FinishedBatches(), n_permutations, progress
    )
    nulls = "; ".join(f"{plan.name}: {plan.null.name}" for plan in plans)
    provenance: dict[str, str | int | float] = {
        "n_permutations": n_permutations,
        "seed": test.seed,
        "correction": str(test.correction),
        "tail": test.tail,
        "n_tests": len(table),
        "skipped": "; ".join(f"{n}: {w}" for n, w in skipped.items()),
    }
    return Tuning(Finding(table, "tuning", nulls or "none", provenance, "eta2"), skipped)


def _tested(
    rec: Recording,
    plans: list[TuningPlan],
    test: Test,
    batch_size: int | None,
    finished: FinishedBatches,
    n: int,
    progress: bool,
) -> pd.DataFrame:
    """Test every coordinate, batch of units by batch, and correct over all of them."""
    import pandas as pd

    from nissl.progress import progress_bar
    from nissl.statistics.pvalues import corrected

    tables: list[pd.DataFrame] = []
    extremity: list[NDArray[np.floating[Any]]] = []
    maxima = np.full(n, -np.inf)
    total = len(plans) * rec.sizes["unit"]
    with progress_bar("Tuning", total=total, unit="units", progress=progress) as advance:
        for number, plan in enumerate(plans):
            for units in _batches(rec, plan, n, batch_size):
                name = f"{number}-{units.start}"
                made = finished.get(name)
                if made is None:
                    made = _test(rec, plan, units, n, test)
                    finished.put(name, made[0], **made[1])
                tables.append(made[0])
                extremity.append(made[1]["extremity"])
                maxima = np.maximum(maxima, made[1]["maxima"])
                advance(len(made[0]))
    if not tables:
        return conform(pd.DataFrame(columns=[column.name for column in TUNING]), TUNING)
    table = pd.concat(tables, ignore_index=True)
    q = corrected(table["p"].to_numpy(), np.concatenate(extremity), maxima, test)
    table["q"] = np.where(table["note"] == "", q, 1.0)
    return conform(table, TUNING)


def _stationary(rec: Recording, plans: list[TuningPlan]) -> tuple[list[TuningPlan], dict[str, str]]:
    """Return the plans whose shifts keep their level, and why others do not."""
    from nissl.atlas.eta_squared import observations
    from nissl.statistics import CircularShift, NotExchangeable
    from nissl.statistics.exchangeability import require_stationary

    kept, short = [], {}
    some = slice(0, 64)
    for plan in plans:
        try:
            if isinstance(plan.null, CircularShift):
                values = observations(rec, plan, some)
                require_stationary(values, plan.codes, exchange=plan.within, where=plan.name)
            kept.append(plan)
        except NotExchangeable as error:
            short[plan.name] = error.what
    return kept, short


def _batches(rec: Recording, plan: TuningPlan, n: int, batch_size: int | None) -> Iterator[slice]:
    size = batch_size or max(1, int(BYTES / (24 * len(plan.rows) + 4 * n * len(plan.levels))))
    for start in range(0, rec.sizes["unit"], size):
        yield slice(start, start + size)


def _test(
    rec: Recording, plan: TuningPlan, units: slice, n: int, test: Test
) -> tuple[pd.DataFrame, dict[str, NDArray[np.floating[Any]]]]:
    """Return the table of some units, their standardised scores, and the largest of each draw."""
    from nissl.statistics.pvalues import compare

    # A single group has no more shifts than samples; drawn twice they would make p too small.
    different = np.exp(min(plan.null.log_arrangements(plan.codes, within=plan.within), 30.0))
    scores = eta_squared(rec, plan, units, min(n, round(different) - 1), seed=test.seed)
    compared = compare(
        scores.eta2, scores.draws, alternative="greater", tail=test.tail, least_p=1 / different
    )
    table = _table(rec, plan, units, scores, compared)
    tested = (table["note"] == "").to_numpy()
    return table, {
        "extremity": np.where(tested, compared.extremity, -np.inf),
        "maxima": np.resize(compared.drawn[:, tested].max(axis=1, initial=-np.inf), n),
    }


def _table(
    rec: Recording, plan: TuningPlan, units: slice, scores: EtaSquared, compared: Compared
) -> pd.DataFrame:
    """Describe the tuning of some units to one coordinate."""
    import pandas as pd

    from nissl.atlas.tuning_curve import preferred_auroc, preferred_level
    from nissl.statistics.tuning_curve import information_per_spike, mean_vector_length

    level, name = preferred_level(scores.curve, plan)
    note = _notes(scores, compared)
    n_units = len(note)
    nothing = np.full(n_units, np.nan)
    spikes = rec.attrs.get("quantity") == "spikes"
    categorical = plan.kind == "categorical"
    table = {
        "unit": rec["unit"].values[units].astype(str),
        "coordinate": plan.name,
        "kind": plan.kind,
        "eta2": scores.eta2,
        "effect": scores.eta2 - compared.null_mean,
        "null_mean": compared.null_mean,
        "null_sd": compared.null_sd,
        "p": np.where(note == "", compared.p, 1.0),
        "preferred": level,
        "preferred_name": name,
        "auroc": preferred_auroc(scores.values, plan.codes, scores.curve)
        if categorical
        else nothing,
        "vector_length": mean_vector_length(scores.curve, plan.levels, plan.period)
        if spikes and plan.period
        else nothing,
        "information": information_per_spike(scores.curve, scores.number) if spikes else nothing,
        "n": scores.number.sum(axis=0),
        "null": plan.null.name,
        "levels": [plan.levels] * n_units,
        "level_names": [plan.names] * n_units,
        "level_n": list(scores.number.T),
        "curve": list(scores.curve.T),
        "null_low": list(scores.null_low.T),
        "null_high": list(scores.null_high.T),
        "note": note,
    }
    return pd.DataFrame(table)


def _notes(scores: EtaSquared, compared: Compared) -> NDArray[np.str_]:
    """Say why a unit was not tested; empty where it was."""
    finite = np.isfinite(scores.values)
    note = np.full(finite.shape[1], "", dtype="<U60")
    note[~compared.tested] = "not tested: it equals all draws"
    filled = np.where(finite, scores.values, -np.inf), np.where(finite, scores.values, np.inf)
    note[filled[0].max(axis=0) == filled[1].min(axis=0)] = "not tested: constant"
    note[(scores.number > 0).sum(axis=0) < 2] = "not tested: measured at fewer than two levels"
    note[finite.sum(axis=0) < PER_BIN] = f"not tested: fewer than {PER_BIN} finite observations"
    return note
