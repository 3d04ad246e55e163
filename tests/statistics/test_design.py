import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.statistics import PermutedLabels, design
from nissl.statistics.design import Design


@pytest.mark.parametrize(
    ("labels", "tested", "single"),
    [
        ([True, False, True, False], [1], True),
        ([0, 1, 0, 1], [1], True),
        ([0.0, 1.0, 0.0, 1.0], [1], True),
        ([1, 2, 1, 2], [0, 1], False),
        (["a", "b", "c", "a"], [0, 1, 2], False),
        ([0.5, 1.5, 2.0, 0.1], [None], True),
    ],
)
def test_labels_say_what_is_tested(labels, tested, single):
    found = Design.of(np.eye(4), labels, None, PermutedLabels())
    assert (found.tested, found.single) == (tested, single)


def test_blocks_with_one_label_are_drawn_as_blocks():
    block, labels = [2, 2, 1, 1, 1, 0], [1, 1, 0, 0, 0, 1]
    found = Design.of(np.eye(6), labels, block, PermutedLabels())
    assert found.aggregated
    drawn = found.draw(PermutedLabels(), 30, 0)
    assert drawn.shape == (31, 3)
    assert found.of_samples(drawn)[0].tolist() == labels
    assert (drawn.sum(axis=1) == 2).all()


def test_block_and_stratum_are_read_from_the_null():
    rec = as_recording(np.eye(4), samples={"fact": [0, 0, 1, 1], "run": [0, 0, 0, 0]})
    null = PermutedLabels(exchange="fact", within="run")
    found = Design.of(rec, [0, 0, 1, 1], None, null)
    assert found.n_blocks == 2
    assert found.within is not None
    assert found.about["unit"][0] == "unit[0]"


def test_labellings_that_do_not_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr(design, "DRAWN_BYTES", 100)
    found = Design.of(np.eye(40), np.arange(40) % 2, None, PermutedLabels())
    with pytest.raises(NisslError, match="aggregate"):
        found.draw(PermutedLabels(), 10, 0)
