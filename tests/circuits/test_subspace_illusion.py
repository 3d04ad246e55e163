"""The subspace patching illusion: a planted dormant pathway is flagged, a true subspace is not."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour
from nissl.circuits import subspace_illusion
from nissl.network import patch
from nissl.statistics import Test
from tiny import ids, tiny

QUIET = {"progress": False}
DORMANT, BLIND, TRUE = torch.eye(4)[:3]  # read and constant; varies and unread; varies and read


def planted(*, feature=1.0, seed=0, n=12):
    """Hidden units of which one is read and constant, one unread, one read and one noise."""
    first, last = nn.Linear(2, 4, bias=False), nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [1, 0], [0, 1]]))
        last.weight.copy_(torch.tensor([[2.0, 0, 1, 0.1], [-2, 0, -1, 0], [1, 0, 0, 0]]))
    net = nissl.load(nn.Sequential(first, last).double())
    generator = torch.Generator().manual_seed(seed)
    clean, corrupted = torch.randn(2, n, 2, generator=generator, dtype=torch.float64)
    clean[:, 0] += 3 * feature
    corrupted[:, 0] -= 3 * feature
    return Behaviour(net, clean, corrupted, right=[0] * n, wrong=[1] * n)


def found(direction, pairs, **options):
    reads = pairs.net.model[1].weight.T
    return subspace_illusion(
        pairs, "0", direction, reads=reads, positions=None, **{**QUIET, **options}
    )


def test_a_dormant_pathway_is_flagged_and_a_true_subspace_is_not():
    pairs = planted()
    illusion, true = found(DORMANT + BLIND, pairs), found(TRUE, pairs)
    assert illusion.provenance["verdict"] == "illusion"
    assert true.provenance["verdict"] == "no illusion"
    rows = illusion.table.set_index("unit")
    assert rows["restored"][["row space", "null space"]].tolist() == pytest.approx([0, 0], abs=1e-9)
    # Half of the change of the blind unit goes to the dormant one, which is read twice as much.
    assert rows["restored"]["whole"] == pytest.approx(1.0, abs=0.02)
    assert rows["activity"][["row space", "null space"]].tolist() == pytest.approx([0, 1])
    assert rows["norm"][["row space", "null space"]].tolist() == pytest.approx([0.5, 0.5])
    assert true.table.set_index("unit")["norm"]["row space"] == pytest.approx(1)
    # A true subspace that drags an unread unit with it is true.
    assert found(TRUE + 0.5 * BLIND, pairs).provenance["verdict"] == "no illusion"
    assert found(BLIND, pairs).provenance["verdict"] == "dormant"


def test_the_level_is_that_of_the_test():
    """Where the feature has no side, nothing is found: false positives over 40 draws."""
    false = 0
    for seed in range(40):
        pairs = planted(feature=0.0, seed=seed)
        each = found(DORMANT + BLIND, pairs, test=Test(n_permutations=99, seed=seed))
        false += each.provenance["verdict"] != "dormant"
    assert false <= 6  # 0.05: above it in one of 100 runs


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "gemma3_text", "opt"])
def test_nothing_sees_the_null_space_of_an_mlp(name):
    """In every family; and parts equal a slow form, with each pair and position by hand."""
    site, n, rng = "blocks.1.mlp.neurons", 8, np.random.default_rng(0)
    net = nissl.load(tiny(name))
    clean = [rng.integers(3, 40, 5 + i % 2) for i in range(n)]
    corrupted = [np.where(np.arange(len(row)) == 2, (row + 5) % 37 + 3, row) for row in clean]
    pairs = Behaviour(net, clean, corrupted, right=[5] * n, wrong=[9] * n)
    weights = net.output_weights(site)
    width = len(weights)
    assert torch.linalg.matrix_rank(weights) == 16 < width
    direction = torch.randn(width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table = subspace_illusion(pairs, site, direction, positions=-2, batch_size=3, **QUIET).table
    rows = table.set_index("unit")
    assert abs(rows["restored"]["null space"]) < 1e-5
    assert rows["activity"][["row space", "null space"]].sum() == pytest.approx(1)
    row = weights @ torch.linalg.pinv(weights) @ direction
    for unit, v in (("whole", direction), ("row space", row)):
        change = []
        for i in range(n):
            given = net.run([clean[i].tolist()], sites=site)[site][0, -2]

            def forced(module, args, given=given, v=v):
                x = args[0].clone()
                flat = x.view(1, -1, len(v))
                flat[0, -2] += (given - flat[0, -2]) @ v / (v @ v) * v
                return (x,)

            module = net.model.get_submodule(net.find(site)[0].hook_point.path)
            handle = module.register_forward_pre_hook(forced)
            with torch.no_grad():
                logits = net.model(torch.as_tensor(corrupted[i])[None]).logits[0, -1]
            handle.remove()
            change.append(float(logits[5] - logits[9] - pairs.corrupted_value[i]))
        total = float((pairs.clean_value - pairs.corrupted_value).mean())
        assert rows["restored"][unit] == pytest.approx(np.mean(change) / total, abs=1e-6)


def test_a_patch_along_all_directions_is_a_patch_and_along_some_keeps_the_rest():
    net, site = nissl.load(tiny("llama")), "blocks.1.resid_post"
    x = ids(2, 5)
    given, plain = net.run(ids(2, 5, seed=1), sites=site), net.run(x, sites=site)[site]
    basis = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0]
    with net.edit(patch(given, directions=basis)):
        torch.testing.assert_close(net.run(x, sites=site)[site], given[site], atol=1e-9, rtol=0)
    direction = basis[0].clone().requires_grad_()
    with net.edit(patch(given, positions=-1, directions=3 * direction)):
        new = net.run(x, sites=site)[site]
        net.model(x).logits[:, -1].square().sum().backward()
    torch.testing.assert_close(new[:, -1] @ basis[0], given[site][:, -1] @ basis[0])
    torch.testing.assert_close(new[:, -1] @ basis[1:].T, plain[:, -1] @ basis[1:].T)
    assert torch.equal(new[:, :-1], plain[:, :-1])
    assert direction.grad.norm() > 0
    assert abs(direction.grad @ basis[0]) < 1e-6 * direction.grad.norm()  # its length is nothing


def test_what_cannot_be_is_said():
    pairs = planted()
    with pytest.raises(NisslError, match="no weights are known"):
        subspace_illusion(pairs, "0", TRUE, positions=None, **QUIET)
    with pytest.raises(NisslError, match="a row for each unit"):
        found(torch.ones(3), pairs)
    with pytest.raises(NisslError, match="nothing differs"):
        found(DORMANT, pairs)
    with pytest.raises(NisslError, match="6 pairs"):
        found(TRUE, planted(n=6))
