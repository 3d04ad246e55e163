"""The barrier: a height known by hand, statistics anew, and refusals."""

import numpy as np
import pytest
import torch
from torch import nn

from nissl import NisslError
from nissl.behaviour import barrier
from permutable import made


def line(value):
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(value)
    return model


def test_a_height_known_by_hand():
    found = barrier(
        line(0), line(2), lambda m: (m.weight.item() - 1) ** 2 * -3 + m.weight.item(), n=5
    )
    assert found.height == pytest.approx(3)  # over the slope between the ends, which is no barrier
    assert found.table["excess"].iloc[[0, -1]].tolist() == [0, 0]
    assert found.table["share"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert barrier(line(0), line(2), lambda m: m.weight.item() ** 2).height == 0
    axes = found.plot()
    assert np.array_equal(axes.lines[0].get_ydata(), found.table["loss"])


def test_statistics_of_batch_norms_are_those_of_the_network_between():
    (a, x), (b, _) = made("residual"), made("residual", seed=1)
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (a, b)]
    seen = []

    def loss(model):
        assert not any(module.training for module in model.modules())
        norm = model[0][1]
        mean = torch.cat([model[0][0](one).detach() for one in (x, -x)]).mean((0, 2, 3))
        seen.append(torch.allclose(norm.running_mean, mean, atol=1e-5))
        return 0.0

    barrier(a, b, loss, n=3, statistics=[x, -x])
    assert seen == [True] * 3
    barrier(a, b, loss, n=3)
    assert seen[3:] == [False] * 3
    for model, state in zip((a, b), before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_bad_input_is_refused():
    with pytest.raises(NisslError, match="n=3 or more"):
        barrier(line(0), line(1), float, n=2)
    with pytest.raises(NisslError, match="the loss is not finite"):
        barrier(line(0), line(1), lambda m: np.nan)
    with pytest.raises(NisslError, match="one architecture"):
        barrier(line(0), nn.Linear(2, 1, bias=False), lambda m: 0)
