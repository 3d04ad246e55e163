"""What is drawn is the dissimilarities that were given, sorted by label."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from nissl.errors import NisslError
from nissl.statistics import dissimilarities, dissimilarity_matrix


@pytest.fixture
def axes():
    return Figure().subplots()


def test_dissimilarities_of_one_label_lie_together(axes):
    labels = np.array(["face", "house", "face", "cat", "house", "face"])
    distances = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
    dissimilarity_matrix(distances, labels=labels, label="1 - r", axes=axes)
    order = [3, 0, 2, 5, 1, 4]
    drawn = np.ma.filled(axes.images[0].get_array(), 0)
    assert drawn == pytest.approx(distances[np.ix_(order, order)])
    assert axes.images[0].get_array().mask.diagonal().all()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "face", "house"]
    assert axes.get_yticks().tolist() == [0, 2, 4.5]
    assert [line.get_ydata()[0] for line in axes.lines[::2]] == [0.5, 3.5]
    assert axes.get_aspect() == 1
    assert axes.get_figure().axes[1].get_ylabel() == "1 - r"


def test_ranks_are_those_that_spearman_correlates(axes):
    x = np.random.default_rng(0).standard_normal((8, 30))
    distances = dissimilarities(x, progress=False)
    dissimilarity_matrix(distances, ranks=True, label="1 - r", axes=axes)
    drawn = np.asarray(axes.images[0].get_array())
    pairs = np.triu_indices(8, 1)
    assert spearmanr(drawn[pairs], distances[pairs])[0] == pytest.approx(1)
    assert (drawn[pairs].max(), drawn[pairs].min()) == pytest.approx((100, 100 / 28))
    assert drawn[pairs] == pytest.approx(drawn.T[pairs])


def test_what_is_no_dissimilarity_matrix_is_said(axes):
    with pytest.raises(NisslError, match="similarities"):
        dissimilarity_matrix(np.eye(3), axes=axes)
    with pytest.raises(NisslError, match="symmetric"):
        dissimilarity_matrix([[0, 1], [2, 0]], axes=axes)
    with pytest.raises(NisslError, match="symmetric"):
        dissimilarity_matrix(np.zeros((2, 3)), axes=axes)
    with pytest.raises(NisslError, match="labels"):
        dissimilarity_matrix(np.zeros((3, 3)), labels=["a"], axes=axes)
