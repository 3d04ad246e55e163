"""Attention-output SAE: heads of several roles, of one role, and of no features of their own."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

import nissl
from nissl.network import LinearDictionary
from nissl.training import small_language_model

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "attention_output_sae.py"
HEADS, EACH, ROLES = 8, 20, 80


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def planted(script, roles):
    """Features of heads, the share that each head has in them, and when they are active."""
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal((ROLES, 16)).astype(np.float32)
    tokens = rng.integers(0, ROLES, 8000)
    active = (tokens[:, None] == roles) & (rng.random((8000, len(roles))) < 0.5)
    profile, n = script["profiles"](csr_matrix(active.astype(np.float32)), tokens, embedding)
    assert n.tolist() == active.sum(0).tolist()
    slow = np.array([embedding[tokens[on]].mean(0) for on in active.T])
    slow -= slow.mean(0)
    assert profile == pytest.approx(slow / np.linalg.norm(slow, axis=1)[:, None], abs=1e-4)
    return profile, script["limit_of"](profile)


def shares(own):
    made = np.full((HEADS * EACH, HEADS), (1 - own) / (HEADS - 1))
    made[np.arange(HEADS * EACH), np.arange(HEADS * EACH) % HEADS] = own
    return made


def test_heads_of_several_roles_are_polysemantic(script):
    roles = np.random.default_rng(1).integers(0, ROLES, HEADS * EACH)
    profile, limit = planted(script, roles)
    assert script["polysemantic"](shares(0.9), profile, limit)[0].all()
    assert not script["polysemantic"](shares(0.4), profile, limit)[0].any()  # no head's own


def test_heads_of_one_role_are_not(script):
    roles = np.random.default_rng(1).integers(0, ROLES, HEADS * EACH)
    roles[::HEADS] = 7  # the first head's
    profile, limit = planted(script, roles)
    found, related = script["polysemantic"](shares(0.9), profile, limit)
    assert found.tolist() == [False] + [True] * 7
    assert related[0] == 1


def test_features_that_are_units_are_their_heads_own(script, monkeypatch, tmp_path):
    def units(acts, **_):
        site, eye = str(acts["site"].values[0]), torch.eye(32)
        return LinearDictionary(site, eye, torch.zeros(32), eye, torch.zeros(32))

    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    monkeypatch.setitem(script["learned"].__globals__, "sae", units)
    sizes = {"vocabulary": 60, "d_model": 32, "n_heads": 4, "d_mlp": 16, "context": 256}
    net, rng = nissl.load(small_language_model(**sizes), progress=False), np.random.default_rng(0)
    texts = [rng.integers(0, 60, 40).tolist() for _ in range(60)]
    for site in ("blocks.1.attn.z", "blocks.3.attn.z"):
        shares, null, profile, other, _, n = script["learned"](net, texts, site, "", 10_000)
        assert n == 60 * 40
        assert len(null) == len(profile) == len(other) == 32
        assert shares == pytest.approx(np.repeat(np.eye(4), 8, axis=0))
        assert null.max(1) == pytest.approx(1)
        assert (null.argmax(1) != shares.argmax(1)).any()
