"""One gateway: every kind of input is read alike by run, record, generate and behaviours."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour
from nissl.behaviour.prompts import token_ids
from nissl.network import Network, plan_of, restart
from nissl.network.gradients import gradients
from nissl.network.run.calls import Call
from nissl.network.run.forward import single_call
from nissl.network.run.inputs import read_inputs
from nissl.network.run.windows import windows_of
from tiny import ids, inputs, pair_tokenizer, tiny

SITE = "blocks.1.resid_post"
BOS, EOS = 1, 2
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} w9{% endif %}"
)
TEXTS = ["w0 w1 w2", "w3 w4 w5 w6 w7"]
CHAT = [{"role": "user", "content": "w0 w1"}]


def tokenizer_of(around: str):
    """A tokenizer of words that puts tokens around a text, and whose chats bring their own."""
    special = ["<pad>", "<s>", "</s>"]
    vocabulary = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(37))])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(special)
    made.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=TEMPLATE,
    )


@pytest.fixture(scope="module")
def net() -> Network:
    return nissl.load(tiny("llama"), tokenizer=tokenizer_of("<s> $A"))


def tokens(rec) -> list[list[int]]:
    return [rec["token"].values[rec["document"].values == d].tolist() for d in (0, 1)]


def of_texts(net) -> list[list[int]]:
    return [net.tokenizer.encode(text) for text in TEXTS]


def every_kind(net) -> dict:
    padded = net.tokenizer(TEXTS, return_tensors="pt", padding=True)
    left = net.tokenizer(TEXTS, return_tensors="np", padding=True, padding_side="left")
    return {
        "texts": TEXTS,
        "array of texts": np.asarray(TEXTS),
        "column": pd.Series(TEXTS),
        "column of words": pd.Series(TEXTS, dtype="string"),
        "DataFrame": pd.DataFrame({"text": TEXTS}),
        "ids": of_texts(net),
        "ids without a beginning": [row[1:] for row in of_texts(net)],
        "numbers of numpy": [list(np.asarray(row)) for row in of_texts(net)],
        "tensors": [torch.tensor(row) for row in of_texts(net)],
        "BatchEncoding": padded,
        "dict": dict(padded),
        "filled up on the left": left,
        "lists": net.tokenizer(TEXTS),
    }


@pytest.mark.parametrize(
    "kind", every_kind(nissl.load(tiny("llama"), tokenizer=tokenizer_of("$A")))
)
def test_all_kinds_are_the_same_documents(net, kind):
    given = every_kind(net)[kind]
    assert [row.tolist() for row in windows_of(net, given).ids] == of_texts(net)
    rec = nissl.record(net, given, sites=SITE, progress=False)
    plain = nissl.record(net, TEXTS, sites=SITE, progress=False)
    assert np.array_equal(rec.values, plain.values)
    assert tokens(rec) == of_texts(net)
    new = net.generate(TEXTS, max_new_tokens=3)
    found = net.generate(given, max_new_tokens=3)
    if not isinstance(found[0], str):
        found = [net.tokenizer.decode(row, skip_special_tokens=True) for row in found]
    assert found == new
    assert all(new)
    one = Behaviour(net, given, given, metric="log_probability", right=[5, 6])
    other = Behaviour(net, TEXTS, TEXTS, metric="log_probability", right=[5, 6])
    assert torch.equal(one.clean_value, other.clean_value)
    if "without" not in kind:  # a scorer reads ids as they are
        assert [row.tolist() for row in token_ids(net, given)] == of_texts(net)


@pytest.mark.parametrize("kind", ["texts", "DataFrame", "ids", "BatchEncoding", "dict", "lists"])
def test_single_calls_read_them_alike(net, kind):
    given, expected = every_kind(net)[kind], single_call(net, TEXTS)
    call = single_call(net, given)
    assert torch.equal(call.mask, expected.mask)
    assert call.mask.dtype == torch.bool
    real = call.mask
    plain = net.run(TEXTS, sites=SITE)[SITE][real]
    torch.testing.assert_close(net.run(given, sites=SITE)[SITE][real], plain)
    torch.testing.assert_close(restart(net, given, at=SITE).values[real], plain)
    found = gradients(net, given, sites=SITE, metric=lambda y: y[:, 0].sum())
    torch.testing.assert_close(found.values[SITE][real], plain)
    assert single_call(net, call) is call
    again = [row.tolist() for row in read_inputs(net, Call((), call.kwargs)).documents]
    assert again == of_texts(net)


def test_chats_have_one_beginning(net):
    for chat in (CHAT, [CHAT]):
        assert [row.tolist() for row in windows_of(net, chat).ids] == [[BOS, 3, 4]]
        assert single_call(net, chat).kwargs["input_ids"].tolist() == [[BOS, 3, 4]]
        for bos in ("window", "document"):
            assert windows_of(net, chat, bos=bos).ids[0].tolist() == [BOS, 3, 4]
    rec = nissl.record(net, CHAT, sites=SITE, progress=False)
    assert rec["token"].values.tolist() == [BOS, 3, 4]
    assert read_inputs(net, CHAT, reply=True).documents[0].tolist() == [BOS, 3, 4, 12]
    for chat in (CHAT, [CHAT]):
        assert [row.tolist() for row in token_ids(net, chat)] == [[BOS, 3, 4, 12]]
    assert isinstance(net.generate(CHAT, max_new_tokens=1), str)
    assert isinstance(net.generate([CHAT], max_new_tokens=1), list)


@pytest.mark.parametrize("bos", [None, "window", "document"])
def test_ids_that_begin_with_the_beginning_get_no_second_one(net, bos):
    whole, bare = [BOS, 5, 6, 7, 8, 9], [5, 6, 7, 8, 9]
    one, other = (windows_of(net, [row], bos=bos, window=4) for row in (whole, bare))
    assert [row.tolist() for row in one.ids] == [row.tolist() for row in other.ids]
    # Offsets count the tokens as they were given.
    assert one.offset.tolist() == (other.offset + 1).tolist()
    assert one.skip.tolist() == other.skip.tolist()
    assert windows_of(net, [whole], bos="never").ids[0].tolist() == whole


def test_what_ends_texts_does_not_end_prompts():
    net = nissl.load(tiny("llama"), tokenizer=tokenizer_of("<s> $A </s>"))
    bare = nissl.load(tiny("llama"), tokenizer=tokenizer_of("<s> $A"))
    assert net.generate(TEXTS, max_new_tokens=4) == bare.generate(TEXTS, max_new_tokens=4)
    assert net.generate(net.tokenizer(TEXTS), max_new_tokens=4) == bare.generate(
        bare.tokenizer(TEXTS), max_new_tokens=4
    )
    assert windows_of(net, [[BOS, 5, 6, EOS]]).ids[0].tolist() == [BOS, 5, 6, EOS]


def test_answers_end_at_the_end_that_was_asked_for(net):
    x = ids(batch=4, length=5).tolist()
    free = net.generate(x, max_new_tokens=6, eos_token_id=-1)
    end = next(row[1] for row in free if row[1] != row[0])
    for ends in (end, [end, 39]):
        for row, cut in zip(
            free, net.generate(x, max_new_tokens=6, eos_token_id=ends), strict=True
        ):
            asked = [ends] if isinstance(ends, int) else ends
            stop = next((i for i, token in enumerate(row) if token in asked), len(row) - 1)
            assert cut == row[: stop + 1]


def test_pairs_of_texts_are_read_as_given_and_padding_is_no_sample():
    tokenizer = pair_tokenizer()
    net = nissl.load(tiny("bert"), tokenizer=tokenizer)
    pairs = ["w1 w2", "w3"], ["w4", "w5 w6 w7"]
    given = tokenizer(*pairs, return_tensors="pt", padding=True)
    rec = nissl.record(net, given, sites=SITE, batch_size=1, progress=False)
    mask = given["attention_mask"].bool()
    assert rec["token"].values.tolist() == given["input_ids"][mask].tolist()
    with torch.no_grad():
        whole = [
            net.run({k: v[i : i + 1] for k, v in given.items()}, sites=SITE)[SITE] for i in (0, 1)
        ]
    assert np.array_equal(rec.values, torch.cat(whole)[mask].numpy())
    alone = nissl.record(
        net,
        [row[m] for row, m in zip(given["input_ids"], mask, strict=True)],
        sites=SITE,
        progress=False,
    )
    assert not np.allclose(rec.values, alone.values)  # which text is which makes a difference
    with pytest.raises(NisslError, match="pairs of texts in lists"):
        net.run(tokenizer(*pairs), sites=SITE)


def test_padding_without_ids_is_refused(net):
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    mask = torch.ones(2, 5, dtype=torch.long)
    whole = nissl.record(
        net, {"inputs_embeds": x, "attention_mask": mask}, sites=SITE, progress=False
    )
    assert whole.shape == (10, 16)
    mask[0, 3:] = 0
    with pytest.raises(NisslError, match="there is padding"):
        nissl.record(net, {"inputs_embeds": x, "attention_mask": mask}, sites=SITE, progress=False)


def test_plans_of_text_and_of_items(net):
    plan = plan_of(net, TEXTS, batch_size=1)
    assert plan_of(net, plan) is plan
    assert plan.text("this") is plan
    assert (plan.tokens, plan.n_items, plan.n_samples) == (True, 2, 10)
    assert [plan.size(batch) for batch in plan.batches] == [4, 6]
    items = plan_of(nissl.load(tiny("conv")), inputs("conv"))
    assert (items.tokens, items.n_items, items.n_samples, items.unit) == (False, 2, 2, "items")
    assert items.samples()["stimulus"].tolist() == [0, 1]
    with pytest.raises(NisslError, match="n-grams are of text"):
        items.text("n-grams")


def test_what_cannot_be_read_is_said(net):
    with pytest.raises(NisslError, match="no column 'text'"):
        net.run(pd.DataFrame({"words": TEXTS}), sites=SITE)
    with pytest.raises(NisslError, match="not among the 40"):
        net.run({"input_ids": torch.tensor([[3, 40]])}, sites=SITE)
    with pytest.raises(NisslError, match="there is no prompt"):
        net.generate({"inputs_embeds": torch.zeros(1, 2, 16)})
    with pytest.raises(NisslError, match="there is no text"):
        windows_of(net, [])
    read = windows_of(net, (text for text in TEXTS)).ids
    assert [row.tolist() for row in read] == of_texts(net)


def test_arrays_that_are_read_backwards():
    net = nissl.load(tiny("llama"), progress=False)
    forwards = np.arange(11, 5, -1)
    for given in ([forwards[::-1]], forwards[None, ::-1], {"input_ids": forwards[None, ::-1]}):
        found = net.run(given, sites="logits")["logits"]
        assert torch.equal(found, net.run([[6, 7, 8, 9, 10, 11]], sites="logits")["logits"])
    linear = nissl.load(torch.nn.Linear(3, 1), progress=False)
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    found = linear.run(x[:, ::-1], sites=":in")[":in"]
    assert torch.equal(found, torch.from_numpy(x[:, ::-1].copy()))
