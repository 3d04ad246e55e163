"""Numbers that describe a tuning curve, against their definitions."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nissl.atlas.tuning_curve import preferred_auroc, preferred_level

ANGLE = SimpleNamespace(
    levels=(np.arange(36) + 0.5) * 10, names=[str(i) for i in range(36)], period=360.0
)


def test_vector_points_where_a_von_mises_curve_does():
    theta = np.deg2rad(ANGLE.levels)[:, None]
    curve = np.exp(3 * np.cos(theta - np.deg2rad([20.0, 200.0, 355.0])))
    at, name = preferred_level(curve, ANGLE)
    assert at == pytest.approx([20, 200, 355], abs=0.1)
    assert name.tolist() == ["20", "200", "355"]
    at, _ = preferred_level(curve - 100, ANGLE)  # activity may be negative
    assert at == pytest.approx([20, 200, 355], abs=0.1)


def test_levels_never_visited_are_passed_over():
    curve = np.full((36, 1), np.nan)
    curve[[4, 5, 6], 0] = [1, 3, 1]
    assert preferred_level(curve, ANGLE)[0] == pytest.approx(55)
    assert np.isnan(preferred_level(np.full((36, 1), np.nan), ANGLE)[0][0])
    assert preferred_level(np.full((36, 1), np.nan), ANGLE)[1][0] == ""


def test_auroc_of_the_preferred_level_with_missing_values():
    rng = np.random.default_rng(1)
    values, codes = np.round(rng.standard_normal((90, 4)), 1), np.arange(90) % 3
    values[rng.random(values.shape) < 0.2] = np.nan
    values[codes == 1, 3] = np.nan
    curve = np.stack(
        [
            np.nanmean(values[codes == k], axis=0)
            if k != 1
            else np.r_[np.nanmean(values[codes == 1, :3], axis=0), np.nan]
            for k in range(3)
        ]
    )
    found = preferred_auroc(values, codes, curve)
    for unit in range(4):
        seen = np.isfinite(values[:, unit])
        best = np.nanargmax(curve[:, unit])
        assert found[unit] == pytest.approx(roc_auc_score(codes[seen] == best, values[seen, unit]))
