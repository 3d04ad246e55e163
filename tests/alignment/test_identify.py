"""Identify: networks that differ are named, those that do not are named by chance."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.alignment import Limits, identify
from nissl.alignment.measures.measure import MEASURES, measure_of

RNG = np.random.default_rng(0)


def networks(n=3, n_stimuli=60, width=40):
    """Random features of the same stimuli, by networks of other weights."""
    x = RNG.standard_normal((n_stimuli, 6))
    return {
        str(i): np.tanh(2 * x @ RNG.standard_normal((6, 5))) @ RNG.standard_normal((5, width))
        for i in range(n)
    }


def test_networks_are_named_by_every_measure_and_less_with_noise():
    limits = Limits(noise=(0.1, 1e4), n_draws=4)
    found = identify(networks(), limits=limits, progress=False)
    by_noise = found.accuracy.groupby("noise")["accuracy"].mean()
    assert set(found.accuracy["measure"]) == {m for m in MEASURES if not measure_of(m).repeats}
    assert by_noise[0.1] > 0.95
    assert by_noise[1e4] < 0.6
    confusion = found.confusion("cka")
    assert confusion.shape == (3, 3)
    assert confusion.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert found.plot().get_ylim() == (0, 1)


def test_layers_are_named_across_networks_under_noise_and_by_few_units():
    """Layers whose neighbourhoods differ, seen through other random weights by each network."""
    rng = np.random.default_rng(3)
    shared = [rng.standard_normal((60, 5))]
    for _ in range(3):
        shared.append(np.tanh(3 * shared[-1] @ rng.standard_normal((5, 5))))
    one, two = (
        {str(i): x @ rng.standard_normal((5, 200)) for i, x in enumerate(shared)} for _ in range(2)
    )
    limits = Limits(n_units=(50,), noise=(0.5,), n_draws=10)
    found = identify(one, two, measures=["topological_rsa"], limits=limits, progress=False)
    assert found.accuracy["accuracy"][0] > 0.9
    shuffled = {name: rng.permutation(x) for name, x in two.items()}
    found = identify(one, shuffled, measures=["topological_rsa"], limits=limits, progress=False)
    assert found.accuracy["accuracy"][0] < 0.75  # one order in all draws, so far from binomial


def test_what_does_not_differ_is_named_by_chance():
    x = RNG.standard_normal((50, 5)) @ RNG.standard_normal((5, 400))
    same = {str(i): x[:, i * 100 : (i + 1) * 100] for i in range(4)}
    found = identify(same, measures=["cka"], limits=Limits(n_draws=20), progress=False)
    assert found.accuracy["chance"][0] == 0.25
    assert found.accuracy["accuracy"][0] < 0.5


def test_targets_of_another_seed_and_fewer_units():
    made = networks()
    other = {name: x @ np.linalg.qr(RNG.standard_normal((40, 40)))[0] for name, x in made.items()}
    limits = Limits(n_units=(5, None), n_stimuli=(20,), n_draws=5)
    found = identify(made, other, measures=["cka"], limits=limits, progress=False).accuracy
    assert found["n_units"].tolist() == [5, 0]
    assert found["accuracy"][1] == 1
    assert found["accuracy"][0] <= 1
    with pytest.raises(NisslError, match="targets"):
        identify(made, {"unknown": other["0"]}, progress=False)
    with pytest.raises(NisslError, match="two candidates"):
        identify({"0": made["0"]}, progress=False)


def test_one_measure_by_name_and_limits_beyond_the_data():
    made = networks()
    found = identify(made, measures="cka", limits=Limits(n_draws=1), progress=False)
    assert set(found.table["measure"]) == {"cka"}
    for limits in (Limits(n_units=(21,)), Limits(n_stimuli=(61,)), Limits(n_units=(0,))):
        with pytest.raises(NisslError, match="there are"):
            identify(made, limits=limits, progress=False)
