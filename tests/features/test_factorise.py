"""Factorisations: planted directions are found, none in noise, and sklearn's are decoded alike."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import NMF, PCA, FastICA
from torch import nn

from nissl import NisslError
from nissl.features import factorise
from nissl.network import Dictionary, Network, clamp
from nissl.recording import as_recording

UNITS, PARTS, N = 40, 6, 1500
METHODS = ("pca", "ica", "nmf", "snmf", "kmeans")


def recording(x, **samples):
    return as_recording(x.astype(np.float32), samples=samples, units={"site": ["0"] * x.shape[1]})


@pytest.fixture(scope="module")
def planted():
    """Sparse nonnegative sums of nonnegative parts, which overlap in two units each."""
    rng = np.random.default_rng(0)
    parts = np.zeros((PARTS, UNITS))
    for i, part in enumerate(parts):
        part[i * 6 : i * 6 + 8] = rng.uniform(0.5, 1, 8)
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    sizes = rng.exponential(size=(N, PARTS)) * (rng.random((N, PARTS)) < 0.2)
    return recording(sizes @ parts + 0.01 * rng.random((N, UNITS))), parts, sizes


def cosines(dictionary, truth):
    rows = nn.functional.normalize(dictionary.directions, dim=1).numpy()
    found = np.abs(truth @ rows.T)
    return found[linear_sum_assignment(-found)]


@pytest.mark.parametrize("method", ["ica", "nmf", "snmf"])
def test_planted_parts_are_found(planted, method):
    rec, parts, sizes = planted
    found = factorise(rec, method=method, n_features=PARTS)
    assert isinstance(found, Dictionary)
    assert (found.site_in, found.name) == ("0", method)
    assert (cosines(found, parts) > 0.95).all()
    x = torch.from_numpy(rec.values)
    code = found.encode(x)
    assert float((x - found.decode(code)).square().sum() / x.square().sum()) < 0.01
    if method != "ica":
        assert bool((code >= 0).all())
    used = np.abs(np.corrcoef(code.numpy().T, sizes.T)[:PARTS, PARTS:])
    assert (used[linear_sum_assignment(-used)] > 0.95).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_found_in_noise(method):
    rng = np.random.default_rng(1)
    drawn = rng.standard_normal((201, PARTS, UNITS))
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    noise = rng.standard_normal((N, UNITS))
    noise = np.abs(noise) if method == "nmf" else noise
    found = cosines(factorise(recording(noise), method=method, n_features=PARTS), drawn[0]).mean()
    null = [
        np.abs(drawn[0] @ d.T)[linear_sum_assignment(-np.abs(drawn[0] @ d.T))].mean()
        for d in drawn[1:]
    ]
    assert found < np.quantile(null, 0.995)


def test_it_is_that_of_scikit_learn(planted):
    rec, x = planted[0], torch.from_numpy(planted[0].values)
    pca = PCA(4).fit(rec.values)
    found = factorise(rec, method="pca", n_features=4)
    assert np.allclose(found.encode(x), pca.transform(rec.values), atol=1e-4)
    rebuilt = pca.inverse_transform(pca.transform(rec.values))
    assert np.allclose(found.decode(found.encode(x)), rebuilt, atol=1e-4)
    ica = FastICA(4, whiten="unit-variance", random_state=3).fit(rec.values)
    found = factorise(rec, method="ica", n_features=4, seed=3)
    assert np.allclose(found.encode(x), ica.transform(rec.values), atol=1e-3)
    rebuilt = ica.inverse_transform(ica.transform(rec.values))
    assert np.allclose(found.decode(found.encode(x)), rebuilt, atol=1e-3)
    nmf = NMF(4, init="nndsvda", random_state=0).fit(rec.values)
    found = factorise(rec, method="nmf", n_features=4)
    assert np.allclose(found.encode(x), nmf.transform(rec.values), atol=5e-3)


def test_kmeans_decodes_to_the_nearest_centre(planted):
    x = planted[0].values
    found = factorise(planted[0], method="kmeans", n_features=50)  # more than units
    code = found.encode(torch.from_numpy(x))
    near = ((x[:, None] - found.directions.numpy()) ** 2).sum(2).argmin(1)
    assert torch.equal(code, torch.eye(50)[near])
    assert np.array_equal(found.decode(code), found.directions[near])


def test_difference_of_means_is_where_a_label_lies():
    rng = np.random.default_rng(2)
    words = np.array(["bird", "cat", "dog"])[rng.integers(0, 3, 600)]
    centre = {"bird": 2 * np.eye(UNITS)[0], "cat": 3 * np.eye(UNITS)[1], "dog": np.zeros(UNITS)}
    x = np.stack([centre[w] for w in words]) + 0.1 * rng.standard_normal((600, UNITS))
    rec = recording(x, animal=list(words))
    found = factorise(rec, method="difference", labels="animal")
    slow = x[words == "cat"].mean(0) - x[words != "cat"].mean(0)
    assert np.allclose(found.directions[1], slow, atol=1e-5)
    code = found.encode(torch.from_numpy(rec.values)).numpy()[:, 1]
    gap = code[words == "cat"].mean() - code[words != "cat"].mean()
    assert gap == pytest.approx(1, abs=1e-4)
    net = Network(nn.Sequential(nn.Identity(), nn.Identity())).with_dictionary(found)
    at = torch.zeros(1, UNITS)
    with net.edit(clamp("0.difference[1]", to=float(found.encode(at)[0, 1]) + 1)):
        assert torch.allclose(net.model(at)[0], found.directions[1], atol=1e-5)


def test_the_same_seed_gives_the_same(planted):
    one, two = (factorise(planted[0], method="snmf", n_features=3, seed=5) for _ in range(2))
    assert torch.equal(one.w_dec, two.w_dec)


def test_errors(planted):
    rec = planted[0]
    bad = rec.copy(deep=True)
    bad[0, 0] = np.nan
    two = as_recording(rec.values, units={"site": ["0"] * 20 + ["1"] * 20})
    for given, how, said in (
        (bad, {"n_features": 2}, "not finite"),
        (rec - 1, {"method": "nmf", "n_features": 2}, "negative"),
        (rec, {"n_features": UNITS + 1}, "give 1 to 40"),
        (rec, {"method": "snmf", "n_features": UNITS + 1}, "give 1 to 40"),
        (rec, {}, "0 features"),
        (rec, {"method": "difference"}, "labels="),
        (rec, {"method": "difference", "labels": "nothing"}, "nothing"),
        (
            rec.assign_coords(a=("sample", ["x"] * N)),
            {"method": "difference", "labels": "a"},
            "1 l",
        ),
        (rec, {"method": "snmf", "n_features": 2, "kept": 0}, "kept=0"),
        (rec, {"method": "svd", "n_features": 2}, "svd"),
        (two, {"n_features": 2}, "2 sites"),
        (0 * rec, {"n_features": 2}, "not vary"),
        (rec * ([1.0] + [0.0] * (UNITS - 1)), {"method": "ica", "n_features": 2}, "fewer"),
    ):
        with pytest.raises(NisslError, match=said):
            factorise(given, **how)
