"""Answers in batches, against one prompt at a time."""

import numpy as np
import torch

import nissl
from nissl.behaviour import answered
from tiny import Letters, tiny


def test_answers_equal_one_prompt_at_a_time():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), rng.integers(2, 9))) for _ in range(12)]
    answers = list("ghijkl" * 2)
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    found, right = answered(net, texts, answers, batch_size=5, progress=False)
    for row, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        with torch.no_grad():
            logits = net.model(torch.tensor([net.tokenizer.encode(text)])).logits[0, -1]
        wanted = net.tokenizer.encode(answer)[0]
        assert abs(float(logits.log_softmax(-1)[wanted]) - found[row]) < 1e-5
        assert right[row] == (int(logits.argmax()) == wanted)
