"""Worm data of several packages in one order: planted files of shuffled, aliased names."""

import json

import h5py
import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.specimens import worm_activity, worm_connectomes, worm_neurons
from nissl.specimens.recordings.worm_connectomes import _in_order, source_files

TRUE = ["AVAL", "AWCL", "AWCR", "DD1", "VB1", "VB11"]
ALIAS = {"AWCL": "AWC_OFF", "AWCR": "AWCON", "DD1": "DD01", "VB1": "vb01"}
TWO = ["white-1986", "cook-2019"]


@pytest.fixture
def planted(tmp_path):
    """Write the same synapses as a table and as a matrix, and an atlas; return them as planted."""
    rng = np.random.default_rng(0)
    n = len(TRUE)
    chemical, gap = rng.integers(0, 5, (n, n)), np.triu(rng.integers(0, 3, (n, n)))
    names = [ALIAS.get(name, name) for name in TRUE]
    rows = [(names[i], names[j], "chemical", chemical[i, j]) for i, j in np.ndindex(n, n)]
    rows += [(names[j], names[i], "electrical", gap[i, j]) for i, j in np.argwhere(gap)]
    rows += [(names[0], "BWM-DL01", "chemical", 7), ("CEPshVL", names[1], "electrical", 2)]
    lines = ["\t".join(map(str, rows[i])) for i in rng.permutation(len(rows))]
    table = "\n".join(["pre\tpost\ttype\tsynapses", *lines])
    (tmp_path / "aconnectome_white_1986_whole.csv").write_text(table)

    order = rng.permutation(n + 1)
    wide = {"Generic_CS": np.zeros((n + 1, n + 1)), "Generic_GJ": np.zeros((n + 1, n + 1))}
    wide["Generic_CS"][:n, :n], wide["Generic_GJ"][:n, :n] = chemical, gap + np.triu(gap, 1).T
    wide["Generic_CS"][0, n], wide["Generic_GJ"][n, 1] = 7, 2
    held = {kind: m[np.ix_(order, order)].tolist() for kind, m in wide.items()}
    nodes = [[*TRUE, "pm3VL"][i] for i in order]
    (tmp_path / "cache").mkdir()
    path = tmp_path / "cache" / "Cook2019HermReader.json"
    path.write_text(json.dumps({"nodes": nodes, "connections": held}))

    order = rng.permutation(n)
    trials = rng.integers(0, 4, (n, n))
    response = rng.normal(size=(n, n))
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data" / "funatlas.h5", "w") as file:
        cut = {"AWCL": "AWCOF", "AWCR": "AWCON"}
        file["neuron_ids"] = np.array([cut.get(TRUE[i], TRUE[i]) for i in order], "S5")
        for strain, sign in (("wt", 1), ("unc31", -1)):
            there = np.ix_(order, order)
            for name, m in (("dFF", sign * response), ("occ1", trials), ("q", response**2)):
                file[f"{strain}/{name}"] = m[there].T
            file[f"{strain}/q_eq"] = np.zeros((n, n))
    return tmp_path, chemical, np.maximum(gap, gap.T), np.where(trials > 0, response, np.nan)


def test_two_packages_and_the_atlas_come_out_in_one_order(planted):
    folder, chemical, gap, response = planted
    found = worm_connectomes(folder, datasets=TWO)
    assert found["source"].values.tolist() == found["target"].values.tolist() == worm_neurons()
    assert worm_neurons() == sorted(worm_neurons())
    at = {"source": TRUE, "target": TRUE}
    for name in TWO:
        one = found.sel(dataset=name)
        assert np.array_equal(one["chemical"].sel(at).values, chemical)
        assert np.array_equal(one["gap"].sel(at).values, gap)
        assert np.isfinite(one["chemical"]).sum() == len(TRUE) ** 2
        # Nothing is lost: what is not between neurons is counted beside.
        assert one["chemical"].sum() + one["chemical_elsewhere"] == chemical.sum() + 7
        assert one["gap"].sum() + one["gap_elsewhere"] == gap.sum() + 4
    np.fill_diagonal(response, np.nan)
    for strain, sign in (("wt", 1), ("unc31", -1)):
        there = found["propagation"].sel(at | {"strain": strain}).values
        assert np.array_equal(there, sign * response, equal_nan=True)
    assert np.isfinite(found["propagation"]).sum() == 2 * np.isfinite(response).sum()


def test_unknown_names_and_broken_files_are_refused(planted):
    folder = planted[0]
    path = folder / "aconnectome_white_1986_whole.csv"
    whole = path.read_text()
    with pytest.raises(UnknownName, match="did you mean 'cook-2019'"):
        worm_connectomes(folder, datasets=["cook-2018"])
    with pytest.raises(NisslError, match="there is no file"):
        worm_connectomes(folder)
    for wrong, what in (
        ("\nAVAL2\tDD1\tchemical\t1", "'AVAL2'; did you mean 'AVAL'"),
        ("\nAVAL\tVB12\tchemical\t1", "VB12"),
        ("\nAVAL\tDD1\tpeptide\t1", "peptide"),
        ("\nAVAL\tDD1\tchemical\t-9", "not a count"),
        ("\nAVAL\tDD1\tchemical\tmany", "cannot be read"),
    ):
        path.write_text(whole + wrong)
        with pytest.raises(NisslError, match=what):
            worm_connectomes(folder, datasets=TWO)
    path.write_text("")
    with pytest.raises(NisslError, match="cannot be read"):
        worm_connectomes(folder, datasets=TWO)


def worm(names, rate, hz, seconds=40):
    time = np.arange(0, seconds, 1 / rate)
    x = np.sin(2 * np.pi * time[:, None] * hz) * np.arange(1, len(names) + 1)
    return as_recording(x, samples={"time": time}, units={"unit": names}, quantity="calcium")


def test_worms_of_other_names_and_rates_come_out_in_one_order_at_one_rate():
    a, b = worm(["vb01", "AVAL"], 10, 0.1), worm(["AVAL", "DD01", "VB1"], 4, 0.2)
    both = worm_activity({"a": a, "b": b}, rate=2)
    assert both["unit"].values.tolist() == worm_neurons()
    assert both["subject"].values.tolist() == ["a"] * 80 + ["b"] * 80
    assert (np.diff(both["time"].values[:80]) == 0.5).all()
    missing = np.isnan(both.sel(unit="DD1").values)
    assert missing[:80].all()
    assert not missing[80:].any()
    assert np.isfinite(both).any("sample").sum() == 3
    for worm_, place, hz in ((slice(0, 80), 4, 0.1), (slice(80, 160), 8, 0.2)):
        size = np.abs(np.fft.rfft(both.sel(unit="VB1").values[worm_]))
        assert size.argmax() == place == hz * 40
    fewer = worm_activity({"a": a, "b": b}, rate=2, missing="drop")
    assert fewer["unit"].values.tolist() == ["AVAL", "VB1"]
    assert np.array_equal(fewer.values, both.sel(unit=["AVAL", "VB1"]).values)


def test_worms_that_cannot_be_put_together():
    a = worm(["VB1", "AVAL"], 4, 0.2)
    with pytest.raises(NisslError, match="no worms"):
        worm_activity({}, rate=1)
    with pytest.raises(NisslError, match="one neuron: VB1"):
        worm_activity({"a": worm(["VB1", "VB01"], 4, 0.2)}, rate=1)
    with pytest.raises(UnknownName, match=r"unit\[0\]"):
        worm_activity({"a": as_recording(a.values, samples={"time": a["time"].values})}, rate=1)
    with pytest.raises(NisslError, match="no neuron is in every worm"):
        worm_activity({"a": a, "b": worm(["DD1"], 4, 0.2)}, rate=1, missing="drop")
    with pytest.raises(NisslError, match="quantities"):
        worm_activity({"a": a, "b": a.assign_attrs(quantity="activity")}, rate=1)
    with pytest.raises(UnknownName, match="missing"):
        worm_activity({"a": a}, rate=1, missing="zero")


@pytest.mark.real
def test_both_packages_have_the_same_synapses_of_white():
    found = worm_connectomes()
    assert found["chemical"].shape == (13, 302, 302)
    totals = found["chemical"].sum(("source", "target")) + found["chemical_elsewhere"]
    assert totals.sel(dataset="white-1986") == 7943  # of the table
    assert totals.sel(dataset="cook-2019") == 28113  # of the matrix
    from nissl.specimens import fetch

    (path,) = source_files(fetch("worm-connectomes"), "cache/White_whole.json")
    for kind, (matrix, _) in _in_order(path).items():
        same = found[kind].sel(dataset="white-1986").values
        assert np.array_equal(matrix, same, equal_nan=True)
    assert np.isfinite(found["propagation"]).sum(("source", "target")).values.tolist() == [
        23901,
        9119,
    ]
