"""Programming-language neurons: shared and exclusive ones are told apart."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import programming_neurons
from nissl.statistics import PermutedLabels, Test
from nissl.statistics.calibration import rate

LANGUAGES = ["c", "java", "python", "ruby", "rust"]
FILES, PARTS = 6, 3
BLOCK = PermutedLabels(exchange="file")


def programs(n_units=150, *, seed=0, plant=True):
    """Parts of files. Unit i is of language i, unit 5 of c and java, unit 6 of all but python."""
    rng = np.random.default_rng(seed)
    language = np.repeat(LANGUAGES, FILES * PARTS)
    file = np.repeat(np.arange(len(LANGUAGES) * FILES), PARTS)
    topic = rng.uniform(0, 0.3, (file.max() + 1, n_units))[file]  # parts of a file hang together
    shares = rng.uniform(0.05, 0.2, (len(language), n_units)) + topic
    if plant:
        mine = [[name] for name in LANGUAGES] + [["c", "java"], ["c", "java", "ruby", "rust"]]
        for unit, names in enumerate(mine):
            shares[:, unit] = np.where(np.isin(language, names), 0.9, 0.01)
        shares[:, 7] = 0.0
    return as_recording(shares, samples={"language": language, "file": file})


def test_shared_and_exclusive_neurons_are_told_apart():
    table = programming_neurons(programs(), n_per_label=3, bar=0.9, test=Test(null=BLOCK)).table
    assert (table["kind"][:5] == "exclusive").all()
    assert table["labels"][:5].tolist() == LANGUAGES
    assert (table["kind"][5], table["labels"][5]) == ("shared", "c; java")
    assert (table["kind"][6], table["labels"][6]) == ("shared", "c; java; ruby; rust")
    assert (table["q"][:6] <= 0.05).all()


def test_each_language_has_as_many_neurons_as_are_asked():
    table = programming_neurons(programs(), n_per_label=4, bar=0.5, test=Test(null=BLOCK)).table
    for name in LANGUAGES:
        assert sum(name in labels.split("; ") for labels in table["labels"]) == 4


def test_lists_are_those_of_a_slow_search():
    rec = programs(60, seed=4)
    table = programming_neurons(rec, n_per_label=5, bar=0.8, test=Test(null=BLOCK)).table
    language = np.repeat(LANGUAGES, FILES * PARTS)
    share = np.stack([rec.values[language == name].mean(0) for name in LANGUAGES])
    height = np.sort(share.ravel())[round(0.8 * share.size) - 1]
    for row, name in enumerate(LANGUAGES):
        listed = []
        for unit in range(60):
            total = share[:, unit].sum()
            if share[row, unit] > height and total:
                part = share[:, unit] / total
                listed.append(
                    (-(part * np.log(np.where(part > 0, part, 1))).sum(), f"unit[{unit}]")
                )
        expected = {unit for _, unit in sorted(listed)[:5]}
        found = {u for u, k in zip(table["unit"], table["labels"], strict=True) if name in k}
        assert found == expected


def test_files_not_parts_are_permuted():
    found = programming_neurons(
        programs(1500, plant=False),
        test=Test(n_permutations=199, null=BLOCK, correction=None, seed=2),
    )
    assert rate(found.table["p"], level=0.999).holds


def test_a_unit_that_is_never_open_is_marked():
    row = programming_neurons(programs(), test=Test(null=BLOCK)).table.iloc[7]
    assert (row.note, row.p, row.kind) == ("never open in these documents", 1, "")


def test_bad_input_is_refused():
    rec = programs(20)
    with pytest.raises(TooFewSamples, match="every document is of 'c'"):
        programming_neurons(rec.isel(sample=slice(0, 18)))
    with pytest.raises(NisslError, match="takes no neurons"):
        programming_neurons(rec, n_per_label=0)
    with pytest.raises(NisslError, match="bar=0 is no share"):
        programming_neurons(rec, bar=0)
