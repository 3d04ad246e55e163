"""Match: planted partners found, by chance none; both ways against slow forms."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from nissl import NisslError, Test
from nissl.alignment import match
from nissl.recording import as_recording


def planted(n=300, shared=8, width=30, seed=0):
    """Two sides, of which `shared` units are the same up to sign, scale and noise, mixed up."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, width)), rng.standard_normal((n, width + 5))
    order = rng.permutation(width + 5)[:shared]
    y[:, order] = 3 * x[:, :shared] * rng.choice([-1, 1], shared) + rng.standard_normal((n, shared))
    return x, y, order


@pytest.mark.parametrize("pairs", ["mutual", "one_to_one"])
def test_planted_partners_are_found_and_no_others(pairs):
    x, y, order = planted()
    found = match(x, y, pairs=pairs, progress=False)
    table = found.table
    assert table["partner"][:8].tolist() == [f"unit[{i}]" for i in order]
    assert table["mutual"][:8].all()
    assert set(found.significant(q=0.05).units) == {f"unit[{i}]" for i in range(8)}
    none = match(x[:, 8:], np.delete(y, order, axis=1), pairs=pairs, progress=False)
    assert len(none.significant().table) <= 1


def test_against_slow_forms():
    x, y, _ = planted()
    r = np.corrcoef(x.T, y.T)[:30, 30:]
    table = match(x, y, test=None).table
    assert table["partner"].tolist() == [f"unit[{i}]" for i in np.abs(r).argmax(1)]
    mutual = [np.abs(r)[:, j].argmax() == i for i, j in enumerate(np.abs(r).argmax(1))]
    assert table["mutual"].tolist() == mutual
    table = match(x, y, pairs="one_to_one", test=None).table
    rows, columns = linear_sum_assignment(-np.abs(r))
    assert table["correlation"].tolist() == pytest.approx(np.abs(r[rows, columns]), abs=1e-5)


def test_a_rotated_basis_has_few_partners():
    x, y, _ = planted(shared=25)
    turned = y @ np.linalg.qr(np.random.default_rng(1).standard_normal((35, 35)))[0]
    quick = Test(n_permutations=4)
    own, other = (match(x, z, test=quick, progress=False).table for z in (y, turned))
    assert own["correlation"][:25].mean() > other["correlation"][:25].mean() + 0.2


def test_recordings_constant_units_and_refusals():
    x, y, _ = planted()
    x[:, 3] = 1.0
    names = [f"p{i}" for i in range(300)]
    a, b = (as_recording(z, samples={"stimulus": names}) for z in (x, y))
    for pairs in ("mutual", "one_to_one"):
        table = match(a, b, pairs=pairs, test=Test(n_permutations=4), progress=False).table
        assert table["partner"][3] == ""
        assert table["p"][3] == 1
    whole = match(a, b, test=None).table["correlation"]
    sites = {"site": ["one", "two"] * 15}
    of_two = as_recording(x, samples={"stimulus": names}, units=sites)
    assert match(of_two, b, test=None).table["correlation"].tolist() == whole.tolist()
    with pytest.raises(NisslError, match="activity of shape"):
        match({"a": x}, y)
    with pytest.raises(NisslError, match="order"):
        match(a, b[::-1])
    with pytest.raises(NisslError, match="numbers of stimuli"):
        match(x, y[1:])
