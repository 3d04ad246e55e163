"""The tokens with which texts begin."""

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

import nissl
from nissl import NisslError
from nissl.behaviour import beginnings
from nissl.behaviour.prompts import answer_tokens, first_tokens
from tiny import Letters, tiny

MARK = "\u2581"
WORDS = ["<unk>", MARK, f"{MARK}is", f"{MARK}Paris", f"{MARK}Rome", "Paris", "Rome", f"{MARK}New"]
WORDS += [f"{MARK}York", f"{MARK}Delhi", "(", f"{MARK}(", f"{MARK}a", "is"]


def marking(kind):
    """A tokenizer that marks where words begin; as Llama 2 has it, " Paris" alone has two marks."""
    made = Tokenizer(models.Unigram([(w, -len(w) * 0.1 - 1.0) for w in WORDS], unk_id=0))
    if kind == "llama 2":
        parts = [normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]
        made.normalizer = normalizers.Sequence(parts)
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(MARK, prepend_scheme=kind)
    made.decoder = decoders.Metaspace(MARK)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


@pytest.mark.parametrize("kind", ["llama 2", "first", "always", "never"])
def test_an_answer_begins_as_it_goes_on_from_a_prompt(kind):
    net = nissl.load(tiny("llama"), tokenizer=marking(kind))
    token = WORDS.index
    answers = [" Paris", " Rome"]
    if kind == "llama 2":
        alone = [net.tokenizer.encode(a, add_special_tokens=False)[0] for a in answers]
        assert alone == [token(MARK)] * 2  # which would tell nothing
    expected = [token(f"{MARK}Paris"), token(f"{MARK}Rome")]
    assert first_tokens(net, answers).tolist() == expected
    assert first_tokens(net, answers, ["is", "is ("]).tolist() == expected
    bare = first_tokens(net, ["Paris", "Rome"], ["is (", "("])
    assert bare.tolist() == [token("Paris"), token("Rome")]
    assert answer_tokens(net, answers, of=2) == [[t] for t in expected]


def test_answers_without_a_token_and_prompts_that_are_missing_are_refused():
    net = nissl.load(tiny("llama"), tokenizer=marking("llama 2"))
    with pytest.raises(NisslError, match="has no token"):
        first_tokens(net, [""])
    with pytest.raises(NisslError, match="give one for each"):
        first_tokens(net, [" Rome"], ["is", "is"])


def test_a_text_begins_with_its_first_tokens():
    net = nissl.load(tiny("llama"), tokenizer=Letters())
    whole = [net.tokenizer.encode(text, add_special_tokens=False) for text in ("abcde", "f")]
    assert beginnings(net, ["abcde", "f"], 3) == [whole[0][:3], whole[1]]
