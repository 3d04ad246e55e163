"""The logit lens against the network's own logits, and streams unembedded by hand."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import unembed
from tiny import CAUSAL, tiny

IDS = [[5, 6, 7, 8], [9, 10]]


@pytest.mark.parametrize("name", CAUSAL)
def test_the_last_block_says_what_the_network_says(name):
    net = nissl.load(tiny(name))
    lens = net.logit_lens(IDS, answers=[3])
    last = lens.table[lens.table["layer"] == net.n_layers - 1]
    asked = lens.answers[lens.answers["layer"] == net.n_layers - 1]
    for item, ids in enumerate(IDS):
        said = net.run([ids], sites="logits")["logits"][0].float().log_softmax(-1)
        of_item = last[last["item"] == item]
        assert of_item["best"].tolist() == [str(int(one)) for one in said.argmax(-1)]
        np.testing.assert_allclose(of_item["probability"], said.max(-1).values.exp(), atol=1e-5)
        own = asked[asked["item"] == item]
        np.testing.assert_allclose(own["log_probability"], said[:, 3], atol=1e-4)
        assert own["rank"].tolist() == [1 + int((row > row[3]).sum()) for row in said]


def test_every_block_and_position_is_its_stream_unembedded():
    net = nissl.load(tiny("llama"))
    lens = net.logit_lens(IDS[0], positions=[0, -1], sites="blocks.*.resid_pre")
    streams, read = net.run(IDS[:1], sites="blocks.*.resid_pre"), unembed(net)
    for row in lens.table.itertuples():
        said = read(streams[row.site][0, row.position]).softmax(-1)
        assert int(row.best) == int(said.argmax())
        assert row.probability == pytest.approx(float(said.max()), rel=1e-5)
    assert lens.table["position"].unique().tolist() == [0, 3]
    assert lens.answers.empty


def test_edits_in_force_are_seen():
    net = nissl.load(tiny("llama"))
    whole = net.logit_lens(IDS).table["probability"]
    with net.edit(nissl.ablate(sites="blocks.0.mlp.out")):
        assert not np.allclose(net.logit_lens(IDS).table["probability"], whole)


def test_the_picture_shows_a_word_for_each_block_and_position():
    net = nissl.load(tiny("llama"))
    axes = net.logit_lens(IDS).plot(item=1)
    assert len(axes.texts) == 2 * net.n_layers
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["9", "10"]
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == ["0", "1"]


def test_what_is_no_stream_or_no_token_is_refused():
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="not in the residual stream"):
        net.logit_lens(IDS, sites="blocks.0.mlp.neurons")
    with pytest.raises(NisslError, match="tokenizer"):
        net.logit_lens(IDS, answers=[" Rome"])
    with pytest.raises(NisslError, match="unembedding"):
        nissl.load(tiny("bert")).logit_lens(IDS)


@pytest.mark.real
def test_an_answer_is_two_tokens_or_one():
    net = nissl.load("smollm2")
    lens = net.logit_lens("The Colosseum is in", positions=-1, answers=[" Rome", " Paris"])
    rank = lens.answers.pivot(index="layer", columns="answer", values="rank")
    assert rank.loc[29, " Rome"] < rank.loc[29, " Paris"]
    with torch.no_grad(), pytest.raises(NisslError, match="tokens, not one"):
        net.logit_lens("The", answers=[" Kolosseumplatz"])
