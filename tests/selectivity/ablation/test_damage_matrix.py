"""The picture has the groups as rows, the kinds as columns, and the finding's numbers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nissl import NisslError
from nissl.selectivity import damage_matrix
from nissl.statistics import Finding


def test_rows_and_columns_are_in_the_order_asked():
    rows = [
        (unit, label, 5, number)
        for number, (unit, label) in enumerate(
            [(u, k) for u in ("a", "c") for k in ("a", "b", "c", "own - others")]
        )
    ]
    table = pd.DataFrame(rows, columns=["unit", "label", "n_units", "effect"])
    axis = Figure().subplots()
    image = damage_matrix(Finding(table, "damage", "none"), axis, names=["c", "b", "a"])
    np.testing.assert_array_equal(image.get_array(), [[6, 5, 4], [2, 1, 0]])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["c (5)", "a (5)"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["c", "b", "a"]
    with pytest.raises(NisslError, match="no finding of damage"):
        damage_matrix(Finding(table.drop(columns="label"), "relation", "none"), axis)
