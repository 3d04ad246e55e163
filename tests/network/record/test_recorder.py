"""Recorded values against hooks written by hand, on real models and small ones."""

import json

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import stream
from tiny import ids, inputs, tiny


def by_hand(model, path, call, *, of_input=False):
    """What a plain hook sees, the batch's calls in a list."""
    seen = []

    def hook(module, args, output=None):
        value = args[0] if of_input else output
        value = value[0] if isinstance(value, tuple) else value
        seen.append(
            {k: v.detach().clone() for k, v in value.items()}
            if isinstance(value, dict)
            else value.detach().clone()
        )

    module = model.get_submodule(path)
    handle = (module.register_forward_pre_hook if of_input else module.register_forward_hook)(hook)
    try:
        with torch.no_grad():
            call()
    finally:
        handle.remove()
    return seen


@pytest.mark.real
def test_smollm2_equals_hooks_written_by_hand(smollm2):
    texts = ["The capital of France is", "When Mary and John went to the store, John gave"]
    sites = ["blocks.7.mlp.neurons", "blocks.29.resid_post"]
    rec = nissl.record(smollm2, texts, sites=sites, progress=False)
    for number, text in enumerate(texts):
        encoded = smollm2.tokenizer(text, return_tensors="pt")
        rows = rec["document"].values == number
        assert rec["token"].values[rows].tolist() == encoded["input_ids"][0].tolist()
        paths = [("model.layers.7.mlp.down_proj", True), ("model.layers.29", False)]
        for site, (path, of_input) in zip(sites, paths, strict=True):
            (expected,) = by_hand(
                smollm2.model, path, lambda e=encoded: smollm2.model(**e), of_input=of_input
            )
            ours = rec.values[rows][:, rec["site"].values == site]
            error = np.abs(ours - expected[0].numpy()).max()
            assert error <= 5e-4 * float(expected.square().mean().sqrt())


@pytest.mark.real
def test_resnet50_equals_hooks_written_by_hand(resnet50):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    path = "layer3.0.conv2"
    (expected,) = by_hand(resnet50.model, path, lambda: resnet50.model(images))
    rec = nissl.record(resnet50, images, sites=path, progress=False)
    assert np.array_equal(rec.values, expected.movedim(1, -1).flatten(0, -2).numpy())
    n, _, height, width = expected.shape
    assert rec["stimulus"].values.tolist() == np.repeat(range(n), height * width).tolist()
    assert rec["column"].values[: width + 1].tolist() == [*range(width), 0]


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_layers_equal_hooks_written_by_hand(name):
    model, x = tiny(name), inputs(name)
    (expected,) = by_hand(model, "rnn", lambda: model(x))
    if not model.batch_first:
        expected = expected.transpose(0, 1)
    rec = nissl.record(nissl.load(model), x, sites="rnn", progress=False)
    assert np.array_equal(rec.values, expected.flatten(0, 1).numpy())
    assert rec["position"].values.tolist() == [0, 1, 2, 3, 4] * 2


def test_a_module_that_returns_a_dict_equals_hooks_written_by_hand():
    model, x = tiny("dictionary"), inputs("dictionary")
    (expected,) = by_hand(model, "inner", lambda: model(x))
    net = nissl.load(model)
    for key in ("hidden", "gate"):
        rec = nissl.record(net, x, sites=f"inner:{key}", progress=False)
        assert np.array_equal(rec.values, expected[key].flatten(0, 1).numpy())
    with pytest.raises(NisslError, match="several tensors: hidden, gate"):
        nissl.record(net, x, sites="inner", progress=False)


def test_items_of_tuples_are_named_by_their_number():
    model, x = tiny("tuple"), inputs("tuple")
    found = nissl.load(model).run(x, sites=["inner", "inner:1"])
    assert torch.equal(found["inner"], model.a(x) if hasattr(model, "a") else model.inner.a(x))
    assert torch.equal(found["inner:1"], model.inner.b(x).sigmoid())


def test_values_are_those_before_a_change_in_place():
    model, x = tiny("conv"), inputs("conv")
    rec = nissl.record(nissl.load(model), x, sites=["norm", "conv2"], progress=False)
    with torch.no_grad():
        normed = model.norm(model.conv1(x))
        second = model.conv2(normed.relu())
    both = torch.cat([normed, second], 1).movedim(1, -1).flatten(0, -2)
    assert np.array_equal(rec.values, both.numpy())
    assert rec.values.min() < 0  # the ReLU after it, in place, did not reach the recording


def test_a_cell_called_at_each_step_gives_a_sample_for_each_call():
    model, x = tiny("repeated"), inputs("repeated")
    expected = torch.stack(by_hand(model, "cell", lambda: model(x)), 1)
    rec = nissl.record(nissl.load(model), x, sites="cell", batch_size=1, progress=False)
    assert np.allclose(rec.values, expected.flatten(0, 1).numpy(), rtol=0, atol=1e-14)
    assert rec["call"].values.tolist() == [0, 1, 2, 3, 4] * 2


def test_sites_whose_samples_differ_come_back_apart():
    found = nissl.record(
        nissl.load(tiny("conv")), inputs("conv"), sites=["conv1", "conv2", "head"], progress=False
    )
    assert {site: rec.shape for site, rec in found.items()} == {
        "conv1": (128, 4),
        "conv2": (128, 4),
        "head": (2, 3),
    }


def test_every_token_of_a_long_text_is_one_sample():
    net, text = nissl.load(tiny("llama")), ids(1, 50)[0].tolist()
    for stride in (8, 5, 1):
        rec = nissl.record(
            net,
            [text, text[:3]],
            sites="blocks.0.mlp.neurons",
            window=8,
            stride=stride,
            progress=False,
        )
        assert rec["token"].values.tolist() == text + text[:3]
        assert rec["offset"].values.tolist() == [*range(50), *range(3)]
        assert rec["position"].values[:50].max() == 7
        assert (rec["position"].values[8:50] >= 8 - stride).all()


@pytest.mark.parametrize("stored", [False, True])
def test_labels_of_documents_travel(tmp_path, stored):
    import pandas as pd

    table = pd.DataFrame(
        {
            "text": [[5, 6], [7, 8, 9], [4]],
            "language": ["en", "日本語", None],
            "year": [1, 2, 1],
            "code": ["1", "02", ""],
            "kind": pd.Categorical(["b", "a", "b"]),
        }
    )
    store = tmp_path / "store" if stored else None
    rec = nissl.record(nissl.load(tiny("gpt2")), table, sites="embed", store=store, progress=False)
    assert rec["language"].values.tolist() == ["en"] * 2 + ["日本語"] * 3 + [""]
    assert rec["year"].values.tolist() == [1, 1, 2, 2, 2, 1]
    assert rec["code"].values.tolist() == ["1"] * 2 + ["02"] * 3 + [""]
    assert rec[rec["kind"] == "a"]["token"].values.tolist() == [7, 8, 9]
    assert rec[rec["language"].isin(["en", ""])]["token"].values.tolist() == [5, 6, 4]
    assert rec.groupby("kind").sum()["kind"].values.tolist() == ["a", "b"]
    seen = []
    stream(
        nissl.load(tiny("gpt2")),
        table,
        sites="embed",
        consume=lambda chunk: seen.extend(chunk.samples["language"]),
        progress=False,
    )
    assert seen == rec["language"].values.tolist()


def test_a_stream_hands_on_what_a_recording_keeps():
    net, texts = nissl.load(tiny("gpt2")), [row.tolist() for row in ids(5, 9)]
    texts[1] = texts[1][:4]
    rec = nissl.record(net, texts, sites="mlp.neurons", batch_size=2, progress=False)
    again, tokens, batches = np.full(rec.shape, np.nan), {}, []

    def consume(chunk):
        columns = rec["site"].values == chunk.site
        again[chunk.start : chunk.start + len(chunk.values), columns] = chunk.values
        tokens[chunk.start] = chunk.samples["token"].copy()

    plan = stream(
        net,
        texts,
        sites="mlp.neurons",
        batch_size=2,
        consume=consume,
        after=batches.append,
        progress=False,
    )
    assert np.abs(again - rec.values).max() < 1e-6  # chunks are float32
    assert (
        np.concatenate([tokens[k] for k in sorted(tokens)]).tolist() == rec["token"].values.tolist()
    )
    assert batches == [0, 1, 2]
    assert plan.n_samples == len(rec)


def test_a_stream_goes_on_where_it_is_told():
    net, texts = nissl.load(tiny("gpt2")), [row.tolist() for row in ids(5, 9)]
    starts = []
    stream(
        net,
        texts,
        sites="embed",
        batch_size=2,
        first=1,
        progress=False,
        consume=lambda chunk: starts.append(chunk.start),
    )
    assert starts == [18, 36]


def test_a_store_holds_what_memory_holds(tmp_path):
    net, texts = nissl.load(tiny("llama")), [row.tolist() for row in ids(6, 9)]
    sites = ["mlp.neurons", "resid_post"]
    rec = nissl.record(net, texts, sites=sites, dtype="float32", progress=False)
    kept = nissl.record(net, texts, sites=sites, store=tmp_path / "acts.zarr", progress=False)
    assert kept["unit"].values.tolist() == rec["unit"].values.tolist()
    assert np.array_equal(kept.values, rec.values.astype("float32"))
    assert kept["token"].values.tolist() == rec["token"].values.tolist()
    assert kept.attrs["weights"] == net.weights_hash


def test_maps_of_different_sizes_lie_in_one_store(tmp_path):
    net, x = nissl.load(tiny("conv")), inputs("conv")
    sites = ["conv1", "conv2", "head"]
    kept = nissl.record(net, x, sites=sites, batch_size=1, store=tmp_path / "s", progress=False)
    for site, rec in nissl.record(net, x, sites=sites, progress=False).items():
        assert np.array_equal(kept[site].values, rec.values.astype("float32"))
        assert kept[site]["stimulus"].values.tolist() == rec["stimulus"].values.tolist()


def test_a_store_of_another_text_is_not_gone_on_with(tmp_path):
    net, path = nissl.load(tiny("llama")), tmp_path / "acts.zarr"
    nissl.record(net, [[5, 6, 7]], sites="embed", store=path, progress=False)
    with pytest.raises(NisslError, match="text"):
        nissl.record(net, [[5, 6, 8]], sites="embed", store=path, progress=False)


def test_numbers_that_are_not_finite_are_counted_and_warned_of():
    class Broken(torch.nn.Module):
        def forward(self, x):
            return x / x

    net = nissl.load(torch.nn.Sequential(Broken(), torch.nn.Linear(3, 1)))
    x = torch.ones(4, 3)
    x[1, 2] = 0
    with pytest.warns(UserWarning, match=r"1 values of 1 units are NaN or infinite: 0\[2\]"):
        rec = nissl.record(net, x, sites="0", progress=False)
    assert json.loads(rec.attrs["nonfinite"]) == {"0[2]": 1}


def test_an_overflow_on_a_cast_names_unit_and_sample():
    net = nissl.load(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 1)))
    x = torch.ones(4, 3)
    x[2, 1] = 70_000
    with pytest.raises(NisslError, match="overflows float16") as caught:
        nissl.record(net, x, sites="0", dtype="float16", progress=False)
    assert "0[1]" in caught.value.where
    assert "sample 2" in caught.value.where
    bfloat = nissl.record(net, x, sites="0", dtype="bfloat16", progress=False)
    assert abs(float(bfloat.values[2, 1]) - 70_000) < 300


def test_patterns_and_parts_that_never_run_are_refused():
    with pytest.raises(NisslError, match="not one number for each sample"):
        nissl.record(nissl.load(tiny("llama")), ids(), sites="attn.pattern", progress=False)
    net = nissl.load(tiny("attention"))
    with pytest.raises(NisslError, match="never fired"):
        nissl.record(net, inputs("attention"), sites="attention.out_proj", progress=False)
    assert nissl.record(net, inputs("attention"), sites="attention", progress=False).shape == (
        10,
        6,
    )


def test_a_compiled_model_that_keeps_no_hooks_is_refused():
    model = tiny("tuple")
    compiled = torch.compile(model, backend="eager")
    x = inputs("tuple")
    with torch.no_grad():
        compiled(x)  # compiled before any hook: later ones are not seen
    net = nissl.load(compiled)
    with pytest.raises(NisslError, match="never fired"):
        net.run(x, sites="_orig_mod.inner:0")


def test_unknown_sites_come_with_the_nearest():
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match=r"did you mean 'mlp\.neurons'"):
        nissl.record(net, ids(), sites="mlp.neuron", progress=False)
    with pytest.raises(NisslError, match="did you mean 'conv2'"):
        nissl.record(nissl.load(tiny("conv")), inputs("conv"), sites="conv3", progress=False)


def test_a_recording_that_cannot_fit_is_refused_before_it_begins(monkeypatch):
    monkeypatch.setattr("nissl.recording.free_memory.free_memory", lambda: 1000)
    with pytest.raises(NisslError, match="store="):
        nissl.record(nissl.load(tiny("llama")), ids(), sites="resid_post", progress=False)


def test_a_batch_that_does_not_fit_says_so():
    class Greedy(torch.nn.Module):
        def forward(self, x):
            return torch.empty(1 << 50)

    with pytest.raises(NisslError, match="does not fit in memory") as caught:
        nissl.load(torch.nn.Sequential(torch.nn.Identity(), Greedy())).run(
            torch.zeros(1, 2), sites="0"
        )
    assert "batch_size" in caught.value.do
