"""Units of two atlases are paired as they were planted, and by chance no more often than chance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from numpy.typing import NDArray
from scipy.stats import binom

from nissl.alignment import match
from nissl.atlas import Atlas, compare_atlases, open_atlas
from nissl.atlas.places import Places, without_common
from nissl.atlas.shared_places import matched_places, shared_places
from nissl.errors import NisslError
from nissl.recording import as_recording

Array = NDArray[Any]

DOCUMENT = np.repeat(np.arange(30), 60)  # of each sample


def quiet(text: str) -> None:
    """Whoever is told nothing."""


def drawn_places(rng: np.random.Generator, n_units: int, popularity: Array, k: int = 16) -> Array:
    """Places of units with no relation, some samples common to many, in twos that lie together."""
    key = rng.exponential(size=(n_units, len(popularity))) / popularity
    twos = 2 * np.argsort(key, axis=1)[:, : k // 2]
    return np.sort(np.concatenate([twos, twos + 1], axis=1), axis=1)


def popularity(rng: np.random.Generator) -> Array:
    return np.asarray(rng.gamma(0.5, size=len(DOCUMENT) // 2) + 0.01)


def as_places(places: Array) -> Places:
    starts = places.shape[1] * np.arange(len(places) + 1)
    return Places(starts, places.ravel().astype(np.int32))


def write_atlas(folder: Path, places: Array, names: list[str], *, text: int = 0) -> Atlas:
    """Write the parts of an atlas that are compared."""
    folder.mkdir()
    n, rng = len(names), np.random.default_rng(text)
    units = pd.DataFrame(
        {
            "unit": names,
            "site": [name.partition("[")[0] for name in names],
            "kind": "unexplained",
            "density": rng.uniform(size=n).astype("float32"),
            "token_q": 0.5,
            "neighbours": [["x"]] * n,
        }
    )
    units.to_parquet(folder / "units.parquet")
    row, rank = np.divmod(np.arange(places.size), places.shape[1])
    lines = {"row": row, "sign": 1, "rank": rank + 1, "sample": places.ravel()}
    pd.DataFrame(lines).to_parquet(folder / "examples.parquet")
    arrays = zarr.open_group(folder / "arrays.zarr", mode="w")
    samples = np.arange(len(DOCUMENT))
    for name, values in {
        "token": samples + text,
        "document": DOCUMENT,
        "position": samples,
    }.items():
        arrays.create_array(name, data=values.astype("int32"))
    (folder / "atlas.json").write_text(json.dumps({"network": folder.name}))
    return open_atlas(folder)


def names_of(site: str, n: int) -> list[str]:
    return [f"{site}[{i}]" for i in range(n)]


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Atlas, Atlas, Array, Array]:
    """An atlas, another whose units are its own permuted but for a tenth, the order, and these."""
    rng = np.random.default_rng(0)
    common = popularity(rng)
    places = drawn_places(rng, 200, common)
    order, replaced = rng.permutation(200), np.arange(20)
    other = places[order].copy()
    other[replaced] = drawn_places(rng, 20, common)
    a = write_atlas(tmp_path / "a", places, names_of("first", 200))
    b = write_atlas(tmp_path / "b", other, names_of("second", 200))
    return a, b, order, replaced


def test_a_permutation_is_found_and_what_was_replaced_is_not(
    planted: tuple[Atlas, Atlas, Array, Array],
) -> None:
    a, b, order, replaced = planted
    told: list[str] = []
    found = compare_atlases(a, b, tell=told.append)
    sure = found.significant().table
    assert set(zip(sure["unit"], sure["partner"], strict=True)) == {
        (f"first[{unit}]", f"second[{row}]")
        for row, unit in enumerate(order)
        if row not in replaced
    }
    assert (sure["jaccard"] == 1).all()
    assert "what they are high at" in str(found.provenance["matched"])
    assert found.null == "UnitsShiftedByDocument()"
    assert any("exchanged" in text for text in told)


def test_the_index_is_that_of_sets(planted: tuple[Atlas, Atlas, Array, Array]) -> None:
    a, b, *_ = planted
    found = compare_atlases(a, b).table
    places = [pd.read_parquet(x.path / "examples.parquet") for x in (a, b)]
    first, second = ([set(g["sample"]) for _, g in table.groupby("row")] for table in places)
    index = np.array([[len(x & y) / len(x | y) for y in second] for x in first])
    for unit, partner, shared, jaccard in found[
        ["unit", "partner", "shared", "jaccard"]
    ].itertuples(index=False):
        i, j = (int(name.partition("[")[2][:-1]) for name in (unit, partner))
        assert jaccard == pytest.approx(index[i, j])
        assert jaccard == pytest.approx(index[i].max())
        assert jaccard == pytest.approx(index[:, j].max())
        assert shared == len(first[i] & second[j])


@pytest.mark.parametrize("how", ["places", "addresses"])
def test_unrelated_units_are_paired_as_often_as_chance_says(how: str) -> None:
    hits = tests = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        common = popularity(rng)  # of both: as two networks find the same tokens remarkable
        a, b = (as_places(drawn_places(rng, 80, common)) for _ in range(2))
        rows = np.arange(80)
        found = (
            matched_places(a, b, DOCUMENT, seed=seed, tell=quiet)
            if how == "places"
            else shared_places(a, b, DOCUMENT, (rows, rows), seed=seed, tell=quiet)
        )
        hits += int((found.tested()["p"] <= 0.05).sum())
        tests += found.n_tested
    low, high = binom.interval(0.999, tests, 0.05)
    assert hits <= high
    # A pair of few common places is as likely as another: p moves in steps, and stays below.
    assert hits >= low / 3


def test_one_address_is_one_unit_and_changes_are_differences(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    places = drawn_places(rng, 60, popularity(rng))
    a = write_atlas(tmp_path / "a", places, names_of("x", 60))
    later = places.copy()
    later[:5] = drawn_places(rng, 5, popularity(rng))
    b = write_atlas(tmp_path / "b", later, names_of("x", 60))
    found = compare_atlases(a, b)
    table = found.table
    assert (table["unit"] == table["partner"]).all()
    assert "addresses" in str(found.provenance["matched"])
    assert (table["q"] <= 0.05).tolist() == [False] * 5 + [True] * 55
    assert np.allclose(table["change.density"], b.units["density"] - a.units["density"])
    assert "neighbours" not in table
    assert "change.token_q" not in table
    assert compare_atlases(a, b, "places").provenance["n_paired_a"] != 60


def test_without_one_text_addresses_are_compared_and_nothing_is_tested(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    places = drawn_places(rng, 10, popularity(rng))
    a = write_atlas(tmp_path / "a", places, names_of("x", 10))
    b = write_atlas(tmp_path / "b", places, names_of("x", 10), text=7)
    found = compare_atlases(a, b)
    assert (found.null, found.score) == ("none", "change.density")
    assert "jaccard" not in found.table
    c = write_atlas(tmp_path / "c", places, names_of("y", 10), text=7)
    with pytest.raises(NisslError, match=r"(?s)cannot be matched.*nissl.alignment.match"):
        compare_atlases(a, c)
    with pytest.raises(NisslError, match="no address in common"):
        compare_atlases(a, c, "addresses")


def test_other_networks_of_the_same_names_are_not_taken_for_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    places = drawn_places(rng, 30, popularity(rng))
    a = write_atlas(tmp_path / "a", places, names_of("x", 30))
    b = write_atlas(tmp_path / "b", places[10:], names_of("x", 20))
    table = compare_atlases(a, b).significant().table
    assert table["partner"].tolist() == [f"x[{i}]" for i in range(20)]
    assert table["unit"].tolist() == [f"x[{i + 10}]" for i in range(20)]


def test_matches_of_activity_pair_a_network_and_a_brain(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((80, 12))
    order = rng.permutation(12)
    shown = {"stimulus": np.arange(80)}
    brain = as_recording(x[:, order] + 0.1 * rng.standard_normal((80, 12)), samples=shown)
    brain = brain.assign_coords(unit=("unit", names_of("voxel", 12)))
    found = match(as_recording(x, samples=shown), brain, progress=False)
    places = drawn_places(rng, 12, popularity(rng))
    a = write_atlas(tmp_path / "a", places, [str(u) for u in found.table["unit"]])
    b = write_atlas(tmp_path / "b", places, names_of("voxel", 12), text=1)
    path = found.save(tmp_path / "matches.parquet")
    for given in (found, found.table[["unit", "partner"]], path):
        table = compare_atlases(a, b, given).table
        partner = dict(zip(table["unit"], table["partner"], strict=True))
        assert partner == {a.units["unit"][u]: f"voxel[{i}]" for i, u in enumerate(order)}
    made = compare_atlases(a, b, path)
    assert (made.score, made.null) == ("correlation", found.null)
    assert "matches.parquet" in str(made.provenance["matched"])
    back = compare_atlases(b, a, path).table  # the same file the other way round
    assert set(back["unit"]) == set(table["partner"])


def test_matches_that_are_not_of_these_atlases_are_said(
    planted: tuple[Atlas, Atlas, Array, Array], tmp_path: Path
) -> None:
    a, b, *_ = planted
    table = pd.DataFrame(
        {"of a": ["first[0]", "first[1]", "no"], "of b": ["second[3]", "second[4]", "second[5]"]}
    )
    table.to_csv(tmp_path / "pairs.csv", index=False)
    found = compare_atlases(a, b, tmp_path / "pairs.csv")
    assert len(found) == 2
    assert "1 pair names units" in str(found.provenance["matched"])
    half = table.rename(columns={"of a": "unit", "of b": "partner"}).assign(
        mutual=[True, False, True]
    )
    assert "1 pair not mutual" in str(compare_atlases(a, b, half).provenance["matched"])
    with pytest.raises(NisslError, match=r"give addresses such as 'first\[0\]'"):
        compare_atlases(a, b, table.iloc[2:])
    with pytest.raises(NisslError, match="0 columns of words"):
        compare_atlases(a, b, pd.DataFrame({"x": [1]}))
    with pytest.raises(NisslError, match="no such file"):
        compare_atlases(a, b, tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(NisslError, match="cannot be read"):
        compare_atlases(a, b, tmp_path / "bad.parquet")


def test_the_most_common_places_are_left_out_where_there_is_too_much_to_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nissl.atlas.places.MOST", 3)
    a = Places(np.array([0, 2, 4, 6]), np.array([0, 1, 0, 2, 0, 3], np.int32))
    first, second, left_out = without_common(a, a, 4)
    assert left_out == 1
    assert first.samples.tolist() == second.samples.tolist() == [1, 2, 3]
    assert first.sizes.tolist() == [1, 1, 1]
