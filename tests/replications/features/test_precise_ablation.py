"""Precise ablation: a feature that does the work is taken alone, units are not, others do none."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour import Behaviour
from nissl.network import LinearDictionary
from nissl.training import small_language_model

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "precise_ablation.py"
SITE, WIDTH = "blocks.0.resid_post", 16


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def planted():
    """A network in which feature 15 says token 15, and one whose tokens say themselves."""
    features = torch.linalg.qr(
        torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    )[0]
    sizes = {"vocabulary": WIDTH, "d_model": WIDTH, "n_layers": 1, "n_heads": 2, "context": 8}
    model = small_language_model(tie_word_embeddings=False, **sizes)
    block, of = model.model.layers[0], torch.arange(WIDTH)
    with torch.no_grad():
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
        said = torch.where(of < 4, 15, torch.where(of < 8, 14, of))
        model.model.embed_tokens.weight.copy_(features + features[said])
        model.lm_head.weight.copy_(features)
    zero, same = torch.zeros(WIDTH), {"activation": lambda x: x}
    spaces = {
        "features": LinearDictionary(SITE, features.T.clone(), zero, features, zero, **same),
        "units": LinearDictionary(SITE, torch.eye(WIDTH), zero, torch.eye(WIDTH), zero, **same),
    }
    net = nissl.load(model, progress=False)
    return {name: net.with_dictionary(space, name=name) for name, space in spaces.items()}


def pairs(net, tokens):
    n = len(tokens)
    wrong = [[i + 4] for i in tokens]
    return Behaviour(net, [[i] for i in tokens], wrong, right=[15] * n, wrong=[14] * n)


OTHERS = [[8, 9, 10, 11], [12, 13, 9, 8]]


def test_one_feature_takes_a_behaviour_and_units_take_more(script, planted):
    found = {}
    for name, seen in planted.items():
        order = script["ranked"](pairs(seen, [0, 1]), f"{SITE}.{name}")
        gone, kl = script["harm"](seen, order, pairs(seen, [2, 3]), OTHERS)
        found[name] = script["at_half"](gone, kl)
        if name == "features":
            assert order[0] == f"{SITE}.features[15]"
            assert gone[0] == pytest.approx(1, abs=1e-5)
    assert found["features"] < 1e-4
    assert found["units"] > 0.05


def test_features_that_do_nothing_for_it_never_take_half(script, planted):
    others = [f"{SITE}.features[{i}]" for i in range(8, 14)]
    gone, kl = script["harm"](planted["features"], others, pairs(planted["features"], [2]), OTHERS)
    assert gone == pytest.approx(0, abs=1e-5)
    assert kl[-1] > 0.1
    assert script["at_half"](gone, kl) == np.inf


def test_half_is_interpolated(script):
    assert script["at_half"](np.array([0.1, 0.4, 0.6]), np.array([0.0, 1.0, 3.0])) == 2
