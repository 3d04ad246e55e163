"""Products of standardised units are correlations, whatever is sliced."""

import numpy as np
import pytest

from nissl.recording import as_recording
from nissl.statistics.standardised import standardised


@pytest.mark.parametrize("wrap", [np.asarray, as_recording])
@pytest.mark.parametrize("tile", [4096, 3])
def test_against_numpy(wrap, tile):
    values = np.random.default_rng(0).standard_normal((60, 8)) * np.arange(1, 9) + 100
    read, norm = standardised(wrap(values), tile=tile)
    parts = [read(slice(a, a + 25), np.array([6, 1, 3])) for a in (0, 25, 50)]
    found = sum(part.T @ part for part in parts)
    np.testing.assert_allclose(found, np.corrcoef(values[:, [6, 1, 3]].T), atol=1e-6)
    np.testing.assert_allclose(norm, values.std(axis=0) * np.sqrt(60), rtol=1e-6)


def test_units_that_do_not_vary_or_are_not_finite_are_zero():
    values = np.random.default_rng(0).standard_normal((20, 4))
    values[:, 1], values[3, 2] = 7.0, np.nan
    read, norm = standardised(values)
    assert norm[[1, 2]].tolist() == [0, 0]
    read_back = read(slice(0, 20), slice(0, 4))
    assert (read_back[:, [1, 2]] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(read_back, axis=0), [1, 0, 0, 1], atol=1e-6)
