"""Prompts scored with shared prefixes and under many edits, against one of each at a time."""

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour.prompt_scorer import PromptScorer, ablations
from nissl.behaviour.prompts import first_tokens
from nissl.network import ablate, scale
from tiny import CAUSAL, MIXTURES, N_LAYERS, Letters, tiny

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


UNCACHED = ("granitemoe", "gpt_bigcode", "gpt_bigcode_many")  # none named, or none that grows


@pytest.mark.parametrize("name", CAUSAL)
def test_answers_are_those_of_one_prompt_and_one_ablation_at_a_time(name):
    net = nissl.load(tiny(name), tokenizer=Letters())
    layers = [1] if name == "qwen3_moe" else range(1, N_LAYERS)
    kind = "moe.experts[0].neurons" if name in MIXTURES else "mlp.neurons"
    groups = [[f"blocks.{layer}.{kind}[{i}]" for i in range(5)] for layer in layers]
    groups += [[], [f"blocks.1.{kind}[7]"]]
    scorer = PromptScorer(net, PROMPTS, ANSWERS)
    assert scorer.keeps or name in UNCACHED
    found, right = scorer.answers(ablations(groups), batch_size=5, progress=False)
    np.testing.assert_allclose(found, slowly(net, groups), atol=1e-5)
    best = scorer.answers(progress=False)[1]
    np.testing.assert_array_equal(right[2], best)


def test_preferences_are_those_of_one_prompt_and_one_factor_at_a_time():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    groups = [["blocks.1.mlp.neurons[3]"], ["blocks.2.mlp.neurons[5]"], []]
    others = first_tokens(net, "abcdefghijk")
    edits = [scale(groups[0], by=3.0), ablate(groups[1]), None]
    found = PromptScorer(net, PROMPTS, ANSWERS).preferences(others, edits, progress=False)
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
        found, _ = PromptScorer(net, PROMPTS, ANSWERS).answers(progress=False)
        expected = slowly(net, [[]])[0]
        edits = ablations([["blocks.0.mlp.neurons[2]"], []])
        both = PromptScorer(net, PROMPTS, ANSWERS).answers(edits, progress=False)[0]
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
            found.append(PromptScorer(net, PROMPTS, ANSWERS).answers(progress=False)[0])
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
    found = [PromptScorer(one, PROMPTS, ANSWERS).answers(progress=False)[0] for one in (net, more)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_short_prompts_equal_one_at_a_time():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), rng.integers(2, 9))) for _ in range(12)]
    answers = list("ghijkl" * 2)
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    scorer = PromptScorer(net, texts, answers)
    found, right = scorer.answers(batch_size=5, progress=False)
    ranks = scorer.ranks(batch_size=5, progress=False)
    for row, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        with torch.no_grad():
            logits = net.model(torch.tensor([net.tokenizer.encode(text)])).logits[0, -1]
        wanted = net.tokenizer.encode(answer)[0]
        assert abs(float(logits.log_softmax(-1)[wanted]) - found[row]) < 1e-5
        assert right[row] == (int(logits.argmax()) == wanted) == (ranks[row] == 1)
        assert ranks[row] == 1 + int((logits > logits[wanted]).sum())


def test_whole_answers_are_summed_over_their_tokens_each_after_those_before():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    prompts, answers = ["abc", "abd", "x"], ["de", "f", "ghi"]
    edit = ablate(["blocks.1.mlp.neurons[2]", "blocks.0.mlp.neurons[4]"])
    scorer = PromptScorer(net, prompts, answers, whole_answers=True)
    found, right = scorer.answers([None, edit], batch_size=4, progress=False)
    ranks = scorer.ranks([None, edit], progress=False)
    encode = net.tokenizer.encode
    for row, edits in enumerate(([], [edit])):
        with torch.no_grad(), net.edit(*edits):
            for column, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
                ids, wanted = encode(prompt), encode(answer)
                logits = net.model(torch.tensor([ids + wanted])).logits[0, len(ids) - 1 : -1]
                chosen = logits[torch.arange(len(wanted)), wanted]
                each = logits.log_softmax(-1)[torch.arange(len(wanted)), wanted]
                assert found[row, column] == pytest.approx(float(each.sum()), abs=1e-5)
                assert right[row, column] == bool((logits.argmax(-1) == torch.tensor(wanted)).all())
                assert ranks[row, column] == 1 + int((logits > chosen[:, None]).sum(-1).max())


def test_what_cannot_be_scored_is_refused():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    with pytest.raises(nissl.NisslError, match="1 answers for 2 prompts"):
        PromptScorer(net, ["a", "b"], ["c"])
    with pytest.raises(nissl.NisslError, match="has no token"):
        PromptScorer(net, ["a"], [""])
    with pytest.raises(nissl.NisslError, match="has no token"):
        PromptScorer(net, [[]])
