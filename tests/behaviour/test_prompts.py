"""The tokens with which texts begin."""

import nissl
from nissl.behaviour import beginnings
from tiny import Letters, tiny


def test_a_text_begins_with_its_first_tokens():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    whole = [net.tokenizer.encode(text, add_special_tokens=False) for text in ("abcde", "f")]
    assert beginnings(net, ["abcde", "f"], 3) == [whole[0][:3], whole[1]]
