"""Planted features: activity that is a sum of directions, and which of them are in each sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from nissl.errors import NisslError, require_known
from nissl.recording import as_recording

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["FEATURES", "PlantedFeatures", "planted_features"]

Array = np.ndarray[Any, Any]
Variant = Literal["zipf", "hierarchy", "correlated", "superposition", "noise"]
FEATURES: tuple[str, ...] = get_args(Variant)
TOGETHER = 4  # features of a group, or a parent and its children
OF_PARENT, OF_GROUP = (
    1 / 3,
    0.8,
)  # how often a child is active with its parent, a feature in a group


@dataclass(frozen=True, eq=False)
class PlantedFeatures:
    """Activity that was made from features, and the features.

    Parameters
    ----------
    activity : Recording, shape (n_samples, n_units)
        What a dictionary is trained on.
    features : Recording, shape (n_samples, n_features)
        How large each true feature is in each sample, zero where it is not active. Of each feature
        ``rate`` is the share of samples in which it is active, ``group`` is shared by those that
        are active together, and ``parent`` is the feature without which it is not active, or -1.
    directions : array, shape (n_features, n_units)
        Of length 1.

    Examples
    --------
    >>> from nissl.specimens import load
    >>> planted = load("planted-zipf", n_samples=1000)
    >>> planted.activity.shape, planted.features.shape
    ((1000, 64), (1000, 128))
    """

    activity: Recording
    features: Recording
    directions: Array


def planted_features(
    name: Variant,
    *,
    n_samples: int = 50_000,
    n_units: int = 64,
    n_features: int | None = None,
    active: float = 3.0,
    noise: float = 0.05,
    seed: int = 0,
) -> PlantedFeatures:
    """Make activity whose features are known.

    Parameters
    ----------
    name : {"zipf", "hierarchy", "correlated", "superposition", "noise"}
        Rates by Zipf's law, at most a half; groups of a parent and three children, each of which is
        active in a third of the samples in which its parent is; groups of four that are active
        together, each member in four fifths of the samples of its group; four times as many
        features as units, of one rate; or no features: a Gaussian with the mean and the covariance
        of "zipf". Rates of parents and groups follow Zipf's law too.
    n_samples : int
        How many samples.
    n_units : int
        How many units.
    n_features : int, optional
        How many features; by default twice as many as units, in "superposition" four times.
    active : float
        Features that are active in a sample, about and on average.
    noise : float
        Standard deviation of the Gaussian noise that is added to each unit.
    seed : int
        Of directions and samples.

    Returns
    -------
    PlantedFeatures
        Of "noise", `features` and `directions` are those of "zipf" by the same seed, and no sample
        of `activity` depends on them: what detects them is mistaken. The covariance does show the
        directions of the few most frequent.

    Raises
    ------
    UnknownName
        There is no such variant.
    NisslError
        A number is too small.

    Notes
    -----
    Directions are random, and an active feature's size is uniform from 0.5 to 1.5. Source: sparse
    sums of more directions than units, Elhage et al. 2022, Toy models of superposition, and
    Sharkey et al. 2022, Taking features out of superposition with sparse autoencoders; parents and
    children, by which features are absorbed, Chanin et al. 2024, A is for absorption; correlated
    features, by which they are mixed, Chanin et al. 2025, Feature hedging.

    Examples
    --------
    >>> planted = planted_features("hierarchy", n_samples=100)
    >>> on, parent = planted.features.values > 0, planted.features["parent"].values
    >>> bool((on[:, parent[parent >= 0]] | ~on[:, parent >= 0]).all())
    True
    """
    require_known("planted data", name, FEATURES)
    n = n_features or (4 if name == "superposition" else 2) * n_units
    if min(n_samples, n_units) < 1 or n < TOGETHER or active <= 0 or noise < 0:
        raise NisslError(
            f"n_samples={n_samples}, n_units={n_units}, n_features={n}, active={active}, "
            f"noise={noise}: one is too small",
            do=f"give at least 1 sample and unit, {TOGETHER} features, and active= above 0",
        )
    random = np.random.default_rng(seed)
    directions = random.standard_normal((n, n_units), np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    n_groups, parent, group = n, np.full(n, -1), np.arange(n)
    if name in ("hierarchy", "correlated"):
        n_groups = n // TOGETHER
        group %= n_groups
    own, members = np.ones(n), active
    if name == "hierarchy":  # the first of each group is the parent
        parent[n_groups:] = group[n_groups:]
        own[n_groups:] = OF_PARENT
        members /= 1 + (TOGETHER - 1) * OF_PARENT
    elif name == "correlated":
        own[:] = OF_GROUP
        members /= TOGETHER * OF_GROUP
    weights = np.ones(n) if name == "superposition" else 1 / np.arange(1, n_groups + 1)
    rates = np.minimum(members * weights / weights.sum(), 0.5)
    on = (random.random((n_samples, n_groups), np.float32) < rates)[:, group]
    on &= random.random((n_samples, n), np.float32) < own
    features = on * (random.random((n_samples, n), np.float32) + np.float32(0.5))
    activity = features @ directions
    activity += noise * random.standard_normal(activity.shape, np.float32)
    if name == "noise":
        spread = np.linalg.cholesky(np.cov(activity.T) + 1e-9 * np.eye(n_units))
        drawn = random.standard_normal(activity.shape)
        activity = (drawn @ spread.T + activity.mean(0)).astype(np.float32)
    units = {
        "unit": [f"feature[{i}]" for i in range(n)],
        "rate": on.mean(0),
        "group": group,
        "parent": parent,
    }
    attrs = {"planted": name, "seed": seed}
    truth = as_recording(features, units=units, attrs=attrs)
    return PlantedFeatures(as_recording(activity, attrs=attrs), truth, directions)


zipf = partial(planted_features, "zipf")
hierarchy = partial(planted_features, "hierarchy")
correlated = partial(planted_features, "correlated")
superposition = partial(planted_features, "superposition")
noise = partial(planted_features, "noise")
