"""A long text read in parts gives the token ids of the whole."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from nissl.network.run import long_text

WORDS = ["the", "cat", "sat,", "on", "12", "mats.\n\n", "", "And", "then?\tÉté", "naïve", "—"]
WORDS += ["東京は夜", "\U0001f600", "it's"]


def text(n, seed=0):
    rng = np.random.default_rng(seed)
    ends = np.array([" ", " ", " ", "\n", "  ", "\n\n", ""])
    return "".join(
        WORDS[i] + ends[e] for i, e in zip(rng.integers(len(WORDS), size=n),
                                           rng.integers(len(ends), size=n), strict=True)
    )  # fmt: skip


def tokenizer(kind):
    trained = {
        "bytes": lambda: (models.BPE(), trainers.BpeTrainer, pre_tokenizers.ByteLevel(False)),
        "metaspace": lambda: (models.Unigram(), trainers.UnigramTrainer,
                              pre_tokenizers.Metaspace()),
        "words": lambda: (models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer,
                          pre_tokenizers.BertPreTokenizer()),
        "none": lambda: (models.BPE(), trainers.BpeTrainer, None),
        "prefix": lambda: (models.BPE(), trainers.BpeTrainer, pre_tokenizers.Whitespace()),
    }[kind]()  # fmt: skip
    made = Tokenizer(trained[0])
    if trained[2] is not None:
        made.pre_tokenizer = trained[2]
    if kind == "words":
        made.normalizer = normalizers.BertNormalizer()
    if kind == "prefix":
        made.normalizer = normalizers.Prepend("x")
    if kind == "bytes":
        made.decoder = decoders.ByteLevel()
    trainer = trained[1](vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    made.train_from_iterator([text(2000)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


@pytest.mark.parametrize(
    ("kind", "cut"),
    [("bytes", True), ("words", True), ("metaspace", None), ("none", False), ("prefix", False)],
)
def test_parts_give_what_the_whole_gives(monkeypatch, kind, cut):
    monkeypatch.setattr(long_text, "LONG", 1000)
    monkeypatch.setattr(long_text, "SEARCHED", 600)
    made, long = tokenizer(kind), text(3000, seed=1)
    right = made.encode(long, add_special_tokens=False)
    np.testing.assert_array_equal(long_text.encode(made, long), right)
    parts = list(long_text._parts(made, long))
    assert "".join(parts) == long
    if cut is not None:
        assert (len(parts) > 5) == cut
    spaces = " " * 5000 + "a" * 5000 + long[:50]
    whole = made.encode(spaces, add_special_tokens=False)
    np.testing.assert_array_equal(long_text.encode(made, spaces), whole)
