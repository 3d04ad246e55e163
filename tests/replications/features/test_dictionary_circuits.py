"""Dictionary circuits: the feature that a planted induction head looks for, by contributions."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import nissl
from nissl.network import LinearDictionary
from nissl.specimens.planted import planted_circuit

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "dictionary_circuits.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def planted():
    """A planted induction circuit, and the features that its first head writes: which word was."""
    made = planted_circuit("induction")
    attention = made.module.model.layers[0].self_attn
    rows = slice(32, 64)  # of head 1
    written = attention.o_proj.weight[:, rows] @ attention.v_proj.weight[rows]
    directions = (made.module.model.embed_tokens.weight[3:19] @ written.T).detach()
    w_enc = torch.linalg.pinv(directions)
    return made, LinearDictionary(
        "blocks.0.attn.out", w_enc, torch.zeros(16), directions, torch.zeros(len(w_enc))
    )


def prompts(made, n=12):
    """Return ids of prompts A B ... A, the place of B, and the number of A among the words."""
    for row in made.pairs[:: len(made.pairs) // n].itertuples():
        ids = made.tokenizer(row.text)["input_ids"]
        yield ids, ids.index(ids[-1]) + 1, ids[-1] - 3, made.tokenizer.vocab[row.answer]


def test_the_word_before_is_what_the_score_needs(script, planted):
    made, features = planted
    net = nissl.load(made.module, tokenizer=made.tokenizer, progress=False)
    seen = net.with_dictionary(features)
    for ids, key, word, answer in prompts(made):
        order = script["top_at_key"](net, ids, key, features)
        assert order[0] == f"blocks.0.attn.out.sae[{word}]"
        lost = [script["nats_lost"](seen, ids, answer, [u], key) for u in order[:2]]
        assert lost[0] > 1
        assert lost[0] > 5 * abs(lost[1])


@pytest.mark.parametrize("variant", ["zeroed", "untrained"])
def test_without_the_circuit_it_is_no_more_than_others(script, planted, variant):
    made, features = planted_circuit("induction", variant), planted[1]
    net = nissl.load(made.module, tokenizer=made.tokenizer, progress=False)
    seen, first, lost = net.with_dictionary(features), [], []
    for ids, key, word, answer in prompts(made):
        order = script["top_at_key"](net, ids, key, features)
        first.append(order[:1] == [f"blocks.0.attn.out.sae[{word}]"])
        lost.append(script["nats_lost"](seen, ids, answer, order[:1], key) if order else 0)
    assert np.mean(first) < 0.4
    assert np.mean(lost) < 0.2
