"""Tasks, answered by oracles that read the prompt and know the rule, or its opposite."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import (
    agreement,
    fact_recall,
    greater_than,
    indirect_object,
    make_task,
    probability_difference,
    sums,
)
from nissl.errors import TooFewSamples
from nissl.network import Network

PIECES = {
    "apart": re.compile(r"\d| ?[^\W\d]+|[^\w]"),  # digits by themselves, as SmolLM2 and Gemma
    "joined": re.compile(r" ?\d\d?| ?[^\W\d]+|[^\w]"),  # " 5" and "42" are tokens, as in GPT-2
    "threes": re.compile(r"\d{1,3}| ?[^\W\d]+|[^\w]"),  # "174" and "2" are tokens, as in Llama 3
}


class Pieces:
    """A tokenizer that gives each new piece of text the next id."""

    pad_token_id, bos_token_id = 0, None

    def __init__(self, kind):
        self.kind, self.words = kind, ["[pad]"]

    def encode(self, text, **options):
        found = PIECES[self.kind].findall(text)
        self.words += [piece for piece in dict.fromkeys(found) if piece not in self.words]
        return [self.words.index(piece) for piece in found]

    def decode(self, ids):
        return "".join(self.words[int(i)] for i in ids)


class Oracle(torch.nn.Module):
    """Says what a rule says of the text that it reads, and nothing else."""

    def __init__(self, tokenizer, rule):
        super().__init__()
        self.tokenizer, self.rule = tokenizer, rule
        self.dummy = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, attention_mask=None, **unused):
        logits = torch.zeros(*input_ids.shape, 4000)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        for row, (ids, length) in enumerate(zip(input_ids, mask.sum(1), strict=True)):
            text = self.tokenizer.decode(ids[:length])
            for word in self.rule(text):
                logits[row, length - 1, self.tokenizer.encode(word)[0]] = 9.0
        return type("Output", (), {"logits": logits})


def oracle(rule, kind="apart"):
    tokenizer = Pieces(kind)
    return Network(Oracle(tokenizer, rule), tokenizer=tokenizer)


def named_once(text):
    names = re.findall(r"\b[A-Z][a-z]+", text)[1:]
    return [f" {name}" for name in names if names.count(name) == 1]


def verb(text):
    return [" are" if text.split()[1].endswith("s") else " is"]


def later(text):
    first = int(re.search(r"\d{4}", text)[0][2:])
    return [f"{year:02d}" for year in range(first + 1, 100)]


def later_digit(text):
    first = int(re.search(r"\d{4}", text)[0][2])
    return [str(digit) for digit in range(first + 1, 10)]


def total(text):
    a, b = map(int, re.findall(r"(\d) \+ (\d)", text)[-1])
    return [str(a + b) if text.endswith(" ") else f" {a + b}"]


CASES = [
    (indirect_object, named_once, "apart", "object"),
    (agreement, verb, "apart", "noun"),
    (greater_than, later_digit, "apart", "event"),
    (greater_than, later, "joined", "event"),
    (sums, total, "apart", "pair"),
    (sums, total, "joined", "pair"),
]


@pytest.mark.parametrize(("task", "rule", "kind", "filler"), CASES)
def test_who_knows_the_rule_answers_all_and_the_halves_share_no_filler(task, rule, kind, filler):
    net = oracle(rule, kind)
    made = task(net, n=16, progress=False)
    first, second = made.halves
    assert len(first) == len(second) == 8
    assert not set(first.items[filler]) & set(second.items[filler])
    behaviour = first.behaviour()
    assert (behaviour.clean_value > behaviour.corrupted_value).all()
    assert bool(behaviour.differing.any(1).all())
    again = task(net, n=16, progress=False)
    pd.testing.assert_frame_equal(made.items, again.items)
    other = task(net, n=16, seed=1, progress=False)
    assert set(other.items["text"]) != set(made.items["text"])


@pytest.mark.parametrize(("task", "rule", "kind", "filler"), CASES)
def test_who_says_always_the_same_has_no_task(task, rule, kind, filler):
    net = oracle(lambda text: [" is", " John", "0", " 0"], kind)
    with pytest.raises(TooFewSamples, match="answers too few pairs rightly"):
        task(net, n=16, progress=False)


def test_years_in_pieces_that_do_not_go_on_from_the_century_are_refused():
    with pytest.raises(NisslError, match=r"does not go on from 'the year 17'.*174"):
        greater_than(oracle(later, "threes"), progress=False)


def test_facts_of_one_kind_lend_each_other_their_subjects():
    rows = [
        (f"The {kind} of {letter} is", f" {kind}{letter}", kind, letter)
        for kind in "pq"
        for letter in "abcdefghij"
    ]
    table = pd.DataFrame(rows, columns=["text", "answer", "relation", "subject"])
    answers = dict(zip(table["text"], table["answer"], strict=True))
    made = fact_recall(oracle(lambda text: [answers[text]]), table, n=16, progress=False)
    assert set(made.items.columns) >= {"relation", "subject"}
    assert "length" not in made.items
    for row in made.items.itertuples():
        assert answers[row.text] == row.answer
        assert answers[row.corrupted] == row.wrong
        assert row.text[4] == row.corrupted[4]
    first, second = made.halves
    assert not set(first.items["subject"]) & set(second.items["subject"])


def pairs():
    """Prompts of letters; an oracle repeats the last."""
    rows = [("ab", "ac", "b", "c"), ("cd", "cb", "d", "b"), ("aa", "ab", "a", "b")] * 4
    table = pd.DataFrame(rows, columns=["text", "corrupted", "answer", "wrong"])
    return table.assign(half=["first", "second"] * 6, number=range(12))


def letters(rule):
    net = oracle(rule)
    net.tokenizer.encode = lambda text, **options: [1 + ord(c) - ord("a") for c in text]
    net.tokenizer.decode = lambda ids: "".join(chr(ord("a") + int(i) - 1) for i in ids)
    return net


def test_only_pairs_that_align_and_are_answered_rightly_are_kept():
    net = letters(lambda text: [text[-1]])
    bad = pairs()
    bad.loc[0, "corrupted"] = "abc"  # longer
    bad.loc[1, "wrong"] = "d"  # the right answer
    bad.loc[2, "answer"] = "c"  # not what is said
    bad.loc[3, "corrupted"] = "ea"  # whose own answer is not `wrong`
    made = make_task(net, bad, name="repeat", n=8, progress=False)
    assert made.items["number"].tolist() == list(range(4, 12))
    assert made.items.columns[:5].tolist() == ["text", "corrupted", "answer", "wrong", "half"]
    assert "repeat: 8 pairs" in repr(made)
    with pytest.raises(TooFewSamples, match="0 of the first half"):
        make_task(net, pairs().query("half == 'second'"), name="repeat", progress=False)
    with pytest.raises(NisslError, match="no column is called 'half'"):
        make_task(net, pairs().drop(columns="half"), name="repeat", progress=False)


def test_several_answers_are_summed_though_inputs_have_different_numbers_of_them():
    logits = torch.randn(2, 9, dtype=torch.float64)
    p = logits.softmax(-1)
    found = probability_difference(
        logits, torch.tensor([[1, 2], [3, -1]]), torch.tensor([[0], [4]])
    )
    expected = [p[0, 1] + p[0, 2] - p[0, 0], p[1, 3] - p[1, 4]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.real
def test_smollm2_knows_the_indirect_object():
    net = nissl.load("smollm2")
    made = indirect_object(net, n=8, progress=False)
    for row in made.items.itertuples():
        for text, right, wrong in (
            (row.text, row.answer, row.wrong),
            (row.corrupted, row.wrong, row.answer),
        ):
            ids = torch.tensor([net.tokenizer.encode(text)])
            with torch.no_grad():
                said = net.model(ids).logits[0, -1]
            assert said[net.token_id(right)] > said[net.token_id(wrong)]
