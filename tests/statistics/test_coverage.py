"""Coverage of states against a loop written out, in chunks, and what is refused."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.statistics import Coverage

N_UNITS, LAYER = 30, np.repeat(["a", "b"], [10, 20])


def test_against_a_loop_written_out():
    rng = np.random.default_rng(3)
    train, new = rng.random((200, N_UNITS)) / 2, rng.random((25, N_UNITS))
    bins, full = 7, 1.5
    fitted = Coverage(N_UNITS, bins=bins, full_density=full)
    fitted.update(train)
    edges = np.linspace(0, 1, bins + 1)
    slow = np.zeros(new.shape)
    for unit in range(N_UNITS):
        density, _ = np.histogram(train[:, unit], bins=edges, density=True)
        assert fitted.area[unit] == pytest.approx(np.minimum(density / full, 1).mean())
        for row, state in enumerate(new[:, unit]):
            for k in range(bins):
                if edges[k] <= state < edges[k + 1]:
                    slow[row, unit] = min(density[k] / full, 1)
    assert np.allclose(fitted.of(new), slow)
    assert np.allclose(fitted.score(new), slow.mean(axis=1))
    by_layer = (slow[:, :10].mean(axis=1) + slow[:, 10:].mean(axis=1)) / 2
    assert np.allclose(fitted.score(new, LAYER), by_layer)
    area = (fitted.area[:10].mean() + fitted.area[10:].mean()) / 2
    assert fitted.criterion(LAYER) == pytest.approx(area)


def test_blocks_merge_into_the_whole():
    values = np.random.default_rng(5).random((90, N_UNITS)) / 2
    values[0, 0] = 1.0  # the last state is closed above
    whole, one, other = (Coverage(N_UNITS, bins=20) for _ in range(3))
    whole.update(values)
    one.update(values[:30])
    other.update(values[30:], start=30)
    one.merge(other)
    assert (one.counts == whole.counts).all()
    assert (one.result() == whole.result()).all()
    assert one.counts[0, -1] == 1
    assert one.n_samples == 90


def test_what_cannot_be_is_refused():
    for options in ({"bins": 1}, {"full_density": 0}, {"full_density": np.nan}):
        with pytest.raises(NisslError, match="tell nothing apart"):
            Coverage(3, **options)
    with pytest.raises(NisslError, match="no data say what is covered"):
        Coverage(3).of(np.zeros((1, 3)))
    with pytest.raises(NisslError, match="not of 3 units"):
        Coverage(3).update(np.zeros((1, 4)))
    with pytest.raises(NisslError, match="cannot be merged"):
        Coverage(3).merge(Coverage(3, bins=7))
