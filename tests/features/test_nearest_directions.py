"""Planted directions are the nearest; directions drawn at random are as near as their null."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

import nissl
from nissl.errors import NisslError
from nissl.features import ReLU, TrainedDictionary, nearest_directions
from nissl.network import Network
from tiny import tiny

SITE, FEATURES = "blocks.0.mlp.neurons", "blocks.0.resid_post.sae"


@pytest.fixture(scope="module")
def net() -> Network:
    return nissl.load(tiny("llama"), tokenizer=None)


@pytest.fixture(scope="module")
def dictionary(net: Network) -> TrainedDictionary:
    """Twenty random features; number 5 lies along neuron 3, number 6 against neuron 4."""
    write = net.output_weights(SITE)
    made = TrainedDictionary(ReLU(), 20, write.shape[1], site_in="blocks.0.resid_post")
    torch.manual_seed(0)
    made.w_dec.data = torch.nn.functional.normalize(torch.randn(20, write.shape[1]), dim=1)
    made.w_dec.data[5] = write[3] / write[3].norm()
    made.w_dec.data[6] = -write[4] / write[4].norm()
    return made


@pytest.fixture(scope="module")
def with_sae(net: Network, dictionary: TrainedDictionary) -> Network:
    return net.with_dictionary(dictionary)


def slow(unit: torch.Tensor, others: torch.Tensor) -> list[float]:
    return [float(torch.dot(unit, o) / unit.norm() / o.norm()) for o in others]


def test_planted_directions_are_the_nearest_and_cosines_are_those_counted_one_by_one(
    net: Network, with_sae: Network, dictionary: TrainedDictionary
) -> None:
    write = net.output_weights(SITE).detach().float()
    features = dictionary.directions.detach().float()
    for neuron, feature, sign in ((3, 5, 1), (4, 6, -1)):
        found = nearest_directions(with_sae, f"{SITE}[{neuron}]")
        assert found.provenance["of"] == "features"
        cosines = slow(write[neuron], features)
        order = sorted(range(20), key=lambda i: -abs(cosines[i]))
        assert found.units == [f"{FEATURES}[{i}]" for i in order]
        assert list(found.table["cosine"]) == pytest.approx([cosines[i] for i in order], abs=1e-5)
        assert order[0] == feature
        assert found.table["cosine"][0] == pytest.approx(sign, abs=1e-5)
        assert found.significant().units == [f"{FEATURES}[{feature}]"]
        assert found.table["q"][0] == pytest.approx(1 / 201)
        back = nearest_directions(with_sae, f"{FEATURES}[{feature}]")
        assert back.provenance["of"] == "neurons"
        assert back.units[0] == f"{SITE}[{neuron}]"
        # What is written after the features were read is not asked.
        assert {unit.rpartition("[")[0] for unit in back.units} == {SITE}


def test_directions_drawn_at_random_are_as_near_as_their_null(with_sae: Network) -> None:
    """Features 7 to 19 lie at random: their nearest neurons exceed the null in about 5%."""
    found = [nearest_directions(with_sae, f"{FEATURES}[{i}]", seed=i) for i in range(7, 20)]
    assert sum(one.table["q"].min() <= 0.05 for one in found) <= 3
    for one in found:
        assert (one.table["q"] >= one.table["p"]).all()
        about = one.provenance
        assert 0 < about["largest_by_chance"] < about["largest_95"] < 1


def test_p_is_even_where_nothing_is_near(net: Network) -> None:
    width = net.output_weights(SITE).shape[1]
    made = TrainedDictionary(ReLU(), 2000, width, site_in="blocks.0.resid_post")
    torch.manual_seed(1)
    made.w_dec.data = torch.randn(2000, width)
    found = nearest_directions(net.with_dictionary(made), f"{SITE}[0]", n_draws=20)
    assert kstest(found.table["p"], "uniform").pvalue > 0.01
    assert np.std(found.table["cosine"]) == pytest.approx(found.table["null_sd"][0], rel=0.1)


def test_where_nothing_is_read_after_it_there_are_no_rows(net: Network, with_sae: Network) -> None:
    assert not len(nearest_directions(net, f"{SITE}[0]"))
    assert not len(nearest_directions(with_sae, "blocks.1.mlp.neurons[0]"))
    for unit in (f"{SITE}[100000]", "blocks.0", "nothing"):
        with pytest.raises(NisslError):
            nearest_directions(with_sae, unit)
