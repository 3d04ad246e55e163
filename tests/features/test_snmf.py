"""SNMF: planted groups of units are found, the error never rises, and it is the slow form."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.cluster import KMeans

from nissl.features.snmf import NonnegativeCode, snmf

UNITS, GROUPS, EACH = 60, 8, 5


def planted(seed=0, n=800, rate=0.15):
    """Nonnegative sums of groups of five units of either sign, with a little noise."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((GROUPS, UNITS))
    for i, row in enumerate(rows):
        row[i * EACH : (i + 1) * EACH] = rng.choice([-1, 1], EACH) / EACH**0.5
    sizes = rng.exponential(size=(n, GROUPS)) * (rng.random((n, GROUPS)) < rate)
    x = sizes @ rows + 0.02 * rng.standard_normal((n, UNITS))
    return torch.from_numpy(x), rows


def matched(rows, truth):
    cosine = truth @ rows.numpy().T
    return cosine[linear_sum_assignment(-cosine)]


def errors(x, kept):
    """The squared error after so many rounds."""
    made = [snmf(x, GROUPS, kept=kept, n_iter=n) for n in range(1, 12)]
    assert all(bool((sizes >= 0).all()) for sizes, _ in made)
    return np.array([float((x - sizes @ rows).square().sum()) for sizes, rows in made])


@pytest.mark.parametrize("kept", [1.0, EACH / UNITS])
def test_planted_groups_are_found(kept):
    x, truth = planted()
    sizes, rows = snmf(x, GROUPS, kept=kept, n_iter=100)
    assert (matched(rows, truth) > (0.9 if kept == 1 else 0.99)).all()
    assert float((x - sizes @ rows).square().sum() / x.square().sum()) < 0.03
    if kept < 1:
        assert ((rows != 0).sum(1) == EACH).all()
        assert ((rows.numpy() != 0).astype(int) @ (truth != 0).T).max(1).tolist() == [EACH] * GROUPS


@pytest.mark.parametrize("kept", [1.0, 0.2, EACH / UNITS])
def test_the_error_never_rises(kept):
    found = errors(planted(seed=1)[0], kept)
    assert (np.diff(found) <= 1e-9).all()
    assert found[-1] < 0.9 * found[0]


def test_nothing_is_found_in_noise():
    rng = np.random.default_rng(3)
    _, truth = planted()
    x = torch.from_numpy(rng.standard_normal((800, UNITS)))
    drawn = torch.from_numpy(rng.standard_normal((200, GROUPS, UNITS)))
    null = [matched(r, truth).mean() for r in drawn / drawn.norm(dim=2, keepdim=True)]
    assert matched(snmf(x, GROUPS, n_iter=30)[1], truth).mean() < np.quantile(null, 0.99)


def test_it_is_the_slow_form():
    x, _ = planted(n=60)
    x = x.numpy()
    norms = np.linalg.norm(x, axis=1)
    start = KMeans(GROUPS, n_init=1, random_state=0)
    g = np.eye(GROUPS)[start.fit_predict(x / norms[:, None], sample_weight=norms**2)] + 0.2
    for _ in range(3):  # Ding, Li and Jordan 2010: X ~ F G', columns of X are samples
        f = x.T @ g @ np.linalg.inv(g.T @ g)
        xf, ff, new = x @ f, f.T @ f, g.copy()
        for i in range(len(g)):
            for k in range(GROUPS):
                above = max(xf[i, k], 0) + sum(g[i, j] * max(-ff[j, k], 0) for j in range(GROUPS))
                below = max(-xf[i, k], 0) + sum(g[i, j] * max(ff[j, k], 0) for j in range(GROUPS))
                new[i, k] = g[i, k] * np.sqrt(above / below)
        g = new
    sizes, rows = snmf(torch.from_numpy(x), GROUPS, n_iter=3)
    assert (sizes @ rows).numpy() == pytest.approx(g @ f.T, abs=1e-8)


def test_the_code_is_nonnegative_least_squares():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((GROUPS, UNITS))
    x = rng.standard_normal((20, UNITS)) + rng.exponential(size=(20, GROUPS)) @ rows
    code = NonnegativeCode(torch.from_numpy(rows @ rows.T))(torch.from_numpy(x @ rows.T))
    assert code.numpy() == pytest.approx(np.stack([nnls(rows.T, y)[0] for y in x]), abs=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_feature_without_samples_is_zero():
    sizes, rows = snmf(torch.ones(6, 4) * torch.tensor([[1.0], [2]]).repeat(3, 1), 2, n_iter=20)
    assert bool(torch.isfinite(sizes).all() and torch.isfinite(rows).all())
