"""Items and units are found on their axes: by the module's kind, or as the tensor was made."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import ablate, scale


def record(model, x, site, **options):
    return nissl.record(nissl.load(model), x, sites=site, progress=False, **options)


def by_hand(model, path, x):
    seen = []

    def hook(module, args, output):
        seen.append((output[0] if isinstance(output, tuple) else output).detach().clone())

    handle = model.get_submodule(path).register_forward_hook(hook)
    with torch.enable_grad():  # a fused path would call no part
        model(x)
    handle.remove()
    return seen[0]


class Turned(nn.Module):
    """Channels second in the convolution, last in the layer after it, second again at the end."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.after = nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.GELU()
        self.up, self.inner, self.end = nn.Linear(5, 7), nn.Tanh(), nn.Identity()

    def forward(self, x):
        x = self.after(self.act(self.conv(x)) + 1.0)
        return self.end(self.inner(self.up(x.permute(0, 2, 3, 1))).movedim(-1, 1) * 2.0)


class Flattened(nn.Module):
    """Patches: the map becomes a sequence, and a token is put before it."""

    def __init__(self):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(3, 5, 2, stride=2), nn.Dropout(0.5)
        self.first, self.act = nn.Parameter(torch.randn(1, 1, 5)), nn.GELU()

    def forward(self, x):
        x = self.drop(self.conv(x)).flatten(2).transpose(1, 2)
        return self.act(torch.cat([self.first.expand(len(x), -1, -1), x], 1))


SEQUENCE, IMAGE = (4, 3, 8), (4, 3, 6, 8)
PLACES = {  # module, path, shape of its input, axis of units
    "after a convolution in time": (nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU()), "1", SEQUENCE, 1),
    "pooled": (nn.Sequential(nn.Conv1d(3, 5, 3), nn.MaxPool1d(2), nn.Tanh()), "2", SEQUENCE, 1),
    "transposed": (nn.Sequential(nn.ConvTranspose1d(3, 5, 3), nn.ReLU()), "1", SEQUENCE, 1),
    "normed": (nn.Sequential(nn.Conv1d(3, 6, 3), nn.GroupNorm(2, 6), nn.GELU()), "2", SEQUENCE, 1),
    "dropout": (nn.Sequential(nn.Conv2d(3, 5, 3), nn.Dropout2d()), "1", IMAGE, 1),
    "in space": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True)), "1", IMAGE, 1),
    "in three dimensions": (nn.Sequential(nn.Conv3d(3, 5, 2), nn.ELU()), "1", (2, 3, 4, 5, 6), 1),
    "upsampled": (nn.Sequential(nn.Conv2d(3, 5, 3), nn.Upsample(scale_factor=2)), "1", IMAGE, 1),
    "before it turns": (Turned(), "act", IMAGE, 1),
    "after a sum": (Turned(), "after", IMAGE, 1),
    "channels last": (Turned(), "inner", IMAGE, -1),
    "turned back": (Turned(), "end", IMAGE, 1),
    "the whole model": (Turned(), "", IMAGE, 1),
    "a map of patches": (Flattened(), "drop", IMAGE, 1),
    "a sequence of patches": (Flattened(), "act", IMAGE, -1),
    "no convolution": (nn.Sequential(nn.Linear(8, 5), nn.ReLU()), "1", SEQUENCE, -1),
}


@pytest.mark.parametrize("place", PLACES)
def test_units_lie_where_the_tensor_was_made_to_have_them(place):
    model, path, shape, axis = PLACES[place]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    model = model.eval()
    expected = by_hand(model, path, x).movedim(axis, -1)
    rec = record(model, x, path, batch_size=3)
    assert rec.shape == (expected[..., 0].numel(), expected.shape[-1])
    np.testing.assert_allclose(rec.values, expected.flatten(0, -2), atol=1e-6)
    found = nissl.load(model).run(x, sites=path)[path]
    torch.testing.assert_close(found, expected)
    if not path:
        return
    # An edit of a fresh network, where nothing was seen before.
    with torch.no_grad(), nissl.load(model).edit(ablate(f"{path}[2]", items=1)):
        edited = nissl.load(model).run(x, sites=path)[path]
    changed = expected.clone()
    changed[1, ..., 2] = 0
    torch.testing.assert_close(edited, changed)


class Heads(nn.Module):
    """Units are split over an axis that no one can name."""

    def __init__(self):
        super().__init__()
        self.conv, self.odd = nn.Conv2d(3, 6, 3, padding=1), nn.Identity()

    def forward(self, x):
        return self.odd(self.conv(x).reshape(len(x), 3, 2, -1)).flatten(1)


def test_an_axis_that_cannot_be_told_is_asked_for():
    model, x = Heads(), torch.randn(2, 3, 6, 8)
    for net in (nissl.load(model), nissl.load(model)):
        with pytest.raises(NisslError, match="cannot be told"):
            nissl.record(net, x, sites="odd", progress=False)
        with pytest.raises(NisslError, match="cannot be told"), net.edit(scale(sites="odd", by=2)):
            net.model(x)
    for axis in (1, 2, -1):
        net = nissl.load(model)
        net.set_unit_axis("odd", axis)
        rec = nissl.record(net, x, sites="odd", progress=False)
        expected = by_hand(model, "odd", x).movedim(axis, -1).flatten(0, -2)
        np.testing.assert_array_equal(rec.values, expected)
        edit = ablate("odd[1]")
        with net.edit(edit):
            changed = net.run(x, sites="odd")["odd"]
        assert not changed[..., 1].any()
        assert changed[..., 0].all()
    net.set_unit_axis("odd", 7)
    with pytest.raises(NisslError, match="no axis 7"):
        net.run(x, sites="odd")


VISION = {"num_channels": 3, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2]}
SPEECH = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SPEECH |= {"intermediate_size": 24, "conv_dim": (8, 12), "conv_stride": (5, 2)}
SPEECH |= {"conv_kernel": (10, 3), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4}
MODELS = {
    "convnext": (VISION, (2, 3, 32, 32)),
    "convnextv2": (VISION, (2, 3, 32, 32)),
    "swin": ({**SWIN, "window_size": 4}, (2, 3, 32, 32)),
    "wav2vec2": ({**SPEECH, "num_conv_pos_embedding_groups": 2}, (2, 400)),
    "resnet": ({**VISION, "embedding_size": 8}, (2, 3, 32, 32)),
}
WHERE = {
    ("convnext", "encoder.stages.1.layers.0.act"): -1,
    ("convnext", "encoder.stages.1.layers.0.pwconv1"): -1,
    ("convnext", "encoder.stages.1.layers.0.layernorm"): -1,
    ("convnext", "encoder.stages.1.layers.0.dwconv"): 1,
    ("convnext", "encoder.stages.1.layers.0"): 1,
    ("convnext", "embeddings.layernorm"): 1,
    ("convnextv2", "encoder.stages.1.layers.0.grn"): -1,
    ("convnextv2", "encoder.stages.1.layers.0"): 1,
    ("swin", "encoder.layers.0.blocks.0.mlp.activation_fn"): -1,
    ("swin", "encoder.layers.0.blocks.1"): -1,
    ("swin", "embeddings.patch_embeddings"): -1,
    ("wav2vec2", "feature_extractor.conv_layers.0"): 1,
    ("wav2vec2", "feature_extractor.conv_layers.1.activation"): 1,
    ("wav2vec2", "feature_extractor"): 1,
    ("wav2vec2", "feature_projection"): -1,
    ("wav2vec2", "encoder.pos_conv_embed"): -1,
    ("wav2vec2", "encoder.layers.0"): -1,
    ("resnet", "encoder.stages.1.layers.0.activation"): 1,
    ("resnet", "embedder"): 1,
}


@pytest.mark.parametrize(("name", "path"), WHERE)
def test_units_of_models_people_use(name, path):
    options, shape = MODELS[name]
    config = transformers.AutoConfig.for_model(name, **options)
    model = transformers.AutoModel.from_config(config).eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = by_hand(model, path, x).movedim(WHERE[name, path], -1)
    rec = record(model, x, path)
    assert rec.shape == (expected[..., 0].numel(), expected.shape[-1])
    np.testing.assert_allclose(rec.values, expected.flatten(0, -2), atol=1e-5)


TIME_FIRST = {
    "lstm": (lambda **how: nn.LSTM(6, 4, **how), ("",)),
    "gru": (lambda **how: nn.GRU(6, 4, num_layers=2, bidirectional=True, **how), ("",)),
    "rnn": (lambda **how: nn.RNN(6, 4, **how), ("",)),
    "transformer": (
        lambda **how: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 16, **how), 2),
        ("", "layers.0", "layers.1.linear1", "layers.1.norm2", "layers.0.self_attn"),
    ),
    "a chain": (
        lambda **how: nn.Sequential(nn.Linear(6, 6), nn.TransformerEncoderLayer(6, 2, 8, **how)),
        ("", "0", "1"),
    ),
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", TIME_FIRST)
def test_time_first_is_read_from_the_modules_flag(name, batch_first):
    make, paths = TIME_FIRST[name]
    torch.manual_seed(0)
    model, x = make(batch_first=batch_first).eval(), torch.randn(6, 3, 6)
    for path in paths:
        whole = by_hand(model, path, x)
        expected = whole if batch_first else whole.transpose(0, 1)
        rec = record(model, x, path, batch_size=2)
        np.testing.assert_allclose(rec.values, expected.flatten(0, 1), atol=1e-5)
        n, length = expected.shape[:2]
        assert rec["stimulus"].values.tolist() == np.repeat(range(n), length).tolist()
        assert rec["position"].values.tolist() == [*range(length)] * n
        with nissl.load(model).edit(ablate(sites=path, items=1, positions=2)):
            edited = nissl.load(model).run(x, sites=path)[path]
        changed = expected.clone()
        changed[1, 2] = 0
        torch.testing.assert_close(edited, changed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_a_model_that_hands_time_first_on_unseen_is_refused(n_items):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(5, 4)

        def forward(self, x):
            return self.rnn(x)[0]

    with pytest.raises(NisslError, match="batch_first=True"):
        record(Own(), torch.randn(6, n_items, 5), "rnn")
    with pytest.raises(NisslError, match="no items"):
        record(nn.LSTM(5, 4), torch.randn(6, 5), "")


@pytest.mark.parametrize("batch_first", [True, False])
def test_parts_of_attention_have_items_first(batch_first):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.MultiheadAttention(8, 2, batch_first=batch_first)

        def forward(self, x):
            x = x if batch_first else x.transpose(0, 1)
            return self.inner(x, x, x)[0]

    model, x = Own().eval(), torch.randn(4, 6, 8)
    found = nissl.load(model).run(x, sites=["inner", "inner:1", "inner:in"])
    y = x if batch_first else x.transpose(0, 1)
    out, pattern = model.inner(y, y, y)
    torch.testing.assert_close(found["inner"], out if batch_first else out.transpose(0, 1))
    torch.testing.assert_close(found["inner:1"], pattern)
    torch.testing.assert_close(found["inner:in"], x)


@pytest.mark.parametrize("batch_first", [True, False])
def test_arguments_by_name_are_cut_by_items(batch_first):
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=batch_first).eval()
    shapes = {"src": (6, 5, 8), "tgt": (4, 5, 8)}
    inputs = {name: torch.randn(shape) for name, shape in shapes.items()}
    if not batch_first:  # torch's fused path, of batch_first, takes no mask here
        inputs["src_key_padding_mask"] = torch.zeros(5, 6, dtype=torch.bool)
        inputs["src_key_padding_mask"][1, 4:] = True
    if batch_first:
        inputs |= {name: inputs[name].transpose(0, 1) for name in shapes}
    for path in ("encoder.layers.0", "decoder.layers.0.linear1", ""):
        seen = []
        handle = model.get_submodule(path).register_forward_hook(
            lambda m, a, y, s=seen: s.append(y)
        )
        with torch.enable_grad():
            model(**inputs)
        handle.remove()
        expected = seen[0].detach() if batch_first else seen[0].detach().transpose(0, 1)
        rec = nissl.record(nissl.load(model), inputs, sites=path, batch_size=2, progress=False)
        np.testing.assert_allclose(rec.values, expected.flatten(0, 1), atol=1e-5)
