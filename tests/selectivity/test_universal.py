"""Neurons planted in several networks are found, with their partners; rotated ones are not."""

import sys

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.selectivity import correlation_with_partners, universal
from nissl.statistics import Test, rate

N, WIDTH, LAYERS = 400, 100, 3  # a best direction of a narrow layer is a neuron, nearly


def network(values: np.ndarray, **samples) -> object:
    """A recording of `LAYERS` layers of `WIDTH` units."""
    layer = np.repeat(np.arange(LAYERS), WIDTH)
    units = {
        "site": np.asarray([f"blocks.{i}.mlp.neurons" for i in layer]),
        "index": np.tile(np.arange(WIDTH), LAYERS),
    }
    return as_recording(values, units=units, samples=samples or None)


@pytest.fixture
def planted():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, N, LAYERS * WIDTH))
    where = {}
    for model in range(1, 4):  # units 4 and 230 live elsewhere in the other three, with noise
        places = rng.permutation(LAYERS * WIDTH)[:2]
        values[model][:, places] = values[0][:, [4, 230]] * [1, -1]
        values[model][:, places] += 0.3 * rng.standard_normal((N, 2))
        where[f"m{model}"] = places
    first, *rest = map(network, values)
    return first, {f"m{i + 1}": other for i, other in enumerate(rest)}, where


def test_it_finds_what_was_planted(planted):
    rec, others, where = planted
    found = universal(rec, others, progress=False)
    table = found.table.set_index("unit")
    expected = ["blocks.0.mlp.neurons[4]", "blocks.2.mlp.neurons[30]"]
    assert table.index[table["universal"]].tolist() == expected
    assert sorted(found.significant().units) == expected
    for name, places in where.items():
        names = others[name]["unit"].values[places].tolist()
        assert table.loc[expected, f"partner {name}"].tolist() == names
        np.testing.assert_allclose(table.loc[expected, f"r {name}"], [0.957, -0.957], atol=0.02)
    assert (table["lowest"] <= table["correlation"]).all()
    assert not table.isna().any().any()


def test_against_the_matrix_of_all_correlations(planted):
    rec, others, _ = planted
    found = universal(rec, others, test=Test(n_permutations=2, seed=5), progress=False).table
    best, rotated = [], np.zeros((2, len(found)))
    for number, (name, other) in enumerate(others.items()):
        x, y = rec.values, other.values
        r = np.corrcoef(x.T, y.T)[: len(x.T), len(x.T) :]
        best.append(np.abs(r).max(axis=1))
        partner = other["unit"].values[np.abs(r).argmax(axis=1)]
        np.testing.assert_array_equal(found[f"partner {name}"], partner)
        for draw in range(2):
            turned = y.copy()
            rng = np.random.default_rng((5, number, WIDTH, draw))
            q, upper = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH), dtype=np.float32))
            for layer in range(LAYERS):  # rotate the activity itself, layer by layer
                columns = slice(layer * WIDTH, (layer + 1) * WIDTH)
                turned[:, columns] = y[:, columns] @ (q * np.sign(np.diagonal(upper)))
            r = np.corrcoef(x.T, turned.T)[: len(x.T), len(x.T) :]
            rotated[draw] += np.abs(r).max(axis=1) / len(others)
    np.testing.assert_allclose(found["correlation"], np.mean(best, axis=0), atol=1e-5)
    np.testing.assert_allclose(found["null_mean"], rotated.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found["lowest"], np.min(best, axis=0), atol=1e-5)


def test_tiles_do_not_matter(planted, monkeypatch):
    rec, others, _ = planted
    whole = universal(rec, others, test=Test(n_permutations=3), progress=False).table
    module = sys.modules["nissl.selectivity.universal"]
    monkeypatch.setattr(module, "UNITS", 70)
    monkeypatch.setattr(module, "ROWS", 64)
    tiled = universal(rec, others, test=Test(n_permutations=3), progress=False).table
    np.testing.assert_allclose(tiled["correlation"], whole["correlation"], atol=1e-6)
    np.testing.assert_allclose(tiled["null_mean"], whole["null_mean"], atol=1e-5)


def test_rotating_in_half_the_bits_changes_the_null_little(planted):
    rec, others, _ = planted
    whole = universal(rec, others, test=Test(n_permutations=3), progress=False).table
    half = universal(
        rec, others, test=Test(n_permutations=3), dtype="bfloat16", progress=False
    ).table
    np.testing.assert_array_equal(half["correlation"], whole["correlation"])
    np.testing.assert_allclose(half["null_mean"], whole["null_mean"], atol=3e-3)


def test_nothing_where_there_is_nothing():
    # Features shared by both networks, but no neuron of theirs: bases of a layer are all alike.
    rng = np.random.default_rng(1)
    p, called = [], 0
    for repeat in range(200):
        shared = rng.standard_normal((60, 16))
        x, y = (shared @ np.linalg.qr(rng.standard_normal((16, 16)))[0] for _ in range(2))
        found = universal(
            as_recording(x), {"y": as_recording(y)}, test=Test(seed=repeat), progress=False
        ).table
        called += found["universal"].sum()
        p.append(found["p"].to_numpy()[0])  # one unit of each: those of a network are dependent
    assert called == 0
    assert rate(np.asarray(p)).holds
    assert rate(np.asarray(p), alpha=0.25).holds


def test_partners_hold_on_other_samples(planted):
    rec, others, _ = planted
    first = {name: other[: N // 2] for name, other in others.items()}
    second = {name: other[N // 2 :] for name, other in others.items()}
    found = universal(rec[: N // 2], first, progress=False)
    again = correlation_with_partners(found, rec[N // 2 :], second)
    chosen = found.table["universal"].to_numpy()
    assert chosen.sum() == 2
    assert (again[chosen] > 0.9).all()
    assert abs(again[~chosen].mean()) < 0.05  # best of many by chance: gone
    same = correlation_with_partners(found, rec[: N // 2], first)
    np.testing.assert_allclose(same, found.table["correlation"], atol=1e-5)
    with pytest.raises(NisslError, match="found in 'm2', which is not given"):
        correlation_with_partners(found, rec, {"m1": others["m1"], "m3": others["m3"]})


def test_a_unit_that_never_fires_has_no_partner(planted):
    rec, others, _ = planted
    rec = rec.copy()
    rec.values[:, 7] = 0.5
    dead = {name: other.copy() for name, other in others.items()}
    for other in dead.values():
        other.values[:, 0] = 0.0
    found = universal(rec, dead, progress=False)
    row = found.table.iloc[7]
    assert row["note"].startswith("does not vary")
    assert (row["p"], row["q"], row["correlation"], row["partner m1"]) == (1, 1, 0, "")
    assert not found.table.isna().any().any()
    assert (
        (found.table[[f"partner m{i}" for i in (1, 2, 3)]] != "blocks.0.mlp.neurons[0]").all().all()
    )
    assert correlation_with_partners(found, rec, dead)[7] == 0


def test_samples_can_be_aligned():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 3))
    a = as_recording(values, samples={"place": np.arange(50)})
    order = rng.permutation(40)
    b = as_recording(values[order], samples={"place": order})
    found = universal(a, {"b": b}, on="place", progress=False)
    np.testing.assert_allclose(found.table["correlation"], 1, atol=1e-6)
    with pytest.raises(NisslError, match="50 and 40 samples do not correspond"):
        universal(a, {"b": b}, progress=False)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({}, "no other network"),
        ({"b": as_recording(np.eye(5)[:2])}, "do not correspond"),
    ],
)
def test_what_cannot_be_is_refused(others, message):
    with pytest.raises(NisslError, match=message):
        universal(as_recording(np.eye(5)), others, progress=False)
