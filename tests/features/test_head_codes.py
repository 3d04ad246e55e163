"""Head codes: the head that acts in positive texts alone is found, in shuffled texts none."""

import sys

import numpy as np
import pytest

import nissl
from nissl.features import head_codes
from nissl.features.head_codes import positive_only
from nissl.specimens.planted import planted_circuit
from nissl.specimens.planted.builder import WORDS
from nissl.statistics import Test

HEAD, N = "blocks.1.attn.z[head 4]", 16
HOW = {"test": Test(199), "progress": False}


@pytest.fixture(scope="module")
def induction():
    """Texts whose last word was there before, and the same that end in another word."""
    planted, rng = planted_circuit("induction"), np.random.default_rng(0)
    positive, negative = planted.pairs["text"][:N].str.split().tolist(), []
    for words in positive:
        others = [word for word in WORDS[::2] if word not in words]
        negative.append([*words[:-1], rng.choice(others)])
    texts = [[" ".join(words) for words in side] for side in (positive, negative)]
    return nissl.load(planted.module, tokenizer=planted.tokenizer), *texts


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sys.modules["nissl.features.head_codes"], "SEEN", 40_000)


def test_the_induction_head_is_found(induction):
    found = head_codes(*induction, **HOW)
    assert found.significant().units == [HEAD]
    assert found.table.set_index("unit").loc[HEAD, "positive_only"] > 0.8


def test_in_shuffled_texts_there_is_none(induction):
    net, positive, negative = induction
    rng, found = np.random.default_rng(0), []
    for _ in range(4):
        texts = rng.permutation([*positive, *negative]).tolist()
        found.append(head_codes(net, texts[:N], texts[N:], **HOW).significant().units)
    assert sum(len(units) > 0 for units in found) <= 1  # one in twenty is


def test_the_share_equals_the_slow_obvious_form():
    rng = np.random.default_rng(0)
    codes, labels = rng.integers(0, 6, (20, 3)).astype(float), rng.random(20) < 0.5
    slow = []
    for column in codes.T:
        others = set(column[~labels])
        slow.append(np.mean([code not in others for code in column[labels]]))
    assert positive_only(codes, labels).tolist() == pytest.approx(slow)
    assert np.mean(slow) > 0
