"""Tokens of two tokenizers meet where they end at the same character."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.network import with_places
from nissl.recording import align, as_recording
from nissl.training import small_tokenizer

TEXTS = ["the cat sat on the mat", "das Hündchen, 小狗 the cat"]


def read(tokenizer, *, bos: bool = False):
    """A recording whose only unit says at which character a token ends."""
    rows = []
    for document, text in enumerate(TEXTS):
        spans = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        rows += [(document, -1, 0)] * bos
        rows += [(document, i, end) for i, (_, end) in enumerate(spans)]
    document, offset, end = np.asarray(rows).T
    return as_recording(
        end[:, None].astype(float), samples={"document": document, "offset": offset}
    )


def test_two_tokenizers_meet():
    coarse = small_tokenizer(TEXTS * 9, vocabulary=300)
    fine = small_tokenizer(["cat"], vocabulary=257)
    a = with_places(read(coarse, bos=True), TEXTS, coarse)
    b = with_places(read(fine), TEXTS, fine)
    assert b.sizes["sample"] == sum(map(len, TEXTS))  # one token a byte, one place a character
    assert a.sizes["sample"] < b.sizes["sample"]
    a, b = align(a, b, on="place", missing="drop")
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a["place"] // 2**32, a["document"])
    np.testing.assert_array_equal(a["place"] % 2**32, a.values[:, 0])
    assert {(0, 22), (1, 24)} <= {divmod(int(p), 2**32) for p in a["place"]}


def test_what_cannot_be_is_refused():
    tokenizer = small_tokenizer(TEXTS, vocabulary=257)
    with pytest.raises(NisslError, match="document 1 is not among the 1 texts"):
        with_places(read(tokenizer), TEXTS[:1], tokenizer)
    with pytest.raises(NisslError, match="22 tokens of a text of 3"):
        with_places(read(tokenizer), ["the", TEXTS[1]], tokenizer)
    with pytest.raises(NisslError, match="no sample coordinate is called 'document'"):
        with_places(as_recording(np.zeros((2, 1))), TEXTS, tokenizer)
    with pytest.raises(NisslError, match="does not know the characters"):
        with_places(read(tokenizer), TEXTS, object())
