"""Alignment routes: a gate planted with a backup, which hides it from ablation."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import nissl
from nissl.behaviour import Behaviour
from nissl.specimens.planted import planted_circuit
from nissl.specimens.planted.builder import CONSTANT, SIZE, Builder, tokenizer

SCRIPT = Path(__file__).parents[3] / "replications" / "circuits" / "alignment_routes.py"
GATE, AMPLIFIER = "blocks.0.attn.z[head 2]", "blocks.3.attn.z[head 3]"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def halves(script):
    """A head tells which word was read, a later one says it; a backup tells it where none has."""
    builder, words = Builder(4, seed=0), tokenizer()
    constant, word, middle, answer = (
        builder.space[name] for name in ("constant", "word", "middle", "answer")
    )
    told = middle.sum(1, keepdim=True) / SIZE
    at_word = {"key": word.sum(1, keepdim=True) / SIZE, "rest": 2.0}
    always = constant / CONSTANT
    builder.head(0, 2, query=always, **at_word, value=word, write=middle)
    builder.head(1, 5, query=always - 2.0 * told, **at_word, value=word, write=middle)
    builder.head(3, 3, query=always, key=told, rest=2.0, value=middle, write=answer)
    builder.add_distractors()
    items = planted_circuit("backup_head").pairs
    builder.set_norms(words(items["text"].tolist(), return_tensors="pt")["input_ids"])
    net, made = nissl.load(builder.model, tokenizer=words), []
    for rows in (items[:12], items[32:44]):
        texts = list(rows["text"]), list(rows["corrupted"])
        answers = {"right": list(rows["answer"]), "wrong": list(rows["wrong"])}
        made.append(script["Routes"](Behaviour(net, *texts, **answers)))
    return made


def test_gate_and_amplifier_are_found_by_interchange_where_ablation_is_made_up_for(script, halves):
    first, second = halves
    gate, amplifiers, before = script["choose"](first, 1)
    assert (gate, amplifiers) == (GATE, [AMPLIFIER])
    swapped = second.lost(before, amplifiers)
    of_gate, others = swapped[before.index(GATE)], np.delete(swapped, before.index(GATE), axis=0)
    assert of_gate.min() > 0.7  # of the answer, and of what the amplifier writes
    assert np.abs(others).max() < 0.15
    assert np.abs(second.lost([GATE], amplifiers, swap=False)).max() < 0.2


def test_what_is_lost_and_written_is_that_of_a_slow_form(halves):
    routes, head = halves[0], GATE
    pairs, net = routes.pairs, routes.pairs.net
    with net.edit(nissl.patch(net.run(pairs.corrupted_call, sites="attn.z"), units=[head])):
        value = pairs.clean()
    share = float((pairs.clean_value - value).mean()) / routes.size
    assert routes.lost([head], [AMPLIFIER])[0, 0] == pytest.approx(share, abs=1e-4)
    runs = [
        net.run(x, sites="blocks.3.attn.heads") for x in (pairs.clean_call, pairs.corrupted_call)
    ]
    written = [
        (x["blocks.3.attn.heads"][:, -1].unflatten(1, (8, -1))[:, 3] * routes.towards).sum(-1)
        for x in runs
    ]
    share = float((written[0] - written[1]).mean()) / routes.size
    assert routes.writes[AMPLIFIER] == pytest.approx(share, abs=1e-4)
