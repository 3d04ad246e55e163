"""What ablating each head does, against hooks a prompt at a time."""

import numpy as np
import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import head_damage
from nissl.network import ablate
from nissl.network.run.calls import Call
from tiny import CAUSAL, Words, tiny


@pytest.mark.parametrize("name", [n for n in CAUSAL if "bigcode" not in n])
def test_heads_of_every_architecture(name):
    net = nissl.load(tiny(name), tokenizer=Words())
    facts = pd.DataFrame({"text": ["3 4 5", "7 8 9 10", "4 4", "5 9 6", "11 3"], "answer": "12"})
    found = head_damage(net, facts, progress=False)
    assert {part.kind for part in net.find(found.units)} == {"head"}
    found = found.table
    row = found[(found["layer"] == 1) & (found["head"] == 2)].iloc[0]
    before = answer_by_answer(net, facts)
    with net.edit(ablate(sites=row["site"], heads=2)):
        after = answer_by_answer(net, facts)
    assert row["damage"] == pytest.approx((before - after).mean(), abs=1e-5)


def test_a_model_that_keeps_the_size_of_its_batch_is_refused():
    net = nissl.load(tiny("gpt_bigcode"), tokenizer=Words())
    facts = pd.DataFrame({"text": ["3 4 5", "7 8 9 10"], "answer": "12"})
    with pytest.raises(NisslError, match="keeps the size of the batch"):
        head_damage(net, facts, progress=False)


def one(text):
    """A call that reads one prompt."""
    return Call((), {"input_ids": torch.tensor([Words().encode(text)])})


def answer_by_answer(net, facts):
    """The answers' log probabilities, a prompt at a time."""
    said = []
    for text, answer in zip(facts["text"], facts["answer"], strict=True):
        logits = net.run(one(text), sites="logits")["logits"][0, -1]
        said.append(float(logits.log_softmax(-1)[int(answer)]))
    return np.asarray(said)
