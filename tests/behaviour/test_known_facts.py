"""Which facts a network knows, and how they are halved."""

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import PromptScorer, halves, known
from nissl.errors import TooFewSamples
from tiny import VOCABULARY, Letters, tiny


@pytest.fixture
def net():
    return nissl.load(tiny("llama"), tokenizer=Letters())


def table(n=12):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), rng.integers(2, 9))) for _ in range(n)]
    return pd.DataFrame(
        {"text": texts, "answer": list("ghijkl" * n)[:n], "relation": ["x", "y"] * (n // 2)}
    )


def test_only_what_is_answered_rightly_is_known(net):
    facts = table()
    with torch.no_grad():
        best = [
            int(net.model(torch.tensor([net.tokenizer.encode(t)])).logits[0, -1].argmax())
            for t in facts.text
        ]
    letters = {3 + i: chr(ord("a") + i) for i in range(VOCABULARY - 3)}
    facts["answer"] = [letters.get(b, "a") for b in best]
    facts.loc[0, "answer"] = "a" if best[0] != 3 else "b"
    found = known(net, facts, labels="relation", least=5, progress=False)
    assert 0 not in [facts.text.tolist().index(t) for t in found.text]
    assert (found.log_probability < 0).all()
    with pytest.raises(TooFewSamples, match=r"fewer than 30 facts of x .*, y"):
        known(net, facts, labels="relation", progress=False)


def test_halves_are_disjoint_and_hold_every_kind():
    facts = table(40).assign(subject=[f"s{i // 4}" for i in range(40)])
    for by in (None, "subject"):
        first, second = halves(facts, labels="relation", by=by, seed=1)
        assert len(first) + len(second) == 40
        assert set(first.relation) == set(second.relation) == {"x", "y"}
        if by:
            assert not set(first.subject) & set(second.subject)
    with pytest.raises(NisslError, match="too few facts"):
        halves(facts.iloc[:3], labels="relation")


def test_missing_columns_and_answers_are_refused(net):
    with pytest.raises(NisslError, match="no column is called 'relatoin'"):
        halves(table(), labels="relatoin")
    with pytest.raises(NisslError, match="1 answers for 2 prompts"):
        PromptScorer(net, ["a", "b"], ["c"])
