"""A recording holds what arrived, each value at its sample, or is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError


class Half(nn.Module):
    def forward(self, x):
        return x[: len(x) // 2]


class Pairs(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 2, *x.shape[1:]).sum(1) if len(x) > 1 else x


class First(nn.Module):
    """All of the first batch, less of a later one."""

    def forward(self, x):
        return x[:2]


class Tokens(nn.Module):
    """One table of positions for all items, and a layer that is given all tokens in one row."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(40, 4), nn.Embedding(9, 4)
        self.flat, self.expert = nn.Linear(4, 6), nn.Linear(6, 6)

    def forward(self, input_ids):
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1])[None])
        x = self.flat(x.flatten(0, 1)).unflatten(0, input_ids.shape)
        called = input_ids % 2 == 0
        if called.any():
            x = x.masked_scatter(called[..., None], self.expert(x[called]))
        return x


def record(module, inputs, sites, **options):
    return nissl.record(nissl.load(module), inputs, sites=sites, progress=False, **options)


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize(
    ("module", "inputs"),
    [(Half(), torch.ones(6, 5)), (Half(), torch.ones(1, 5)), (Pairs(), torch.ones(6, 5))],
)
def test_a_site_with_fewer_rows_than_samples_is_refused(module, inputs, store, tmp_path):
    where = {"store": tmp_path / "a.zarr"} if store else {}
    for options in ({}, {"batch_size": 1}):
        if isinstance(module, Pairs) and options:
            continue  # alone each item is one row
        with pytest.raises(NisslError, match="not known which value belongs to which"):
            record(nn.Sequential(module), inputs, "0", **options, **where)


def test_rows_are_counted_in_every_batch():
    with pytest.raises(NisslError, match=r"\(2, 5\) for samples of \(3,\)"):
        record(nn.Sequential(First()), torch.ones(6, 5), "0", batch_size=3)
    one = nissl.load(nn.Sequential(First()))
    chunks = []
    with pytest.raises(NisslError, match="not known which value"):
        nissl.network.stream(
            one, torch.ones(6, 5), sites="0", batch_size=3, consume=chunks.append, progress=False
        )


def test_one_row_for_all_items_is_refused_and_read_one_by_one():
    net, documents = nissl.load(Tokens()), [[3, 4], [5, 6], [7, 8]]
    with pytest.raises(NisslError, match="batch_size=1"):
        nissl.record(net, documents, sites="places", progress=False)
    rec = nissl.record(net, documents, sites="places", batch_size=1, progress=False)
    expected = net.model.places.weight[:2].detach().numpy()
    assert np.array_equal(rec.values, np.tile(expected, (3, 1)))


def test_tokens_in_one_row_are_put_back_into_their_texts():
    net, documents = nissl.load(Tokens()), [[3, 4, 5], [5, 6, 7], [7, 8, 9]]
    rec = nissl.record(net, documents, sites="flat", progress=False)
    x = net.model.words(torch.tensor(documents)) + net.model.places.weight[:3]
    np.testing.assert_allclose(rec.values, net.model.flat(x).flatten(0, 1).detach(), atol=1e-6)
    assert rec["token"].values.tolist() == [token for row in documents for token in row]


def test_an_unknown_mixture_of_tokens_is_refused():
    for documents in ([[4, 6, 8], [5, 6, 7]], [[4, 4, 3], [5, 7, 7]]):
        with pytest.raises(NisslError, match="not known which value belongs to which"):
            record(Tokens(), documents, "expert")


class Last(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.rnn = nn.GRU(5, 4, num_layers=2, batch_first=batch_first)

    def forward(self, x):
        return self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))[1][-1]


@pytest.mark.parametrize("batch_first", [False, True])
def test_last_states_of_a_recurrent_net_are_each_items_own(batch_first):
    model, x = Last(batch_first), torch.randn(6, 3, 5)
    rec = record(model, x, "rnn:1")
    expected = model.rnn(x if batch_first else x.transpose(0, 1))[1].transpose(0, 1)
    np.testing.assert_array_equal(rec.values, expected.flatten(0, 1).detach())


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.read = nn.Embedding(40, 4), nn.Linear(4, 3)

    def forward(self, input_ids, attention_mask=None):
        x = self.words(input_ids)
        if attention_mask is not None:
            x = x * attention_mask[..., None]
        return self.read(x.sum(1))


def test_a_value_for_each_text_is_one_though_the_first_text_is_one_token():
    net, documents = nissl.load(Pooled()), [[3], [4, 5, 6], [7, 8]]
    rec = nissl.record(net, documents, sites="read", batch_size=3, progress=False)
    rows = [net.model.read(net.model.words(torch.tensor(ids)).sum(0)) for ids in documents]
    np.testing.assert_allclose(rec.values, torch.stack(rows).detach(), atol=1e-6)
    assert rec["document"].values.tolist() == [0, 1, 2]
