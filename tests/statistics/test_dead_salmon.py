import numpy as np
import pytest
import torch
from torch import nn

from nissl.errors import NisslError
from nissl.statistics import Test, dead_salmon, false_positive_rate
from nissl.statistics.permutation import permutation_test

INPUTS = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
CONCEPT = (INPUTS[:, 0] + INPUTS[:, 1]).numpy() > 0


def activity(network):
    with torch.no_grad():
        return network(INPUTS).numpy()


def fresh(seed):
    torch.manual_seed(1000 + seed)
    return nn.Sequential(nn.Linear(12, 40), nn.ReLU())


@pytest.fixture
def trained():
    network = fresh(0)
    with torch.no_grad():
        network[0].weight[7] = torch.tensor([2.0, 2.0] + [0.0] * 10)
    return network


def test_a_planted_unit_stands_and_units_that_only_see_the_input_do_not(trained):
    options = {"score": "auroc", "test": Test(n_permutations=200)}
    found = dead_salmon(
        activity, trained, CONCEPT, training=Test(n_permutations=39), progress=False, **options
    )
    naive = permutation_test(activity(trained), CONCEPT, progress=False, **options)
    # The salmon: many units of a random network respond to what is in the input.
    assert len(naive.significant().units) > 10
    assert found.provenance["random_share"] > 0.25
    # Only the planted one exceeds every unit of every random network.
    assert found.significant(0.05).units == ["unit[7]"]
    assert found.table["p"][7] == pytest.approx(1 / 40)
    assert (found.table["q"] >= found.table["q_labels"]).all()
    assert found.null == "PermutedLabels() and ReinitialisedNetwork(how='reset')"


def test_a_random_network_yields_no_finding_at_more_than_the_nominal_rate():
    def salmon(seed):
        return dead_salmon(
            activity,
            fresh(seed),
            CONCEPT,
            training=Test(n_permutations=19),
            test=Test(n_permutations=39, seed=seed),
            progress=False,
            score="correlation",
        )

    found = false_positive_rate(
        lambda seed: salmon(seed), lambda rng: (int(rng.integers(1e6)),), n_repeats=40, column="q"
    )
    assert not found.exceeds, found
    # And with moved labels the test of labels alone holds its level on random networks.
    single = salmon(3).provenance
    assert single["dead_low"] <= 0.05 <= single["dead_high"]


def test_what_cannot_be_controlled_is_refused(trained):
    with pytest.raises(NisslError, match="too few"):
        dead_salmon(activity, trained, CONCEPT, training=Test(n_permutations=1))
    with pytest.raises(NisslError, match="several tests"):
        dead_salmon(
            activity, trained, np.arange(600) % 3, test=Test(n_permutations=20), progress=False
        )
    sizes = iter(range(40, 0, -1))
    with pytest.raises(NisslError, match="39 units and the trained 40"):
        dead_salmon(
            lambda n: activity(n)[:, : next(sizes)],
            trained,
            CONCEPT,
            test=Test(n_permutations=20),
            progress=False,
        )
