"""Component reuse: a head that says the answer too weakly is found, and doubled."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

import nissl
from nissl.specimens.planted import planted_circuit
from nissl.specimens.planted.builder import WORDS, Builder, tokenizer

SCRIPT = Path(__file__).parents[3] / "replications" / "circuits" / "component_reuse.py"
UNITS = pd.DataFrame(
    [(f"blocks.{i}.attn.z[head {h}]", i) for i in range(2) for h in range(8)],
    columns=["unit", "layer"],
)
RIGHT = "blocks.1.attn.z[head 2]"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def wrong():
    """A head says the word before, and another, more loudly, the word four places on in a list."""
    builder, words = Builder(2, seed=0), tokenizer()
    word, answer = builder.space["word"], builder.space["answer"]
    shifted = [(n + 4) % len(WORDS) for n in range(len(WORDS))]
    builder.head(1, 2, value=word, write=0.6 * answer)
    builder.head(1, 5, value=word, write=answer[:, shifted])
    builder.add_distractors()
    items = planted_circuit("previous_token").pairs
    builder.set_norms(words(items["text"].tolist(), return_tensors="pt")["input_ids"])
    items["wrong"] = [WORDS[shifted[WORDS.index(word)]] for word in items["answer"]]
    return nissl.load(builder.model, tokenizer=words), items


def test_the_head_is_doubled_that_makes_answers_right(script, wrong):
    net, items = wrong
    halves = items[:16], items[32:48]
    heads = [RIGHT, "blocks.0.attn.z[head 3]", "blocks.0.attn.z[head 6]"]
    before, after, others, few = script["repair"](net, *halves, heads, UNITS, 1)
    assert few == [RIGHT]
    assert before == 0
    assert after > 0.9
    assert others.mean() < 0.5  # some random groups hold the head, since each may be itself


def test_idle_heads_repair_nothing(script, wrong):
    net, items = wrong
    heads = ["blocks.0.attn.z[head 3]", "blocks.0.attn.z[head 6]"]
    before, after, _, _ = script["repair"](net, items[:16], items[32:48], heads, UNITS, 1)
    assert before == after == 0


def test_halves_of_questions_share_no_word_but_those_of_the_frame(script):
    asked = script["questions"]()
    first, second = (set(" ".join(x["text"]).split()) for _, x in asked.groupby("half"))
    assert first & second == {"I", "have", "a", "and", "The", "is"}
    assert (asked["answer"] != asked["wrong"]).all()
    one = asked.iloc[0]
    at = one["text"].split().index(one["answer"].strip())
    assert one["text"].split()[at + 1].strip(".") == one["text"].split()[-2]
