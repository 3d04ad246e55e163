"""Transcoder: a planted sparse MLP is found and put in its place, and no MLP is where none is."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import nissl
from nissl.features import Schedule
from nissl.network import LinearDictionary
from nissl.specimens.planted import planted_circuit
from nissl.training import next_token_loss, small_language_model, train

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "transcoder.py"
TOKENS, SITES = 24, ["model.layers.0.mlp:in", "blocks.0.mlp.out"]
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def script():
    found = runpy.run_path(str(SCRIPT))
    how = Schedule(samples=150 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    given = found["compared"].__globals__
    given |= {"HOW": {"n_features": 48, "k": 4, "schedule": how, **QUIET}, "SEEDS": (0,)}
    return found


def walks(step):
    """Return tokens that are followed by those of a permutation, nine times of ten."""
    after, rng = np.random.default_rng(0).permutation(TOKENS), np.random.default_rng((1, step))
    rows = [rng.integers(0, TOKENS, 32)]
    for _ in range(11):
        rows.append(np.where(rng.random(32) < 0.9, after[rows[-1]], rng.integers(0, TOKENS, 32)))
    return (torch.from_numpy(np.stack(rows, axis=1)),)


@pytest.fixture(scope="module")
def trained():
    """A network whose MLP knows a permutation, activity around it, and other texts."""
    sizes = {"vocabulary": TOKENS, "d_model": 16, "n_layers": 1, "n_heads": 2, "context": 12}
    model = small_language_model(d_mlp=32, **sizes)
    how = {"steps": 150, "learning_rate": 1e-2, "cache": False, **QUIET}
    net = nissl.load(train(model, walks, loss=next_token_loss, **how).model, **QUIET)
    learn = np.concatenate([walks(1000 + i)[0] for i in range(8)]).tolist()
    both = nissl.record(net, learn, sites=SITES, **QUIET)
    return net, [both[:, both["site"].values == site] for site in SITES], walks(2000)[0].tolist()


def test_a_transcoder_stands_in_for_the_mlp(script, trained):
    net, (given, written), held_out = trained
    tables = script["compared"](given, written, net, held_out)
    assert set(tables) == {"transcoder", "sae"}
    assert tables["sae"].loc["0", "recovered"] > 0.8
    mine = tables["transcoder"]
    assert mine.loc["0", "recovered"] > max(0.8, mine.loc["random", "recovered"] + 0.1)
    assert mine.loc["0", "explained"] > 0.7


def test_of_inputs_that_belong_to_other_outputs_nothing_is_found(script, trained):
    net, (given, written), held_out = trained
    mixed = given.copy(data=np.random.default_rng(0).permutation(given.values))
    table = script["compared"](mixed, written, net, held_out)["transcoder"]
    assert abs(table.loc["0", "recovered"]) < 0.2
    assert table.loc["0", "explained"] < 0.1


@pytest.mark.parametrize("variant", ["planted", "zeroed", "untrained"])
def test_weights_alone_name_the_word_that_a_planted_head_brings(script, variant):
    model = planted_circuit("induction", variant).module
    words = model.lm_head.weight[3:19] / model.model.layers[1].post_attention_layernorm.weight
    zero = torch.zeros(len(words))
    features = LinearDictionary("embed", words.T.detach(), zero, words.detach(), 0 * words[0])
    found = script["through_attention"](model, 1, features)
    slow = sum(
        (words[2] * model.model.layers[1].post_attention_layernorm.weight)
        @ model.model.layers[1].self_attn.o_proj.weight[:, head]
        @ model.model.layers[1].self_attn.v_proj.weight[head]
        @ (model.model.embed_tokens.weight[7] * model.model.layers[1].input_layernorm.weight)
        for head in (slice(32 * h, 32 * h + 32) for h in range(8))
    )
    assert found[2, 7] == pytest.approx(float(slow.detach()), abs=1e-4)
    named = (found[:, 3:19].argmax(1) == np.arange(16)).mean()
    assert named == 1 if variant == "planted" else named < 0.3
