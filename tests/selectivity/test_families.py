"""Units are sorted by the label that explains them; weights are described as they are."""

import numpy as np
import pytest
import scipy.stats

import nissl
from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.selectivity import families, weight_signature
from tiny import tiny


@pytest.fixture
def labelled():
    rng = np.random.default_rng(0)
    letter, place = rng.integers(0, 4, 600), rng.integers(0, 10, 600)
    values = rng.standard_normal((600, 30))
    values[:, 3] += 3 * (letter == 2)
    values[:, 8] -= 0.6 * place
    values[:, 9] = 1.0
    names = np.asarray(list("ACGT"))[letter]
    return as_recording(
        values, samples={"letter": names, "place": place, "time": np.arange(600) / 7}
    )


def test_each_unit_is_of_what_it_responds_to(labelled):
    found = families(labelled, labels=["letter", "place"])
    assert found["family"].value_counts().to_dict() == {"other": 28, "letter": 1, "place": 1}
    assert found["family"][3] == "letter"
    assert found["family"][8] == "place"
    # Without groups nothing is explained, whatever their number.
    assert abs(found[["letter", "place"]].drop([3, 8]).to_numpy().mean()) < 0.003
    assert not found.isna().any().any()


def test_samples_without_a_label_are_left_out(labelled):
    codes = labelled["place"].values.copy()
    codes[:300] = -1
    rec = labelled.assign_coords(place=("sample", codes))
    half = families(labelled[300:], labels=["place"])
    np.testing.assert_allclose(families(rec, labels=["place"])["place"], half["place"])


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("leter", "did you mean 'letter'"),
        ("time", "holds float64"),
        ("one", "1 values"),
        ("each", "600 values"),
    ],
)
def test_what_cannot_be_is_refused(labelled, label, message):
    rec = labelled.assign_coords(
        one=("sample", np.zeros(600, int)), each=("sample", np.arange(600))
    )
    with pytest.raises(NisslError, match=message):
        families(rec, labels=[label])


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_weights_are_described_as_they_are(name):
    net = nissl.load(tiny(name))
    found = weight_signature(net)
    assert len(found) == net.sites("mlp.neurons")["width"].sum()
    row = found.set_index("unit").loc["blocks.1.mlp.neurons[5]"]
    read = net.input_weights("blocks.1.mlp.neurons")[5].detach().numpy()
    write = net.output_weights("blocks.1.mlp.neurons")[5].detach().numpy()
    logits = net.unembedding.detach().numpy() @ write
    assert row["input_norm"] == pytest.approx(np.linalg.norm(read), rel=1e-5)
    assert row["output_norm"] == pytest.approx(np.linalg.norm(write), rel=1e-5)
    cosine = read @ write / np.linalg.norm(read) / np.linalg.norm(write)
    assert row["in_out"] == pytest.approx(cosine, abs=1e-5)
    assert row["vocabulary_variance"] == pytest.approx(logits.var(), rel=1e-4)
    assert row["vocabulary_skew"] == pytest.approx(scipy.stats.skew(logits), rel=1e-3)
    assert row["vocabulary_kurtosis"] == pytest.approx(
        scipy.stats.kurtosis(logits, fisher=False), rel=1e-3
    )
    bias = net.block(1).mlp.c_fc.bias[5].item() if name == "gpt2" else 0
    assert row["bias"] == pytest.approx(bias)
