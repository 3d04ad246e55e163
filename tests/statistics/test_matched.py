import numpy as np
import pandas as pd
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.statistics import MatchedUnits, RandomDirections, against_null, rate
from nissl.statistics.matched import output_weight


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    layer = np.repeat(np.arange(4), 100)
    return pd.DataFrame(
        {
            "unit": [f"blocks.{of}[{i}]" for i, of in enumerate(layer)],
            "layer": layer,
            "weight": rng.lognormal(layer, 1.0),
        }
    )


def test_directions_have_the_norms_given_and_no_favourite_way():
    given = np.array([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    drawn = RandomDirections().draw(given, 4000, seed=1)
    assert np.allclose(np.linalg.norm(drawn, axis=2), [5, 1, 0])
    assert np.abs(drawn.mean(axis=0)).max() < 0.2
    assert np.allclose(drawn[:, 0].var(axis=0), 25 / 3, rtol=0.1)


def test_matched_units_share_layer_and_weight_and_none_is_drawn_twice(table):
    chosen = table["unit"].iloc[[3, 50, 120, 121, 399]].tolist()
    drawn = MatchedUnits(n_nearest=10).draw(table, chosen, 200, seed=0)
    layer, weight = table["layer"].to_numpy(), table["weight"].to_numpy()
    rows = [3, 50, 120, 121, 399]
    assert (layer[drawn] == layer[rows]).all()
    # In one draw of ten a unit is drawn in its own place, and never in another's.
    own = drawn == rows
    assert not (np.isin(drawn, rows) & ~own).any()
    assert 0.07 < own.mean() < 0.13
    assert all(len(set(d)) == 5 for d in drawn)
    order = np.argsort(np.argsort(weight))
    # Ten nearest in rank of the whole table, of a hundred units in the layer.
    assert np.abs(order[drawn] - order[rows]).max() < 100
    ratio = np.log(weight[drawn]).mean(axis=0) - np.log(weight[rows])
    assert np.abs(ratio).max() < 1


def test_strong_units_are_not_special_among_their_like_and_planted_ones_are(table):
    # What ablating a unit does is its weight, and much more for ten planted ones.
    rng = np.random.default_rng(0)
    harm = table["weight"].to_numpy() * rng.lognormal(0, 0.1, 400)
    order = np.argsort(-harm)
    heavy = order[5:25]
    drawn = MatchedUnits().draw(table, table["unit"].iloc[heavy].tolist(), 199, seed=0)
    found = against_null(
        [harm[heavy].mean()],
        harm[drawn].mean(axis=1)[:, None],
        units=["all"],
        score="harm",
        method="m",
        null=MatchedUnits().name,
    )
    others = harm[rng.integers(0, 400, (199, 20))].mean(axis=1)[:, None]
    anyone = against_null(
        [harm[heavy].mean()], others, units=["all"], score="harm", method="m", null="any"
    )
    assert anyone.table["p"][0] == 1 / 200
    assert found.table["effect"][0] < anyone.table["effect"][0] / 2
    planted = rng.choice(np.arange(100, 300), 10, replace=False)
    harm[planted] *= 5
    drawn = MatchedUnits().draw(table, table["unit"].iloc[planted].tolist(), 199, seed=0)
    found = against_null(
        [harm[planted].mean()],
        harm[drawn].mean(axis=1)[:, None],
        units=["all"],
        score="harm",
        method="m",
        null=MatchedUnits().name,
    )
    assert found.table["p"][0] == 1 / 200


@pytest.mark.parametrize("heavy_tailed", [False, True])
def test_any_units_are_no_more_than_those_matched_to_them(heavy_tailed):
    p = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        harm = rng.standard_cauchy(500) if heavy_tailed else rng.standard_normal(500)
        names = [str(i) for i in range(500)]
        units = pd.DataFrame({"unit": names, "layer": 0, "weight": rng.lognormal(size=500)})
        group = rng.choice(500, 4, replace=False)
        drawn = MatchedUnits().draw(units, [names[i] for i in group], 19, seed=seed)
        p.append((1 + (harm[drawn].sum(axis=1) >= harm[group].sum()).sum()) / 20)
    assert rate(p).holds


def test_what_cannot_be_matched_is_refused(table):
    with pytest.raises(UnknownName, match=r"blocks.3\[399\]"):
        MatchedUnits().draw(table, ["blocks.3[39]9"], 1)
    with pytest.raises(UnknownName, match="layer"):
        MatchedUnits(("layr",)).draw(table, [], 1)
    with pytest.raises(NisslError, match="no other unit"):
        MatchedUnits().draw(table, table["unit"][:51].tolist(), 1)
    with pytest.raises(NisslError, match="shape"):
        RandomDirections().draw([1.0, 2.0], 1)
    with pytest.raises(NisslError, match="do not fit"):
        output_weight([1.0, 2.0], [[1.0]])


def test_output_weight_is_mean_activity_times_norm():
    assert output_weight([2.0, -1.0], [[3.0, 4.0], [0.0, 1.0]]).tolist() == [10.0, 1.0]
