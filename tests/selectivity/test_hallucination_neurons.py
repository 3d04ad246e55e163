"""H-neurons: three that drive wrong answers are found, and none where there is nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import (
    answer_contributions,
    compliance,
    consistent,
    over_compliance,
    scaled_compliance,
)
from nissl.behaviour.consistency import nucleus
from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.selectivity import hallucination_neurons
from nissl.statistics import MatchedUnits, Test
from nissl.statistics.calibration import rate
from tiny import tiny

PLANTED, KIND_UNIT, POSITION_UNIT, DEAD = (3, 17, 41), 5, 8, 11
SHARE = 0.1


def answers(first=0, *, size=0.0, n=80, n_units=60, seed=0):
    """Each subject is asked two kinds of question; the second is wrong more often.

    Unit 5 knows the kind, unit 8 whether a token is of an answer, unit 11 is dead; a subject has
    contributions of its own.
    """
    rng = np.random.default_rng([seed, first])
    subject = np.repeat(np.arange(n // 2), 2)
    kind = np.tile([0, 1], n // 2)
    wrong = rng.random(n) < np.where(kind == 0, 0.3, 0.7)
    values = rng.random((2, n, n_units)) + 0.3 * rng.random((n // 2, n_units))[subject]
    values[:, :, KIND_UNIT] += 2 * kind
    values[0, :, POSITION_UNIT] += 3
    if size:
        values[0][:, list(PLANTED)] += size * wrong[:, None]
    values[:, :, DEAD] = 0
    samples = {"wrong": wrong, "subject": subject + first, "kind": np.array(["easy", "hard"])[kind]}
    samples = {name: np.tile(column, 2) for name, column in samples.items()}
    samples["part"] = np.repeat(["answer", "other"], n)
    return as_recording(values.reshape(2 * n, n_units), samples=samples)


def name(unit):
    return f"unit[{unit}]"


def test_the_planted_neurons_are_found():
    found = hallucination_neurons(
        answers(size=0.7), tested=answers(100, size=0.7), kind="kind", share=SHARE
    )
    table = found.table.set_index("unit")
    chosen = table[table["h_neuron"]]
    assert {name(unit) for unit in PLANTED} <= set(chosen.index)
    assert len(chosen) <= SHARE * 60
    assert set(found.significant().units) == {name(unit) for unit in PLANTED}
    assert set(table["weight"].nlargest(3).index) == {name(unit) for unit in PLANTED}
    assert found.provenance["probe_auroc"] > 0.9
    assert found.provenance["probe_p"] == 0.001
    assert not table.loc[name(KIND_UNIT), "h_neuron"]


def test_other_tokens_as_negatives_let_in_what_tells_answers_from_them():
    """Only answers are ever positive: a neuron that knows an answer's place is chosen for that."""
    rec, tested = answers(size=0.7), answers(100, size=0.7)
    for others in (True, False):
        found = hallucination_neurons(rec, tested=tested, share=SHARE, other_tokens=others)
        assert found.table.set_index("unit").loc[name(POSITION_UNIT), "h_neuron"] == others
        assert set(found.significant().units) == {name(unit) for unit in PLANTED}


def test_units_that_were_not_tested_are_marked():
    found = hallucination_neurons(answers(size=0.7), tested=answers(100, size=0.7), share=SHARE)
    table = found.table.set_index("unit")
    assert "never active" in table.loc[name(DEAD), "note"]
    rest = table[~table["h_neuron"]]
    assert (rest["note"] != "").all()
    assert (rest[["p", "q"]] == 1).all(axis=None)
    assert not found.table.isna().any(axis=None)


def test_nothing_is_found_where_there_is_nothing():
    p, auroc, units = [], [], []
    for repeat in range(60):
        found = hallucination_neurons(
            answers(seed=repeat, n=40, n_units=30),
            tested=answers(100, seed=repeat, n=40, n_units=30),
            kind="kind",
            share=SHARE,
            test=Test(n_permutations=99, correction=None, seed=repeat),
        )
        p.append(found.provenance["probe_p"])
        auroc.append(found.provenance["probe_auroc"])
        units.append(found.table.loc[found.table["h_neuron"], "p"].iloc[0])
    for values in (p, units):
        assert rate(values, level=0.999).holds
        assert rate(values, alpha=0.25, level=0.999).holds
    assert abs(np.mean(auroc) - 0.5) < 4 * np.std(auroc) / np.sqrt(len(auroc))


def test_a_neuron_that_knows_the_kind_alone_is_no_h_neuron():
    rec, tested = answers(n=200), answers(100, n=200)
    plain = hallucination_neurons(rec, tested=tested, share=0.02, other_tokens=False)
    row = plain.table.set_index("unit").loc[name(KIND_UNIT)]
    assert row["h_neuron"]
    assert row["auroc"] > 0.65
    assert row["p"] > 0.05  # subjects trade the labels of both kinds, so that the null knows it
    within = hallucination_neurons(rec, tested=tested, kind="kind", share=0.02, other_tokens=False)
    assert not within.table.set_index("unit").loc[name(KIND_UNIT), "h_neuron"]
    assert within.provenance["probe_p"] > 0.01


class Words:
    pad_token_id, bos_token_id, eos_token_id = 0, None, None

    def encode(self, text, add_special_tokens=True, **options):
        return [int(word) if word.isdigit() else 3 for word in text.split()]

    def decode(self, ids, **options):
        return " ".join(map(str, ids))


@pytest.mark.parametrize("begin", ["", "20 21 22 "])
def test_contributions_are_those_of_a_slow_sum(begin):
    net = nissl.load(tiny("llama"), tokenizer=Words())
    questions = pd.DataFrame(
        {
            "text": [f"{begin}{rest}" for rest in ("5 6 7", "8 9 10 11", "12 13")],
            "said": ["14 15", "16", "17 18 19"],
            "wrong": [True, False, True],
            "subject": ["a", "b", "c"],
        }
    )
    rec = answer_contributions(net, questions, batch_size=2, progress=False)
    assert rec.shape == (6, 3 * 24)
    assert rec["subject"].values.tolist() == ["a", "b", "c"] * 2
    for row, question in questions.iterrows():
        prompt, said = Words().encode(question["text"]), Words().encode(question["said"])
        site = "blocks.1.mlp.neurons"
        x = net.run([prompt + said], sites=site)[site][0].detach()
        out = net.output_weights(site)
        part = [(a.abs() * out.norm(dim=1) / (a @ out).norm()) for a in x]
        answer = torch.stack(part[len(prompt) :]).mean(0)
        other = torch.stack(part[1 : len(prompt)]).mean(0)
        np.testing.assert_allclose(rec.values[row, 24:48], answer.numpy(), rtol=1e-4)
        np.testing.assert_allclose(rec.values[3 + row, 24:48], other.numpy(), rtol=1e-4)


class Fixed(torch.nn.Module):
    """After token t it says t + 10, with a chance that token 1 lowers."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.Embedding(30, 4)
        self.mlp = torch.nn.Linear(4, 30, bias=False)

    def forward(self, input_ids, attention_mask=None):
        logits = torch.zeros(*input_ids.shape, 30)
        said = torch.where(input_ids < 20, input_ids + 10, 0)
        logits.scatter_(-1, said.unsqueeze(-1), torch.where(input_ids == 1, 3.0, 20.0)[..., None])
        return type("Output", (), {"logits": logits + 0 * self.mlp(self.up(input_ids))})


def test_questions_answered_now_so_now_so_are_left_out():
    net = nissl.load(Fixed(), tokenizer=Words())
    questions = pd.DataFrame({"text": ["7 2", "7 3", "7 1"], "answer": ["12 9", "12", "11"]})
    kept = consistent(net, questions, progress=False)
    assert kept["wrong"].tolist() == [False, True]
    assert kept["said"].tolist() == ["12", "13"]
    assert kept["n_right"].tolist() == [10, 0]
    with pytest.raises(NisslError, match="'answer'"):
        consistent(net, questions[["text"]])


def test_the_nucleus_is_that_of_a_slow_search():
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = 2 * rng.standard_normal(40)
        tokens, chances = nucleus(logits, temperature=0.8, top_p=0.7, top_k=6)
        p = torch.softmax(torch.tensor(logits) / 0.8, 0).numpy()
        expected, total = [], 0.0
        for token in np.argsort(-p)[:6]:
            if total < 0.7:
                expected.append(token)
            total += p[token]
        assert tokens.tolist() == expected
        np.testing.assert_allclose(chances, p[expected] / p[expected].sum())


class Yielding(torch.nn.Module):
    """Knows the right answer (10); neurons 0 to 4 hold the one it was told (the last token + 1)."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(30, 30)
        self.block = torch.nn.Module()
        self.block.up_proj = torch.nn.Linear(30, 40, bias=False)
        self.block.down_proj = torch.nn.Linear(40, 30, bias=False)
        with torch.no_grad():
            self.embed.weight.copy_(torch.eye(30))
            self.block.up_proj.weight.fill_(1.0)
            noise = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
            self.block.down_proj.weight.copy_(0.1 * noise)
            self.block.down_proj.weight[:, :5] = 0
            self.block.down_proj.weight[20:, :5] = 0.4  # told answers are 20 to 29
            self.block.forward = lambda x: self.block.down_proj(self.block.up_proj(x).relu())

    def forward(self, input_ids, attention_mask=None):
        logits = self.block(self.embed(input_ids))
        right = 2 * torch.nn.functional.one_hot(torch.tensor(10), 30)
        return type("Output", (), {"logits": logits + right})


@pytest.fixture
def yielding():
    questions = pd.DataFrame({"text": [f"{t} {t}" for t in range(20, 29)], "right": "10"})
    questions["told"] = [str(t + 1) for t in range(20, 29)]
    units = pd.DataFrame(
        {"unit": [f"block.down_proj:in[{i}]" for i in range(40)], "layer": 0, "weight": 1.0}
    )
    return nissl.load(Yielding(), tokenizer=Words()), questions, units


def test_scaling_what_yields_makes_it_go_along(yielding):
    net, questions, units = yielding
    chosen = units["unit"].tolist()[:5]
    drawn = MatchedUnits().draw(units, chosen, 19)
    groups = [chosen, *units["unit"].to_numpy()[drawn].tolist()]
    preference = scaled_compliance(net, groups, questions, factors=(0, 1, 3), progress=False)
    assert preference.shape == (20, 3, 9)
    found = over_compliance(preference).table.set_index("unit")
    assert found.loc["preference", "rise"] == pytest.approx(6.0, rel=1e-5)  # 5 neurons x 0.4 x 3
    assert found.loc["share", "rise"] > 0.5
    assert (found["p"] == 0.05).all()
    others = over_compliance(preference[1:]).table
    assert others["p"].min() > 0.05


def test_over_compliance_holds_its_level():
    rng = np.random.default_rng(0)
    p = [over_compliance(rng.standard_normal((20, 2, 30))).table["p"].iloc[1] for _ in range(300)]
    assert rate(p, level=0.999).holds


def test_compliance_is_a_difference_of_logits(yielding):
    net, questions, _ = yielding
    logits = net.model(torch.tensor([[20, 20]])).logits[0, -1].detach()
    assert compliance(net, questions, progress=False)[0] == pytest.approx(
        float(logits[21] - logits[10]), rel=1e-5
    )


def test_bad_input_is_refused(yielding):
    rec, tested = answers(), answers(100)
    with pytest.raises(NisslError, match=r"40 subjects are in both .*'0'"):
        hallucination_neurons(rec, tested=rec)
    with pytest.raises(NisslError, match="other units"):
        hallucination_neurons(rec, tested=tested[:, 1:])
    with pytest.raises(NisslError, match="share=2"):
        hallucination_neurons(rec, tested=tested, share=2)
    with pytest.raises(NisslError, match="same questions"):
        hallucination_neurons(rec[1:], tested=tested)
    with pytest.raises(NisslError, match="not finite"):
        hallucination_neurons(rec * np.nan, tested=tested)
    right = rec.assign_coords(wrong=rec["wrong"] & False)
    with pytest.raises(TooFewSamples, match="0 were answered wrongly"):
        hallucination_neurons(right, tested=tested)
    with pytest.raises(NisslError, match="wrongs"):
        hallucination_neurons(rec, tested=tested, labels="wrongs")
    net, questions, units = yielding
    with pytest.raises(NisslError, match="group has no neuron"):
        scaled_compliance(net, [units["unit"].tolist(), []], questions)
    with pytest.raises(NisslError, match="three groups"):
        over_compliance(np.zeros((1, 2, 9)))
    with pytest.raises(NisslError, match="begins as the right one"):
        compliance(net, questions.assign(told="10"))
    with pytest.raises(NisslError, match="leave nothing"):
        nucleus([0.0, 1.0], top_p=0.0)
