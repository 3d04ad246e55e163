"""Contrast directions against means by hand, and a direction that was planted."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import contrast_direction
from tiny import tiny

SITE = "blocks.0.resid_post"
POSITIVE, NEGATIVE = [[5, 6, 7], [8, 9], [3, 4, 5, 6]], [[5, 6, 9], [8, 2]]


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("llama"))


@pytest.mark.parametrize("position", [-1, 0, -2])
def test_it_is_the_difference_of_means(net, position):
    def mean(texts):
        rows = [net.run([ids], sites=SITE)[SITE][0, position] for ids in texts]
        return torch.stack(rows).mean(0)

    found = contrast_direction(
        net, POSITIVE, NEGATIVE, sites=SITE, position=position, batch_size=2, progress=False
    )
    torch.testing.assert_close(found, mean(POSITIVE) - mean(NEGATIVE))


def test_added_it_moves_one_mean_to_the_other(net):
    direction = contrast_direction(net, POSITIVE, NEGATIVE, sites=SITE, progress=False)
    with net.edit(nissl.add(sites=SITE, by=-direction)):
        moved = contrast_direction(net, POSITIVE, NEGATIVE, sites=SITE, progress=False)
        torch.testing.assert_close(moved, direction)  # both sides are moved alike
    with net.edit(nissl.add(sites=SITE, by=direction)):
        moved = [net.run([ids], sites=SITE)[SITE][0, -1] for ids in NEGATIVE]
    wanted = [net.run([ids], sites=SITE)[SITE][0, -1] for ids in POSITIVE]
    torch.testing.assert_close(torch.stack(moved).mean(0), torch.stack(wanted).mean(0))


def test_what_has_no_answer_is_refused(net):
    with pytest.raises(NisslError, match="names 3 sites"):
        contrast_direction(net, POSITIVE, NEGATIVE, sites="blocks.*.resid_post")
    with pytest.raises(NisslError, match="no text"):
        contrast_direction(net, POSITIVE, [], sites=SITE)
    with pytest.raises(NisslError, match="none at position -3"):
        contrast_direction(net, POSITIVE, NEGATIVE, sites=SITE, position=-3, progress=False)
