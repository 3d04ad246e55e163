"""Planted types of units are found with the stimuli that tell them; where there are none, none."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import nn

import nissl
from nissl import NisslError
from nissl.brain import discriminative_stimuli
from nissl.brain.discriminative_stimuli import _contrast
from nissl.network.gradients import Ascent

N, SIZE = 36, 30
INPUTS = np.random.default_rng(9).standard_normal((24, SIZE)).astype(np.float32)


def population(types=3, *, shuffled=False, seed=0):
    """Linear-nonlinear units of types, with gains, thresholds and filters of their own."""
    rng = np.random.default_rng([seed, 1])  # not the draws by which units are held out
    kind = rng.permutation(np.arange(N) % types)
    kinds = rng.standard_normal((types, SIZE))
    filters = kinds[kind] + 0.7 * rng.standard_normal((N, SIZE))
    if shuffled:
        filters = rng.permuted(filters, axis=1)
    gain = np.exp(0.5 * rng.standard_normal((N, 1)))
    model = nn.Sequential(nn.Linear(SIZE, N), nn.Softplus())
    model[0].weight.data = torch.tensor(gain * filters / SIZE**0.5, dtype=torch.float32)
    model[0].bias.data = -torch.tensor(rng.random(N), dtype=torch.float32)
    return nissl.load(model), kind, kinds


def found(net, n_clusters=3, inputs=INPUTS, **options):
    options = {"ascent": Ascent(steps=15), "progress": False} | options
    return discriminative_stimuli(net, "1", inputs, n_clusters, **options)


def test_planted_types_are_recovered_and_their_stimuli_drive_them():
    net, kind, kinds = population()
    types = found(net)
    table = types.table
    assert adjusted_rand_score(kind, table["cluster"]) > 0.9
    held = table["held_out"].to_numpy()
    assert adjusted_rand_score(kind[held], table["cluster"][held]) > 0.9
    assert held.sum() == N / 3
    for cluster, stimulus in enumerate(types.synthesis.stimuli):
        own = kinds[np.bincount(kind[table["cluster"] == cluster]).argmax()]
        assert np.corrcoef(stimulus, own)[0, 1] > 0.5
    # Margins by hand: responses of every unit to every stimulus, over those to the inputs.
    r = net.run(torch.tensor(types.synthesis.stimuli), sites="1")["1"].numpy()
    base = net.run(torch.tensor(INPUTS), sites="1")["1"].numpy()
    r = np.sort((r - base.mean(axis=0)) / base.std(axis=0, ddof=1), axis=0)
    np.testing.assert_allclose(table["margin"], r[-1] - r[-2], rtol=1e-3, atol=1e-3)
    assert types.score == pytest.approx(table["margin"][held].mean())
    assert len(types.plot().axes) >= 4


def test_one_type_or_shuffled_filters_have_no_more_structure_than_the_null():
    null = [found(population(shuffled=True, seed=s)[0], seed=s).score for s in range(3)]
    one = [found(population(1, seed=s)[0], seed=s).score for s in range(2)]
    assert found(population(seed=7)[0]).score > 2 * max(null)
    assert max(one) < 2 * max(null)


def test_the_score_falls_beyond_the_true_number():
    net, *_ = population()
    scores = {k: found(net, k).score for k in (3, 6)}
    assert scores[3] > scores[6]


def test_the_objective_is_that_of_the_paper():
    rng = torch.Generator().manual_seed(0)
    x, shift = torch.randn(5, generator=rng), torch.zeros(5)
    groups = torch.rand(5, 3, generator=rng)
    means = x @ groups
    for k in range(3):
        direct = means[k] - means.logsumexp(0) + np.log(3)
        torch.testing.assert_close(_contrast(groups, shift, k, x), direct)
    maps = x.expand(2, 4, 5)
    torch.testing.assert_close(_contrast(groups, shift, 0, maps), _contrast(groups, shift, 0, x))


def test_the_same_seed_gives_the_same_bytes_and_places_are_meant():
    conv = nissl.load(nn.Sequential(nn.Conv1d(1, 12, 5), nn.Softplus()))
    inputs = np.asfortranarray(INPUTS[:, None].astype(float))
    one, two = (found(conv, 2, inputs, seed=3) for _ in "ab")
    assert one.synthesis.stimuli.tobytes() == two.synthesis.stimuli.tobytes()
    assert one.responses.shape == (len(one.synthesis.stimuli), 12)


def test_a_model_that_reads_time_first_gives_what_one_that_reads_it_second_does():
    torch.manual_seed(0)
    second, first = (nn.Sequential(nn.GRU(2, 9, batch_first=order)) for order in (True, False))
    first.load_state_dict(second.state_dict())
    series = INPUTS[:, :20].reshape(24, 10, 2)
    options = {"ascent": Ascent(steps=3), "progress": False}
    one, two = (
        discriminative_stimuli(nissl.load(model), "0", series, 2, **options)
        for model in (second, first)
    )
    np.testing.assert_allclose(one.responses, two.responses, rtol=1e-3, atol=1e-3)


def test_units_that_are_alike_are_one_cluster():
    net, *_ = population()
    net.model[0].weight.data[:] = net.model[0].weight.data[:1]
    net.model[0].bias.data[:] = 0
    types = found(net)
    assert types.table["cluster"].nunique() == len(types.synthesis.stimuli) == 1
    assert types.score == 0


@pytest.mark.parametrize(
    ("n_clusters", "inputs", "options", "match"),
    [
        (1, INPUTS, {}, "1 clusters"),
        (0, INPUTS, {}, "0 clusters"),
        (13, INPUTS, {}, "13 clusters of 24 units"),
        (3, INPUTS[:2], {}, "2 inputs"),
        (3, np.zeros((9, SIZE)), {}, "constant"),
        (3, np.full((9, SIZE), np.nan), {}, "finite"),
        (3, INPUTS, {"temperature": 0}, "temperature"),
    ],
)
def test_refused(n_clusters, inputs, options, match):
    with pytest.raises(NisslError, match=match):
        found(population()[0], n_clusters, inputs, **options)
