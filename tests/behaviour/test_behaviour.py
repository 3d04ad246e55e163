"""Behaviours: what is measured, and how much of it an edit restores."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, kl, log_probability, logit_difference
from nissl.network import patch, restart
from nissl.network.gradients import gradients
from tiny import tiny

CLEAN, CORRUPTED = [[5, 6, 7, 8], [9, 10, 11]], [[5, 6, 17, 8], [19, 10, 11]]
RIGHT, WRONG = [20, 21], [22, 23]


def test_metrics_are_their_formulas():
    logits = torch.randn(3, 9, dtype=torch.float64)
    right, wrong = torch.tensor([1, 2, 3]), torch.tensor([[4, 5], [6, 7], [8, 0]])
    for i in range(3):
        expected = logits[i, right[i]] - logits[i, wrong[i]].mean()
        torch.testing.assert_close(logit_difference(logits, right, wrong)[i], expected)
        p = logits[i].softmax(-1)
        torch.testing.assert_close(log_probability(logits, wrong)[i], p[wrong[i]].sum().log())
        q = logits[0].softmax(-1)
        expected = (q * (q / p).log()).sum()
        torch.testing.assert_close(kl(logits, logits[:1].expand(3, -1))[i], expected)


@pytest.mark.parametrize("metric", ["logit_difference", "log_probability", "kl", "own"])
def test_values_are_those_of_each_input_alone(metric):
    net = nissl.load(tiny("llama"))
    own = (lambda logits: logits[:, 4]) if metric == "own" else metric
    found = Behaviour(net, CLEAN, CORRUPTED, metric=own, right=RIGHT, wrong=WRONG)
    again = Behaviour(net, CLEAN, CORRUPTED, metric=own, right=RIGHT, wrong=WRONG, batch_size=1)
    torch.testing.assert_close(found.clean(), again.clean(), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.corrupted(), again.corrupted(), rtol=0, atol=1e-9)
    for i in range(2):
        with torch.no_grad():
            clean = net.model(torch.tensor(CLEAN[i])[None]).logits[:, -1]
            corrupted = net.model(torch.tensor(CORRUPTED[i])[None]).logits[:, -1]
        right, wrong = torch.tensor(RIGHT[i : i + 1]), torch.tensor(WRONG[i : i + 1])
        expected = {
            "logit_difference": logit_difference(corrupted, right, wrong),
            "log_probability": log_probability(corrupted, right),
            "kl": kl(corrupted, clean),
            "own": corrupted[:, 4],
        }[metric]
        torch.testing.assert_close(found.corrupted()[i : i + 1], expected, rtol=0, atol=1e-9)
    assert found.normalised(found.clean()) == pytest.approx(1)
    assert found.normalised(found.corrupted()) == pytest.approx(0)


def test_a_patch_of_the_whole_stream_restores_all_of_it():
    net, site = nissl.load(tiny("gpt2")), "blocks.0.resid_post"
    behaviour = Behaviour(net, CLEAN, CORRUPTED, right=RIGHT, wrong=WRONG)
    assert behaviour.differing.tolist() == [
        [False, False, True, False],
        [True, False, False, False],
    ]
    values = net.run(behaviour.clean_call, sites=site)
    with net.edit(patch(values)):
        assert behaviour.normalised(behaviour.corrupted()) == pytest.approx(1)
    with net.edit(patch(values, positions=behaviour.differing)):
        part = behaviour.normalised(behaviour.corrupted())
    again = restart(net, behaviour.corrupted_call, at=site)
    mixed = torch.where(behaviour.differing[..., None], values[site], again.values)
    logits = again.run(mixed, sites="logits")["logits"]
    assert behaviour.normalised(behaviour.score(logits)) == pytest.approx(part)
    found = gradients(
        net, behaviour.clean_call, sites=site, metric=lambda y: behaviour.score(y).sum()
    )
    assert found.metric == pytest.approx(float(behaviour.clean_value.sum()))
    assert found[site][0, 3].abs().max() > 0


def test_what_does_not_fit_is_refused():
    net = nissl.load(tiny("llama"))
    answers = {"right": RIGHT, "wrong": WRONG}
    for make, said in (
        (lambda: Behaviour(net, CLEAN, CORRUPTED[:1], **answers), "2 clean inputs and 1"),
        (lambda: Behaviour(net, CLEAN, [[5], [6]], **answers), "4 tokens, the corrupted one 1"),
        (lambda: Behaviour(net, CLEAN, CORRUPTED, right=RIGHT), "needs the wrong answers"),
        (lambda: Behaviour(net, CLEAN, CORRUPTED, metric="accuracy"), "one of logit_difference"),
        (lambda: Behaviour(net, CLEAN, CORRUPTED, right=[1], wrong=WRONG), "1 answers for 2"),
        (lambda: Behaviour(net, CLEAN, CORRUPTED, right=["a", "b"], wrong=WRONG), "no tokenizer"),
        (
            lambda: Behaviour(net, CLEAN, CLEAN, **answers).normalised(torch.zeros(2)),
            "both measure",
        ),
    ):
        with pytest.raises(NisslError, match=said):
            make()
    with pytest.raises(NisslError, match="gives no logits"):
        Behaviour(nissl.load(tiny("bert")), CLEAN, CORRUPTED, **answers)
    loose = Behaviour(net, CLEAN, [[5], [6]], aligned=False, **answers)
    assert loose.corrupted().shape == (2,)
