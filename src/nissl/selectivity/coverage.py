"""Neuron activation coverage: which states of a unit are filled by data like those of training.

What a unit contributes to the certainty of the output (`gradient_times_activation` of
`divergence_from_uniform`), brought between 0 and 1, is its *state* (`activation_states`). A state
is *covered* where training data are dense enough. Inputs whose units are in states that are not
covered come from elsewhere; a network of which much is covered has seen much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.methods import method
from nissl.recording import as_recording, samples_table, units_table
from nissl.recording.units_by_site import units_by_site
from nissl.statistics import Coverage, Finding, PermutedLabels, Test, permutation_test
from nissl.statistics.coverage import BINS, FULL, averaged

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["activation_states", "coverage"]


@method(system=172)
def coverage(
    train: Recording,
    inside: Recording,
    outside: Recording,
    *,
    by: Literal["unit", "site", "network"] = "unit",
    bins: int = BINS,
    full_density: float = FULL,
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Tell by the coverage of their states inputs like those of training from others.

    Parameters
    ----------
    train : Recording, shape (n_samples, n_units)
        `activation_states` on data of training: they say what is covered.
    inside, outside : Recording, each shape (any number of samples, n_units)
        States on other inputs of that kind, and on inputs of another. Were those inside among
        `train`, they would be covered because they are themselves.
    by : {"unit", "site", "network"}
        What is scored: each unit's coverage, its mean over a site, or the mean over sites.
    bins : int
        Into how many states the range from 0 to 1 is cut.
    full_density : float
        The density at which a state counts as wholly covered; 1 is that of states spread evenly.
    test : Test
        Null (`PermutedLabels`: "inside" and "outside" are permuted over inputs), draws (1,000),
        tail, correction over all rows, seed. Sample coordinates that only one of them has are not
        seen, and an exchangeability block is either inside or outside.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit, each site, or the network (``unit`` is its name): ``auroc``, the
        chance that an input from inside is the better covered; effect, null mean, p, q;
        ``inside`` and ``outside``, the mean coverage of either; ``area``, of all its states the
        share that is covered. A unit whose coverage is the same for all inputs has a ``note``.

    Raises
    ------
    NisslError
        The recordings have other units, or hold no states.

    Notes
    -----
    Source: Liu et al. 2024, equations 4 to 7. The test of every unit is ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> train, inside, outside = (as_recording(0.5 * rng.random((n, 3))) for n in (500, 40, 40))
    >>> outside[:, 1] += 0.5
    >>> coverage(train, inside, outside, bins=10, progress=False).significant().units
    ['unit[1]']
    """
    import pandas as pd

    for name, rec in (("inside", inside), ("outside", outside)):
        if rec["unit"].values.tolist() != train["unit"].values.tolist():
            raise NisslError(
                "the units are not those of `train`", where=name, do="record the same sites"
            )
    units = units_table(train)
    site = np.asarray(units["site"] if "site" in units else [""] * len(units)).astype(str)
    fitted = Coverage(len(units), bins=bins, full_density=full_density)
    fitted.update(train.values)
    here, there = (averaged(fitted.of(rec.values), by, site) for rec in (inside, outside))
    area = averaged(fitted.area[None], by, site)[0]
    if by != "unit":
        names = list(dict.fromkeys(site)) if by == "site" else ["network"]
        units = pd.DataFrame({"unit": [name or "all units" for name in names]})
    samples = [samples_table(rec) for rec in (inside, outside)]
    block = test.null_or(PermutedLabels()).exchange
    for name, rows in zip(("inside", "outside"), samples, strict=True):
        if block in rows:  # a number on one side is not the same block on the other
            rows[block] = name + " " + rows[block].astype(str)
    both = as_recording(
        np.concatenate([here, there]),
        units=units,
        samples=pd.concat(samples, join="inner", ignore_index=True),
    )
    found = permutation_test(
        both,
        np.arange(len(both)) < len(here),
        score="auroc",
        test=replace(test, alternative=test.alternative or "greater"),
        method="coverage",
        progress=progress,
    )
    return found.assign(
        {"bins": bins, "full_density": full_density, "n_train": len(train)},
        inside=here.mean(axis=0),
        outside=there.mean(axis=0),
        area=area,
    )


def activation_states(rec: Recording, *, alpha: float | Mapping[str, float]) -> Recording:
    """Bring what units contribute between 0 and 1.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        `gradient_times_activation` of the output's `divergence_from_uniform`.
    alpha : float or mapping of str to float
        How steeply, above 0; one number, or one for each site, as their sizes differ.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        ``1 / (1 + exp(-alpha x))``: 0.5 where a unit does nothing, above it where more of it would
        make the network surer.

    Raises
    ------
    NisslError
        An alpha is not above 0.
    UnknownName
        A site has no alpha.

    Notes
    -----
    Source: Liu et al. 2024, equation 2. The paper has the mean of the gradient over places; the
    sum, which does not depend on the size of the map, differs from it by a factor that alpha has.

    Examples
    --------
    >>> activation_states(as_recording([[0.0, 0.1]]), alpha=10).values.round(3).tolist()
    [[0.5, 0.731]]
    """
    from scipy.special import expit

    steepness = np.ones(rec.sizes["unit"], rec.dtype if rec.dtype.kind == "f" else np.float64)
    for site, columns in units_by_site(rec).items():
        if isinstance(alpha, Mapping) and site not in alpha:
            raise UnknownName("site", site, list(alpha), do=f"give alpha= for '{site}' as well")
        steepness[columns] = alpha[site] if isinstance(alpha, Mapping) else alpha
    if not ((steepness > 0) & np.isfinite(steepness)).all():
        raise NisslError(f"alpha={alpha} is not above 0", do="give a number such as 100")
    states = rec.copy(data=expit(rec.values * steepness))
    return states.assign_attrs(quantity="activity")
