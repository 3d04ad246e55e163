"""Questions in bundles and under many ablations, against one prompt and one ablation at a time."""

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour import answered
from nissl.behaviour.prompts import first_tokens
from nissl.behaviour.questions import Questions
from nissl.network import ablate, scale
from tiny import CAUSAL, N_LAYERS, Letters, tiny

PROMPTS = [
    "abcdefga",
    "abcdefgb",
    "abcdefgcd",
    "abcdefgca",
    "xyxyxyxyxya",
    "xyxyxyxyxyb",
    "xyxyxyxyxyca",
    "m",
    "mn",
    "mn",
    "abcdefga",
]
ANSWERS = list("defghijklmn")


def slowly(net, groups):
    found = np.zeros((len(groups), len(PROMPTS)))
    for row, group in enumerate(groups):
        with torch.inference_mode(), net.edit(*([ablate(group)] if group else [])):
            for column, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
                ids = torch.tensor([net.tokenizer.encode(prompt)])
                logits = net.model(ids).logits[0, -1].detach()
                found[row, column] = logits.log_softmax(-1)[net.tokenizer.encode(answer)[0]]
    return found


@pytest.mark.parametrize("name", CAUSAL)
def test_answers_are_those_of_one_prompt_and_one_ablation_at_a_time(name):
    net = nissl.load(tiny(name), tokenizer=Letters())
    kind = "moe.experts[0].neurons" if name == "mixtral" else "mlp.neurons"
    groups = [[f"blocks.{layer}.{kind}[{i}]" for i in range(5)] for layer in range(1, N_LAYERS)]
    groups += [[], [f"blocks.1.{kind}[7]"]]
    asked = Questions(net, PROMPTS, ANSWERS)
    assert asked.keeps
    found, right = asked.ask(groups, batch_size=5)
    np.testing.assert_allclose(found, slowly(net, groups), atol=1e-5)
    best = asked.ask([[]])[1][0]
    np.testing.assert_array_equal(right[2], best)


def test_preferences_are_those_of_one_prompt_and_one_factor_at_a_time():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    groups = [["blocks.1.mlp.neurons[3]"], ["blocks.2.mlp.neurons[5]"], []]
    others = first_tokens(net, "abcdefghijk")
    found = Questions(net, PROMPTS, ANSWERS).prefer(others, groups, by=[3.0, 0.0, 1.0])
    for row, group, factor in zip(found, groups, [3.0, 0.0, 1.0], strict=True):
        with net.edit(*([scale(group, by=factor)] if group else [])):
            for prompt, answer, other, one in zip(PROMPTS, ANSWERS, others, row, strict=True):
                ids = torch.tensor([net.tokenizer.encode(prompt)])
                logits = net.model(ids).logits[0, -1].detach()
                gain = logits[net.tokenizer.encode(answer)[0]] - logits[other]
                assert one == pytest.approx(float(gain), abs=1e-5)


def test_edits_in_force_are_seen_with_their_positions():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    last = ablate(sites="blocks.1.mlp.neurons", positions=-1)
    with net.edit(last):
        found, _ = answered(net, PROMPTS, ANSWERS, progress=False)
        expected = slowly(net, [[]])[0]
        both = Questions(net, PROMPTS, ANSWERS).ask([["blocks.0.mlp.neurons[2]"], []])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(both[1], expected, atol=1e-5)
    assert np.abs(both[0] - expected).max() > 1e-3


class Doubled:
    """Each token's stream is doubled in a block, and tokens are counted."""

    reads, writes, tokenwise = (), ("blocks.1.resid_post",), True

    def __init__(self, tokenwise):
        self.tokenwise, self.n_tokens, self.ends = tokenwise, 0, []

    def begin(self, batch):
        self.ends += batch.prompt_lengths.tolist()

    def apply(self, site, x, positions, phase):
        assert phase == "prefill"
        self.n_tokens += positions.numel()
        return 2 * x


def test_an_edit_of_each_token_alone_reads_what_prompts_share_once():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    together, apart = Doubled(tokenwise=True), Doubled(tokenwise=False)
    found = []
    for edit in (together, apart):
        with net.edit(edit):
            found.append(answered(net, PROMPTS, ANSWERS, progress=False)[0])
    np.testing.assert_allclose(*found, atol=1e-5)
    assert together.n_tokens < 0.7 * apart.n_tokens == 0.7 * sum(map(len, PROMPTS))
    assert set(map(len, PROMPTS)) <= set(together.ends)  # the rest belongs to the prompt


class Idle(torch.nn.Module):
    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states


def test_a_block_without_attention_keeps_nothing():
    model, net = tiny("llama"), nissl.load(tiny("llama"), tokenizer=Letters())
    model.model.layers.append(Idle())
    model.config.num_hidden_layers += 1
    more = nissl.load(model, tokenizer=Letters())
    found = [answered(one, PROMPTS, ANSWERS, progress=False)[0] for one in (net, more)]
    np.testing.assert_allclose(*found, atol=1e-5)
