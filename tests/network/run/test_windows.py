"""Texts, chats and ids as windows, and what is refused."""

import numpy as np
import pytest

import nissl
from nissl import NisslError
from nissl.network.run.inputs import is_sequence_input
from nissl.network.run.windows import batches_of, windows_of
from tiny import VOCABULARY, tiny


@pytest.fixture
def net():
    return nissl.load(tiny("llama"))


def test_ids_beyond_the_vocabulary_are_refused(net):
    with pytest.raises(NisslError, match=f"token id {VOCABULARY} is not among"):
        windows_of(net, [[5, VOCABULARY]])


def test_a_window_beyond_the_context_is_refused(net):
    with pytest.raises(NisslError, match="beyond the model's context of 64"):
        windows_of(net, [[5]], window=65)
    with pytest.raises(NisslError, match="longer than the model's context"):
        net.run([[5] * 65], sites="embed")


def test_text_needs_a_tokenizer(net):
    with pytest.raises(NisslError, match="has no tokenizer"):
        windows_of(net, "hello")


@pytest.mark.parametrize("nothing", [[], [[]], [[5], []]])
def test_nothing_to_read_is_refused(net, nothing):
    with pytest.raises(NisslError):
        windows_of(net, nothing)


def test_the_fingerprint_is_of_every_token(net):
    first = windows_of(net, [[5, 6], [7]]).fingerprint()
    assert first == windows_of(net, [[5, 6], [7]]).fingerprint()
    assert first != windows_of(net, [[5], [6, 7]]).fingerprint()


def test_no_more_is_read_than_the_window_that_reaches_so_many_tokens(net):
    windows = windows_of(net, [[5] * 6, [6] * 6, [7] * 6], window=4)
    assert [len(ids) for ids in windows.first(7).ids] == [4, 2, 4]
    assert windows.first(6).n_samples == 6
    assert windows.first(100).fingerprint() == windows.fingerprint()


def test_batches_hold_about_as_many_tokens_and_every_window():
    lengths = [512, 512, 512, 512, 512, 10, 3, 2000, 4]
    groups = batches_of(lengths, batch_size=None)
    assert [i for group in groups for i in group] == list(range(9))
    assert all(max(lengths[i] for i in g) * len(g) <= 2048 or len(g) == 1 for g in groups)
    assert [len(g) for g in batches_of(lengths, batch_size=4)] == [4, 4, 1]


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [
        ("a", True),
        (["a", "b"], True),
        ([1, 2], True),
        ([[1], [2, 3]], True),
        ([{"role": "user"}], True),
        (np.zeros((2, 3)), False),
        (np.zeros((2, 3), int), True),
        (np.zeros((2, 4, 4, 3), np.uint8), False),
        ({"x": 1}, False),
    ],
)
def test_what_is_read_as_a_sequence(inputs, answer):
    assert is_sequence_input(inputs) is answer


@pytest.mark.real
def test_texts_and_chats_of_a_real_tokenizer(smollm2):
    tokenizer = smollm2.tokenizer
    plain = windows_of(smollm2, ["Hello there"])
    assert plain.ids[0].tolist() == tokenizer("Hello there")["input_ids"]
    assert plain.bos == "never"  # this tokenizer puts nothing before a text
    chat = [{"role": "user", "content": "Hello"}]
    expected = tokenizer.apply_chat_template(chat, tokenize=False)
    assert tokenizer.decode(windows_of(smollm2, chat).ids[0]) == expected
    started = windows_of(smollm2, ["Hello there " * 20], window=8, bos="window")
    assert all(ids[0] == tokenizer.bos_token_id for ids in started.ids)
    assert started.skip.tolist() == [0] + [1] * (len(started.ids) - 1)
    with pytest.raises(NisslError, match="the text is empty"):
        windows_of(smollm2, ["Hello", "  "])
