"""Every method of the room holds its level where nothing is, and finds what is planted."""

import numpy as np
import pytest

from nissl.statistics import rate
from planted import CASES, Case
from untrained import SCORES, untrained_rate


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.data[:20]}")
def test_levels_hold_and_large_effects_are_found(case: Case):
    nothing = [case.p(np.random.default_rng([seed, 0]), 0.0)[0] for seed in range(case.repeats)]
    found = rate(np.concatenate(nothing), level=0.999)
    assert found.low <= 0.05 + case.share
    assert case.bound or found.high >= 0.05
    large = [case.p(np.random.default_rng([seed, 1]), case.sizes[-1])[1] for seed in range(3)]
    assert rate(np.concatenate(large)).rate > 0.6


@pytest.mark.parametrize("name", SCORES)
def test_an_untrained_network_is_no_more_than_others(name: str):
    assert untrained_rate(SCORES[name], n_targets=1).holds
