"""Planted features: they are what they are said to be, and noise holds none."""

import numpy as np
import pytest

import nissl
from nissl import NisslError
from nissl.errors import UnknownName
from nissl.specimens import load, specimens
from nissl.specimens.planted.features import FEATURES, planted_features

TABLE = specimens()


def test_specimens_are_the_variants_and_the_same_twice() -> None:
    names = TABLE.loc[TABLE["kind"] == "features", "name"].tolist()
    assert names == [f"planted-{name}" for name in FEATURES]
    one, two = (load("planted-zipf", n_samples=100, seed=3) for _ in range(2))
    assert one.activity.equals(two.activity)
    assert one.features.equals(two.features)
    assert nissl.read("planted-noise", n_samples=10).activity.shape == (10, 64)
    with pytest.raises(NisslError, match="kind features, not a network"):
        nissl.load("planted-zipf")


@pytest.mark.parametrize("name", [name for name in FEATURES if name != "noise"])
def test_activity_is_the_sum_of_what_is_active(name) -> None:
    planted = planted_features(name, n_samples=20_000, noise=0.1, seed=1)
    sizes = planted.features.values
    on = sizes > 0
    left = planted.activity.values - sizes @ planted.directions
    assert left.std() == pytest.approx(0.1, rel=0.01)
    assert np.linalg.norm(planted.directions, axis=1) == pytest.approx(1, abs=1e-5)
    assert 0.5 <= sizes[on].min() < sizes[on].max() <= 1.5
    assert on.sum(1).mean() == pytest.approx(3, rel=0.1)
    assert np.array_equal(planted.features["rate"].values, on.mean(0))


def test_rates_follow_zipf() -> None:
    rate = planted_features("zipf").features["rate"]
    assert rate[0] == pytest.approx(0.5, abs=0.01)
    ranks = np.arange(1, 129)[1:]
    slope = np.polyfit(np.log(ranks), np.log(rate.values[1:]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_children_are_active_only_with_their_parent() -> None:
    truth = planted_features("hierarchy", n_samples=20_000).features
    on, parent = truth.values > 0, truth["parent"].values
    children = np.flatnonzero(parent >= 0)
    assert len(children) == 96
    assert not (on[:, children] & ~on[:, parent[children]]).any()
    given = on[:, children].sum(0) / on[:, parent[children]].sum(0)
    assert given.mean() == pytest.approx(1 / 3, abs=0.02)


def test_groups_are_active_together() -> None:
    truth = planted_features("correlated", n_samples=20_000).features
    together = np.corrcoef((truth.values > 0).T)
    same = truth["group"].values[:, None] == truth["group"].values
    assert together[same & ~np.eye(128, dtype=bool)].min() > 0.5
    assert np.abs(together[~same]).max() < 0.1


def test_noise_has_the_covariance_and_nothing_else() -> None:
    zipf, noise = (planted_features(name, n_samples=20_000, seed=2) for name in ("zipf", "noise"))
    a, b = zipf.activity.values, noise.activity.values
    assert np.abs(a.mean(0) - b.mean(0)).max() < 0.03
    assert np.abs(np.cov(a.T) - np.cov(b.T)).max() < 0.02
    projected = b @ zipf.directions.T
    excess = ((projected - projected.mean(0)) / projected.std(0)) ** 4
    assert np.abs(excess.mean(0) - 3).max() < 0.25  # a Gaussian along every direction
    on = noise.features.values > 0
    tied = [np.corrcoef(projected[:, i], on[:, i])[0, 1] for i in range(128)]
    assert np.abs(tied).max() < 0.03


def test_bad_input() -> None:
    with pytest.raises(UnknownName, match="did you mean 'zipf'"):
        planted_features("zip")
    for options in ({"n_samples": 0}, {"n_features": 2}, {"active": 0}, {"noise": -1.0}):
        with pytest.raises(NisslError, match="too small"):
            planted_features("zipf", **options)
