"""Classes of gated neurons: planted, against a slow oracle, and nothing in random weights."""

import numpy as np
import pytest
import torch

from nissl.errors import NisslError, UnknownName
from nissl.network import Network
from nissl.network.sites.weights import folded_unembedding, folded_weights
from nissl.selectivity import gated_class_shares, gated_function
from nissl.selectivity.gated_classes import GATED_CLASSES, gated_classes
from nissl.statistics import Test
from nissl.statistics.calibration import rate
from tiny import tiny

SITE = "blocks.1.mlp.neurons"


def parts(net, layer=1):
    """The MLP of a block and the scale of the norm before it."""
    block = net.model.model.layers[layer]
    scale = getattr(block, "pre_feedforward_layernorm", block.post_attention_layernorm).weight
    one = 1.0 if hasattr(block, "pre_feedforward_layernorm") else 0.0
    return block.mlp, one + scale.detach()


def plant(net, unit, direction, *, gate, sign, noise=0.05, seed=0):
    """Make a neuron read a direction of the stream and write it, or its negative."""
    mlp, scale = parts(net)
    rng = torch.Generator().manual_seed(seed)

    def near(x):
        return x + noise * x.norm() * torch.randn(x.shape, generator=rng, dtype=x.dtype)

    with torch.no_grad():
        mlp.up_proj.weight[unit] = near(direction) / scale
        mlp.gate_proj.weight[unit] = near(gate) / scale
        mlp.down_proj.weight[:, unit] = sign * near(direction)


def wide(name="llama"):
    """A random network of two layers, whose directions are many enough to be far apart."""
    options = {"hidden_size": 64, "intermediate_size": 300, "num_hidden_layers": 2}
    return Network(tiny(name, **options), name="wide")


def test_planted_neurons_are_found_and_named():
    net = wide()
    basis = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))[0]
    plant(net, 3, basis[0], gate=basis[0], sign=1)
    plant(net, 5, basis[1], gate=basis[2], sign=1)
    plant(net, 7, basis[3], gate=basis[4], sign=-1)
    plant(net, 9, basis[5], gate=-basis[5], sign=-1)
    found = gated_function(net, progress=False)
    table = found.table.set_index("unit")
    expected = {
        3: "enrichment",
        5: "conditional enrichment",
        7: "conditional depletion",
        9: "depletion",
    }
    # The gate of 9 is the negative of what it reads, and what it writes as well.
    for unit, name in expected.items():
        assert table.loc[f"{SITE}[{unit}]", "gated_class"] == name
    assert set(found.significant(q=0.01).units) == {f"{SITE}[{unit}]" for unit in expected}
    rest = table.drop([f"{SITE}[{unit}]" for unit in expected])
    assert (rest["gated_class"] == "orthogonal output").all()
    assert (table["mismatched_class"] == "orthogonal output").mean() > 0.99
    shares = gated_class_shares(found)
    assert shares.loc[1, "enrichment"] == 1 / 300
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_random_weights_hold_nothing():
    p = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = wide()
        with torch.no_grad():
            for parameter in net.model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_()
        found = gated_function(net, test=Test(correction="bh", seed=seed), progress=False).table
        p.append(found["p"].to_numpy())
        assert found["q"].min() > 0.05
        assert set(found["gated_class"]) == {"orthogonal output"}
    assert rate(np.concatenate(p)).holds
    assert rate(np.concatenate(p), alpha=0.01).holds


@pytest.mark.parametrize(
    ("name", "fold"), [("llama", "before"), ("gemma3_text", "before"), ("gemma3_text", "both")]
)
def test_cosines_are_those_of_weights_as_the_stream_meets_them(name, fold):
    net = Network(tiny(name), name=name)
    found = gated_function(net, fold=fold, progress=False).table
    for layer in range(3):
        mlp, scale = parts(net, layer)
        block = net.model.model.layers[layer]
        after = getattr(block, "post_feedforward_layernorm", None) if fold == "both" else None
        for unit in range(0, 24, 5):
            read = (mlp.up_proj.weight[unit] * scale).detach().numpy()
            gate = (mlp.gate_proj.weight[unit] * scale).detach().numpy()
            write = mlp.down_proj.weight[:, unit].detach()
            write = (write if after is None else write * (1 + after.weight)).detach().numpy()
            row = found[(found["layer"] == layer) & (found["index"] == unit)].iloc[0]
            for column, a, b in (
                ("cos_in_out", read, write),
                ("cos_gate_out", gate, write),
                ("cos_gate_in", gate, read),
            ):
                expected = a @ b / np.sqrt((a @ a) * (b @ b))
                np.testing.assert_allclose(row[column], expected, atol=1e-5)


def test_folded_unembedding_reads_the_stream_as_the_head_does():
    net = Network(tiny("gemma3_text"))
    scale = 1 + net.model.model.norm.weight.detach()
    expected = net.model.lm_head.weight.detach() * scale
    found = folded_unembedding(net)
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # A layer norm sees no constant, so weights behind it see none either.
    folded = folded_weights(Network(tiny("gpt2")), "blocks.0.mlp.neurons")
    assert folded.gate is None
    np.testing.assert_allclose(folded.read.sum(dim=1), 0, atol=1e-4)


def by_hand(to_out, gate_out, gate_in, threshold):
    """The table of classes, case by case."""

    def near(c):
        return 1 if c > threshold else -1 if c < -threshold else 0

    out, gate, both = near(to_out), near(gate_out), near(gate_in)
    if out == 0 and gate == 0:
        return "orthogonal output"
    if out == 0:
        return "proportional change" if both == 0 else "atypical proportional change"
    name = "enrichment" if out == 1 else "depletion"
    if gate == 0:
        name = f"conditional {name}"
    return name if both == out * gate else f"atypical {name}"


def test_classes_follow_the_table():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (3, 3000))
    found = gated_classes(*cosines, threshold=0.4)
    assert found.tolist() == [by_hand(*c, 0.4) for c in cosines.T]
    assert set(found) == set(GATED_CLASSES)
    # Turning input and output weights round together changes nothing of the neuron.
    to_out, gate_out, gate_in = cosines
    assert (gated_classes(to_out, -gate_out, -gate_in, threshold=0.4) == found).all()


def test_neurons_without_weights_are_marked():
    net = wide()
    with torch.no_grad():
        parts(net)[0].down_proj.weight[:, 11] = 0
    table = gated_function(net, progress=False).table.set_index("unit")
    row = table.loc[f"{SITE}[11]"]
    assert (row["p"], row["q"], row["gated_class"]) == (1, 1, "no weights")
    assert "zero" in row["note"]
    assert not table.isna().any().any()


def test_the_same_seed_gives_the_same_finding():
    first = gated_function(wide(), test=Test(correction="bh", seed=4), progress=False).table
    assert first.equals(
        gated_function(wide(), test=Test(correction="bh", seed=4), progress=False).table
    )


def test_what_cannot_be_classed_is_refused():
    with pytest.raises(NisslError, match="have no gate"):
        gated_function(Network(tiny("gpt2")), progress=False)
    with pytest.raises(NisslError, match="no weights are known"):
        gated_function(Network(tiny("llama")), sites="resid_post", progress=False)
    with pytest.raises(NisslError, match="too few"):
        gated_function(Network(tiny("llama", intermediate_size=2)), progress=False)
    with pytest.raises(NisslError, match="cannot lie beyond"):
        gated_function(Network(tiny("llama")), threshold=1.5, progress=False)
    with pytest.raises(NisslError, match="correction='max' is not what this test can do"):
        gated_function(Network(tiny("llama")), test=Test(correction="max"), progress=False)
    with pytest.raises(UnknownName):
        gated_function(Network(tiny("llama")), fold="after", progress=False)
    found = gated_function(Network(tiny("llama")), progress=False)
    with pytest.raises(UnknownName, match="mismatched_clas"):
        gated_class_shares(found, column="mismatched_clas")
