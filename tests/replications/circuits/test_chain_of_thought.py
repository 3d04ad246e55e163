"""Two stages: the bridge of planted two-hop circuits is found where it was planted."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import nissl
from nissl.specimens.planted import circuits

ROOT = Path(__file__).parents[3]
SCRIPT = runpy.run_path(str(ROOT / "replications" / "circuits" / "chain_of_thought.py"))
N_BRIDGES, BEHIND = 4, 3


def bridges_of(variant, monkeypatch):
    """Return what is found in a network in which four words have the same bridge."""
    monkeypatch.setattr(circuits, "FIRST", np.arange(16) % N_BRIDGES)
    planted = circuits.planted_circuit("two_hops", variant)
    net = nissl.load(planted.module, tokenizer=planted.tokenizer, progress=False)
    rng, prompts, answers = np.random.default_rng(0), [[], [], []], []
    for word in range(16):
        words = word, (word + N_BRIDGES) % 16, (word + 1) % 16
        for number, one in enumerate(words):
            front, behind = (list(rng.choice(circuits.FILLERS, n)) for n in (7, BEHIND))
            prompts[number].append(" ".join([*front, circuits.WORDS[one], *behind]))
        answers.append([circuits.WORDS[circuits.SECOND[one % N_BRIDGES]] for one in words])
    ids = [planted.tokenizer(texts)["input_ids"] for texts in prompts]
    right, wrong = ([row[i] for row in answers] for i in (0, 2))
    return SCRIPT["bridges"](net, *ids, right, wrong)


def test_the_bridge_is_where_it_was_planted(monkeypatch):
    found, whole = bridges_of("planted", monkeypatch)
    share = found / whole
    # At the word until the head of block 1 has moved it to the end.
    expected = np.zeros(share.shape)
    expected[-1 - BEHIND, :2] = expected[-1, 2] = 1
    assert np.abs(share.to_numpy() - expected).max() < 0.1


@pytest.mark.parametrize("variant", ["zeroed", "untrained"])
def test_no_bridge_is_found_where_none_is(variant, monkeypatch):
    planted = bridges_of("planted", monkeypatch)[1]
    found, _ = bridges_of(variant, monkeypatch)
    assert found.abs().max().max() < 0.1 * planted


def test_parts_of_chains_are_what_they_are_called():
    table = SCRIPT["world"](0)
    seen = {(x.a, x.r) for x in table[table["part"] == "seen"].itertuples()}
    seen |= {(x.b, x.q) for x in table[table["part"] == "seen"].itertuples()}
    for x in table[table["part"] == "ood"].itertuples():
        assert (x.a, x.r) not in seen
        assert (x.b, x.q) not in seen
    facts = table.drop_duplicates(["a", "r"]).set_index(["a", "r"])["b"]
    assert (
        facts.loc[list(zip(table["b"], table["q"], strict=True))].to_numpy() == table["c"]
    ).all()
