"""What is kept of sparse activity, against the obvious."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import threshold, top_k
from tiny import ids, tiny

SITE = "blocks.1.mlp.neurons"


def before_and_after(edit, *, dtype=torch.float64):
    net, x = nissl.load(tiny("llama", dtype=dtype)), ids()
    plain = net.run(x, sites=SITE)[SITE]
    with net.edit(edit):
        return plain, net.run(x, sites=SITE)[SITE]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_values_above_their_thresholds_are_kept(dtype):
    above = torch.linspace(0, 2, 24)
    plain, found = before_and_after(threshold(sites=SITE, above={SITE: above}), dtype=dtype)
    kept = plain.float().abs() > above
    assert 0 < kept.float().mean() < 1
    assert torch.equal(found, plain * kept)
    _, all_of_it = before_and_after(threshold(sites=SITE, above=-1.0), dtype=dtype)
    assert torch.equal(all_of_it, plain)


def test_chosen_units_alone_are_thresholded():
    plain, found = before_and_after(threshold([f"{SITE}[3]", f"{SITE}[5]"], above=1e9))
    assert (found[..., [3, 5]] == 0).all()
    others = [i for i in range(24) if i not in (3, 5)]
    assert torch.equal(found[..., others], plain[..., others])


def test_the_largest_are_kept():
    plain, found = before_and_after(top_k(sites=SITE, k=5))
    for before, after in zip(plain.flatten(0, 1), found.flatten(0, 1), strict=True):
        largest = sorted(range(24), key=lambda i: -abs(float(before[i])))[:5]
        assert set(after.nonzero().flatten().tolist()) == set(largest)
        assert torch.equal(after[largest], before[largest])


def test_bad_input_is_refused():
    with pytest.raises(NisslError, match="keeps nothing"):
        top_k(sites=SITE, k=0)
    with pytest.raises(NisslError, match="k=25, but there are 24 units"):
        before_and_after(top_k(sites=SITE, k=25))
    with pytest.raises(NisslError, match="either units or sites"):
        threshold(above=1.0)
