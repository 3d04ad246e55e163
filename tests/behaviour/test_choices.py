"""Choices between true and false answers, on a network with one neuron that carries the truth."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import choice_attributions, choices, known_choices, preferred
from nissl.errors import TooFewSamples, UnknownName
from nissl.network import ablate
from nissl.selectivity import truth
from tiny import tiny

KINDS, PER_KIND, N_NEURONS, WORDS = 3, 12, 30, 36  # word w is true of subject WORDS + w


class Read(nn.Module):
    """Neuron 0 lets through what is true of a subject; neuron 1 what is true in the first kind."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        noise = 0.1 * torch.randn(N_NEURONS, 2 * WORDS, generator=generator)
        noise[:2] = 0
        self.write = nn.Parameter(noise)

    def forward(self, neurons, known, first):
        return neurons @ self.write + (neurons[..., :1] + neurons[..., 1:2] * first) * known


class Planted(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed, self.up = nn.Embedding(2 * WORDS, 4), nn.Linear(4, N_NEURONS)
        self.read = Read()
        with torch.no_grad():
            for weight in (self.embed.weight, self.up.weight):
                weight.copy_(torch.rand(weight.shape, generator=generator))
            self.up.bias.fill_(0.2)

    def forward(self, input_ids, attention_mask=None):
        neurons = self.up(self.embed(input_ids)).relu()
        known = nn.functional.one_hot((input_ids - WORDS).clamp(min=0), 2 * WORDS).float()
        first = (input_ids < WORDS + PER_KIND)[..., None]
        return type("Output", (), {"logits": self.read(neurons, known, first)})


class Words:
    pad_token_id, bos_token_id = 0, None

    def encode(self, text, add_special_tokens=True, **options):
        return [int(word) for word in text.split()]


FRAME = "{first}{second}{text}"


@pytest.fixture
def facts():
    rows = [(f" {WORDS + word}", f" {word}", f"k{word // PER_KIND}", word) for word in range(WORDS)]
    return pd.DataFrame(rows, columns=["text", "answer", "subject", "about"])


@pytest.fixture
def asked(facts):
    return choices(facts, labels="subject", frame=FRAME)


@pytest.fixture
def net():
    return nissl.load(Planted(), tokenizer=Words())


def truth_neurons(rec):
    table = truth(rec, progress=False).significant().table
    return table.loc[table["kind"] == "truthful", "unit"].tolist()


def test_in_a_couple_every_word_is_as_often_true_and_as_often_first(asked):
    assert len(asked) == WORDS
    assert sorted(asked["about"]) == list(range(WORDS))
    for _, couple in asked.groupby("couple"):
        assert sorted(couple["answer"]) == sorted(couple["false"])
        assert sorted(couple["true_first"]) == [False, True]
        assert couple["subject"].nunique() == 1
        offered = [text.split()[:2] for text in couple["text"]]
        assert offered[0] == offered[1]


def test_equal_answers_never_meet_and_couples_are_counted():
    facts = pd.DataFrame({"text": list("abcdefg"), "answer": [" x"] * 4 + [" y"] * 3, "kind": "k"})
    assert len(choices(facts, labels="kind")) == 6
    assert (choices(facts, labels="kind")["answer"] != choices(facts, labels="kind")["false"]).all()
    assert len(choices(facts, labels="kind", n_couples=2)) == 4
    with pytest.raises(NisslError, match="no two facts differ"):
        choices(facts[:4], labels="kind")
    with pytest.raises(UnknownName, match="subject"):
        choices(facts, labels="subject")


def test_couples_are_known_that_are_judged_rightly_in_both_orders(net, facts, asked):
    false = facts.assign(answer=facts["answer"].where(facts["about"] != 0, " 1"))
    known = known_choices(net, false, labels="subject", frame=FRAME, progress=False)
    both = choices(false, labels="subject", frame=FRAME)
    turned = both.assign(text=[" ".join(np.array(t.split())[[1, 0, 2]]) for t in both["text"]])
    right = np.min([preferred(net, one, progress=False) > 0 for one in (both, turned)], axis=0)
    wanted = both[pd.Series(right).groupby(both["couple"]).transform("all")]
    pd.testing.assert_frame_equal(known, wanted.reset_index(drop=True))
    assert 0 < len(known) <= len(asked) - 2
    with pytest.raises(TooFewSamples, match="no couple rightly"):
        known_choices(net, facts[:2].assign(answer=[" 1", " 0"]), labels="subject", frame=FRAME)
    alike = facts[:2].assign(answer=[" 0 1", " 0 2"])
    with pytest.raises(TooFewSamples):
        known_choices(net, alike, labels="subject", frame=FRAME)


def test_the_neuron_that_carries_the_truth_is_found_in_a_network(net, asked):
    rec = choice_attributions(net, asked, sites="read:in", batch_size=5, progress=False)
    # It lets 1 through to the true answer's logit: its contribution is its activity.
    ids = torch.tensor([Words().encode(text)[-1] for text in asked["text"]])
    activity = net.model.up(net.model.embed(ids)).relu().detach().numpy()
    np.testing.assert_allclose(rec.values[:, 0], activity[:, 0], rtol=1e-5)
    # The whole is what the network prefers.
    np.testing.assert_allclose(
        rec.values.sum(axis=1), preferred(net, asked, progress=False), atol=1e-5
    )
    assert truth_neurons(rec) == ["read:in[0]"]


def test_without_it_the_judgement_of_subjects_that_did_not_find_it_is_lost(net, asked):
    tested = asked["subject"] == "k2"
    rec = choice_attributions(net, asked[~tested], sites="read:in", progress=False)
    found = truth_neurons(rec)
    assert found == ["read:in[0]"]
    assert (preferred(net, asked[tested], progress=False) > 0).mean() > 0.9
    with net.edit(ablate(found)):
        margin = preferred(net, asked[tested], progress=False)
    assert 0.2 < (margin > 0).mean() < 0.8
    with net.edit(ablate("read:in[7]")):
        assert (preferred(net, asked[tested], progress=False) > 0).mean() > 0.9


def test_each_choice_is_attributed_as_if_alone(asked):
    net = nissl.load(tiny("llama"), tokenizer=Words())
    few = asked.iloc[:6].assign(
        text=["3 4", "5 6 7 8", "9 8 7", "3 3", "4 5 6", "11"], answer="12", false="13"
    )
    together = choice_attributions(net, few, batch_size=4, progress=False)
    alone = choice_attributions(net, few, batch_size=1, progress=False)
    np.testing.assert_allclose(together.values, alone.values, atol=1e-8)
    assert together["layer"].values.tolist() == [k for k in range(3) for _ in range(24)]
    assert together.attrs["quantity"] == "attribution"


def test_few_steps_miss_the_whole_and_say_so(asked):
    net = nissl.load(tiny("llama"), tokenizer=Words())
    few = asked.iloc[:8].assign(text=[f"3 4 {5 + k}" for k in range(8)], answer="12", false="13")
    fine, usual = (
        choice_attributions(net, few, progress=False, **options) for options in ({"steps": 300}, {})
    )
    with pytest.warns(UserWarning, match="with 2 steps; give more"):
        coarse = choice_attributions(net, few, progress=False, steps=2)
    assert fine.attrs["gap"] < usual.attrs["gap"] < 0.1 < coarse.attrs["gap"]
    close = [np.corrcoef(x.values.ravel(), fine.values.ravel())[0, 1] for x in (usual, coarse)]
    assert close[0] > max(0.99, close[1])


def test_answers_that_begin_alike_are_refused(net, asked):
    alike = asked.assign(false=asked["answer"] + " 5")
    for ask in (preferred, choice_attributions):
        with pytest.raises(NisslError, match="begin with the same token"):
            ask(net, alike, progress=False)
