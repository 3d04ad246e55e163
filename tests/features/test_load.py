"""Files as each library writes them, by hand; its arithmetic, one feature at a time."""

from __future__ import annotations

import json
import math
import os
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nissl.errors import NisslError
from nissl.features import TrainedDictionary, load
from nissl.features.kinds.kind import kind_of
from nissl.network import Network
from tiny import ids, tiny

D, N, K = 6, 11, 3


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = randn(9, D, seed=9)


def slow(
    x, w_enc, b_enc, w_dec, b_dec, *, kind, minus=None, k=K, threshold=None, r=None, b_mag=None
):
    """Return features and what is rebuilt; `minus` is taken off what is encoded."""
    features = torch.zeros(len(x), len(b_enc), dtype=torch.float64)
    for i, row in enumerate(x.double()):
        row = row if minus is None else row - minus.double()
        pre = [sum(row[j].item() * w_enc[j, f].item() for j in range(len(row))) for f in range(N)]
        for f in range(N):
            score = pre[f] + b_enc[f].item()
            if kind == "gated":
                size = max(0.0, pre[f] * math.exp(r[f]) + b_mag[f].item())
                features[i, f] = size if score > 0 else 0.0
            elif kind == "threshold":
                bar = threshold if isinstance(threshold, float) else threshold[f].item()
                features[i, f] = max(0.0, score) if score > bar else 0.0
            else:
                features[i, f] = max(0.0, score)
        if kind == "topk":
            order = sorted(range(N), key=lambda f: -features[i, f].item())
            features[i, order[k:]] = 0.0
    return features, features @ w_dec.double() + b_dec.double()


def check(found, features, rebuilt, x=X):
    torch.testing.assert_close(found.encode(x).double(), features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found(x).double(), rebuilt, atol=1e-5, rtol=1e-5)


def saelens(folder, *, form="standard", subtract=True, old=False, more=None, drop=(), **said):
    """Write as SAELens 6.18 saves for inference, or with ``old`` as 3.x did."""
    w = {
        "W_enc": randn(D, N, seed=1),
        "b_enc": randn(N, seed=2) / 2,
        "W_dec": randn(N, D, seed=3),
        "b_dec": randn(D, seed=4) / 2,
    }
    if form == "gated":
        w |= {"b_gate": w.pop("b_enc"), "r_mag": randn(N, seed=5) / 2, "b_mag": randn(N, seed=6)}
    if form == "jumprelu":
        w["threshold"] = randn(N, seed=7).abs()
        w["threshold"][0] = 0.0
    hook = {"hook_name": "blocks.1.hook_resid_post", "model_name": "toy"}
    cfg = {"d_in": D, "d_sae": N, "dtype": "float32", "apply_b_dec_to_input": subtract}
    if old:
        cfg |= hook | {"architecture": form, "activation_fn_str": "relu", "hook_head_index": None}
        cfg |= {"normalize_activations": "none", "finetuning_scaling_factor": False}
        w["scaling_factor"] = torch.ones(N)  # written for a while, and used by nobody
        if form == "topk":
            cfg |= {"architecture": "standard", "activation_fn_str": "topk"}
            cfg |= {"activation_fn_kwargs": {"k": K}}
    else:
        cfg |= {"architecture": form, "normalize_activations": "none", "device": "cpu"}
        cfg |= {"reshape_activations": "none", "metadata": {**hook, "sae_lens_version": "6.18.0"}}
        cfg |= {"k": K, "rescale_acts_by_decoder_norm": False} if form == "topk" else {}
    w |= more or {}
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps({**cfg, **said}))
    save_file({k: v for k, v in w.items() if k not in drop}, folder / "sae_weights.safetensors")
    return w


def slow_saelens(w, x=X, *, form="standard", subtract=True, k=K):
    kind = {"standard": "relu", "jumprelu": "threshold"}.get(form, form)
    return slow(
        x,
        w["W_enc"],
        w["b_gate"] if form == "gated" else w["b_enc"],
        w["W_dec"],
        w["b_dec"],
        kind=kind,
        minus=w["b_dec"] if subtract else None,
        k=k,
        threshold=w.get("threshold"),
        r=w.get("r_mag"),
        b_mag=w.get("b_mag"),
    )


@pytest.mark.parametrize("form", ["standard", "gated", "topk", "jumprelu"])
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_saelens(tmp_path, form, subtract, old):
    w = saelens(tmp_path / "a", form=form, subtract=subtract, old=old)
    found = load(tmp_path / "a")
    check(found, *slow_saelens(w, form=form, subtract=subtract))
    assert found.site_in == found.site_out == "blocks.1.hook_resid_post"
    assert (found.encode(X) > 0).any()
    again = load(found.save(tmp_path / "ours.safetensors"))  # and our own file
    torch.testing.assert_close(again.encode(X), found.encode(X), atol=0, rtol=0)
    assert again.site_in == found.site_in
    check(
        load(tmp_path / "a" / "sae_weights.safetensors"),
        *slow_saelens(w, form=form, subtract=subtract),
    )


def test_saelens_scales(tmp_path):
    # 6.18: TopK whose features are in units of the decoder's rows; activation_scaler.json
    w = saelens(tmp_path, form="topk", rescale_acts_by_decoder_norm=True)
    norms = w["W_dec"].norm(dim=1)
    folded = {**w, "W_enc": w["W_enc"] * norms, "b_enc": w["b_enc"] * norms}
    folded["W_dec"] = w["W_dec"] / norms[:, None]
    check(load(tmp_path), *slow_saelens(folded, form="topk"))

    w = saelens(tmp_path, normalize_activations="expected_average_only_in")
    with pytest.warns(UserWarning, match="mean norm"):
        check(load(tmp_path), *slow_saelens(w))  # without the file, as the library runs it
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 4.0}')
    features, rebuilt = slow_saelens(w, X * 4)
    check(load(tmp_path), features, rebuilt / 4)

    # 3.x: finetuning_scaling_factor, of each feature
    gain = {"scaling_factor": randn(N, seed=8).abs()}
    w = saelens(tmp_path, old=True, more=gain, finetuning_scaling_factor=True)
    features, rebuilt = slow_saelens(w)
    check(
        load(tmp_path),
        features,
        (features * gain["scaling_factor"]) @ w["W_dec"].double() + w["b_dec"],
    )
    saelens(tmp_path, old=True, more=gain)
    with pytest.raises(NisslError, match="scaling_factor"):
        load(tmp_path)


def test_saelens_transcoder(tmp_path):
    # 6.18: another width is written; the bias is never taken off
    other = {"W_dec": randn(N, 4, seed=3), "b_dec": randn(4, seed=4)}
    meta = {"hook_name": "blocks.0.hook_resid_mid", "hook_name_out": "blocks.0.hook_mlp_out"}
    w = saelens(tmp_path, form="transcoder", more=other, metadata=meta, subtract=False, d_out=4)
    found = load(tmp_path)
    check(found, *slow_saelens(w, subtract=False))
    assert (found.site_in, found.site_out) == tuple(meta.values())
    saelens(tmp_path, form="transcoder", more=other, subtract=False, d_out=4)
    with pytest.raises(NisslError, match="another site than it reads"):
        load(tmp_path)
    assert load(tmp_path, site="a -> b").site_out == "b"
    saelens(tmp_path, form="skip_transcoder", more={"W_skip": randn(D, D)}, metadata=meta)
    with pytest.raises(NisslError, match="skip"):
        load(tmp_path)


def learning(folder, name, **more):
    """Write as dictionary_learning's training does, at its commit 60ec6bf of August 2025."""
    enc, dec, b_enc, b_dec = (randn(*s, seed=i) for i, s in enumerate([(N, D), (D, N), (N,), (D,)]))
    linear = {"encoder.weight": enc, "decoder.weight": dec}
    turned = {"W_enc": enc.T, "W_dec": dec.T, "b_enc": b_enc, "b_dec": b_dec}
    top = {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.7)}
    state = {
        "AutoEncoder": {"bias": b_dec, **linear, "encoder.bias": b_enc},
        "AutoEncoderNew": {**linear, "encoder.bias": b_enc, "decoder.bias": b_dec},
        "GatedAutoEncoder": {
            **{"decoder_bias": b_dec, "r_mag": randn(N, seed=5), "gate_bias": b_enc},
            **{"mag_bias": randn(N, seed=6), **linear},
        },
        "AutoEncoderTopK": {"b_dec": b_dec, **top, **linear, "encoder.bias": b_enc},
        "BatchTopKSAE": {"b_dec": b_dec, **top, **linear, "encoder.bias": b_enc},
        "MatryoshkaBatchTopKSAE": {**turned, **top, "group_sizes": torch.tensor([4, N - 4])},
        "JumpReluAutoEncoder": {**turned, "threshold": randn(N, seed=7).abs()},
    }.get(name, turned)
    trainer = {"dict_class": name, "activation_dim": D, "dict_size": N, "layer": 1}
    trainer |= {"lm_name": "toy", "submodule_name": "resid_post_layer_1"}
    trainer |= {"k": K} if "k" in state else {}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"trainer": {**trainer, **more}}))
    torch.save({name: x.contiguous() for name, x in state.items()}, folder / "ae.pt")
    return state, (enc.T, b_enc, dec.T, b_dec)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("AutoEncoder", "relu"),
        ("AutoEncoderNew", "relu"),
        ("GatedAutoEncoder", "gated"),
        ("AutoEncoderTopK", "topk"),
        ("BatchTopKSAE", "threshold"),
        ("MatryoshkaBatchTopKSAE", "threshold"),
        ("JumpReluAutoEncoder", "threshold"),
    ],
)
def test_dictionary_learning(tmp_path, name, kind):
    state, (enc, b_enc, dec, b_dec) = learning(tmp_path, name)
    if name == "AutoEncoder":  # from_pretrained makes the decoder's rows one long
        norms = dec.norm(dim=1)
        enc, b_enc, dec = enc * norms, b_enc * norms, dec / norms[:, None]
    bar = state.get("threshold")
    expected = slow(
        X,
        *(enc, b_enc, dec, b_dec),
        kind=kind,
        minus=None if name in ("AutoEncoderNew", "JumpReluAutoEncoder") else b_dec,
        threshold=bar.item() if bar is not None and bar.ndim == 0 else bar,
        r=state.get("r_mag"),
        b_mag=state.get("mag_bias"),
    )
    found = load(tmp_path)
    check(found, *expected)
    assert found.site_in == "blocks.1.resid_post"
    learning(tmp_path, name, submodule_name=None)
    assert load(tmp_path).site_in == ""
    assert load(tmp_path, site="embed").site_in == "embed"


@pytest.mark.parametrize("transcode", [True, False])
def test_sparsify(tmp_path, transcode):
    # as save_to_disk of 1.3: a folder of the module's name
    folder = tmp_path / "layers.1.mlp"
    folder.mkdir()
    enc, dec, b_enc, b_dec = randn(N, D), randn(N, D, seed=1), randn(N, seed=2), randn(D, seed=3)
    w = {"encoder.weight": enc, "encoder.bias": b_enc, "W_dec": dec, "b_dec": b_dec}
    cfg = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "k": K}
    cfg |= {"num_latents": N, "multi_topk": False, "skip_connection": False, "d_in": D}
    save_file(w, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({**cfg, "transcode": transcode}))
    expected = slow(X, enc.T, b_enc, dec, b_dec, kind="topk", minus=None if transcode else b_dec)
    found = load(folder)
    check(found, *expected)
    assert found.site_out == "layers.1.mlp"
    assert found.site_in == ("layers.1.mlp:in" if transcode else "layers.1.mlp")
    (folder / "cfg.json").write_text(json.dumps({**cfg, "activation": "groupmax"}))
    with pytest.raises(NisslError, match="not topk"):
        load(folder)
    (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file({**w, "W_skip": randn(D, D)}, folder / "sae.safetensors")
    with pytest.raises(NisslError, match="W_skip"):
        load(folder)


class Code:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refused(match, path=tmp_path, **options):
        with pytest.raises(NisslError, match=match) as error:
            load(path, **options)
        assert error.value.where
        return str(error.value)

    refused("0 dictionaries")
    refused("0 dictionaries", tmp_path / "nowhere")
    w = saelens(tmp_path)
    for name in w:
        bad = w[name].clone()
        bad.flatten()[0] = torch.nan
        saelens(tmp_path, more={name: bad})
        refused("not finite")
        saelens(tmp_path, more={name: w[name][:-1].contiguous()})
        refused("features")
        saelens(tmp_path, drop=[name])
        refused("no known dictionary")
    for said in [
        {"normalize_activations": "layer_norm"},
        {"architecture": "temporal"},
        {"d_sae": 7},
    ]:
        saelens(tmp_path, **said)
        refused("layer_norm|temporal|configuration")
    nothing = {"W_enc": torch.zeros(0, 10**12), "W_dec": torch.zeros(10**12, 0)}
    saelens(tmp_path, more={**nothing, "b_dec": torch.zeros(0)}, d_in=0, d_sae=10**12)
    refused("not all weights")
    saelens(tmp_path, architecture=["standard"])
    refused("no dictionary")
    saelens(tmp_path, form="topk", k=None)
    refused("not say k")
    saelens(tmp_path, form="topk", k=N + 1)
    refused("k=12")
    saelens(tmp_path, metadata={"hook_head_index": 3})
    refused("head")
    (tmp_path / "cfg.json").write_text("[" * 100_000)
    refused("no dictionary")
    (tmp_path / "cfg.json").unlink()
    refused("no file cfg.json")
    save_file({"w": torch.zeros(3)}, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text("{}")
    assert "dictionary_learning" in refused("weights .*'w'|KeyError")
    (tmp_path / "sae_weights.safetensors").unlink()

    learning(tmp_path, "CrossCoder")
    refused("CrossCoder")
    for bad in [
        {"a": Code()},
        Code(),
        [1, 2],
        {"a": 3},
        {"a": torch.zeros(1).expand(10**6, 10**6)},
    ]:
        torch.save(bad, tmp_path / "ae.pt")
        refused("no dictionary|no plain tensor")
    assert not (tmp_path / "was_run").exists()


def test_links(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    saelens(outside)
    folder.mkdir()
    for linked in ("cfg.json", "sae_weights.safetensors"):
        saelens(folder)
        (folder / linked).unlink()
        (folder / linked).symlink_to(outside / linked)
        with pytest.raises(NisslError, match="link out"):
            load(folder)
        (folder / linked).unlink()
    # A hub's cache is made of links to files beside the snapshots.
    cached = tmp_path / "models--toy" / "snapshots" / "1" / "blocks.1"
    (tmp_path / "models--toy" / "blobs").mkdir(parents=True)
    cached.mkdir(parents=True)
    for i, name in enumerate(("cfg.json", "sae_weights.safetensors")):
        blob = tmp_path / "models--toy" / "blobs" / str(i)
        blob.write_bytes((outside / name).read_bytes())
        (cached / name).symlink_to(blob)
    assert load(cached).n_features == N


def signed(width, keep=None, **options):
    """Return a dictionary of each direction at both signs, which rebuilds what `keep` keeps."""
    made = TrainedDictionary(kind_of("relu"), 2 * width, width, **options)
    keep = torch.eye(width) if keep is None else keep
    made.w_enc.data = torch.cat([keep, -keep])
    made.w_dec.data = torch.cat([torch.eye(width), -torch.eye(width)])
    return made


class Turns(nn.Module):
    """Layers that turn activity of few dimensions, at random or by a little."""

    def __init__(self, by=None):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(4))
        for i, layer in enumerate(self.layers):
            x = randn(8, 8, seed=i)
            layer.weight.data = (
                torch.linalg.qr(x)[0] if by is None else torch.matrix_exp(by * (x - x.T))
            )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def explained(made, tmp_path, net, sample):
    """Load what was saved, and return it with the warning."""
    path = made.save(tmp_path / "d.safetensors")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = load(path, net=net, sample=sample)
    said = [str(w.message) for w in said if "explains" in str(w.message)]
    return found, said[0] if said else ""


def test_another_layer(tmp_path):
    net = Network(Turns())
    x = randn(200, 2) @ randn(2, 8, seed=1)
    basis = torch.linalg.svd(net.run(x, sites="layers.2")["layers.2"])[2][:2]
    for layer in (1, 2, 3):
        made = signed(8, basis.T @ basis, site_in=f"layers.{layer}")
        found, said = explained(made, tmp_path, net, x)
        if layer == 2:
            assert found.explained_variance > 0.99
            assert not said
        else:
            assert found.explained_variance < 0.5
            assert "1.00 at layers.2 (another layer)" in said
    found, said = explained(signed(8, 0 * basis.T @ basis, site_in="layers.2"), tmp_path, net, x)
    assert "no more" in said


def test_wrong_by_one_layer_is_said_though_more_than_half_is_explained(tmp_path):
    net = Network(Turns(0.15))
    x = randn(300, 2) @ randn(2, 8, seed=1)
    x[0] *= 1000  # explained or not, it is nearly all of the variance
    basis = torch.linalg.svd(net.run(x, sites="layers.2")["layers.2"])[2][:2]
    for layer in (1, 2, 3):
        made = signed(8, basis.T @ basis, site_in=f"layers.{layer}")
        found, said = explained(made, tmp_path, net, x)
        assert found.explained_variance > 0.6
        assert said.endswith("1.00 at layers.2 (another layer)") == (layer != 2)
        assert (said == "") == (layer == 2)
    # What fits no layer better than another is of none: noise, of which any six directions explain
    # three quarters.
    basis = torch.linalg.qr(randn(8, 8, seed=7))[0][:6]
    for layer in (1, 2, 3):
        made = signed(8, basis.T @ basis, site_in=f"layers.{layer}")
        assert explained(made, tmp_path, net, randn(500, 8, seed=3))[1] == ""


def test_a_transcoder_at_another_layer(tmp_path):
    model, x = Turns(), randn(300, 8)
    net, turn = Network(model), model.layers[2].weight.detach().T
    for first in (0, 1, 2):
        made = signed(8, site_in=f"layers.{first}", site_out=f"layers.{first + 1}")
        made.w_dec.data = torch.cat([turn, -turn])
        found, said = explained(made, tmp_path, net, x)
        assert (found.explained_variance > 0.99) == (first == 1)
        assert (said == "") == (first == 1)
        assert first == 1 or "1.00 at layers.1 -> layers.2 (another layer)" in said


def test_another_scale_and_centred_weights(tmp_path):
    net = Network(nn.Sequential(nn.Identity(), nn.Identity()))
    x = randn(400, 8) + 3 * randn(400, 1, seed=1)
    mean = torch.full((8, 8), 1 / 8)
    found, said = explained(signed(8, torch.eye(8) - mean, site_in="0"), tmp_path, net, x)
    assert "1.00 less the mean over units (centred weights)" in said

    made = signed(8, site_in="0")
    made.b_enc.data -= 5.0  # small beside activity of the scale that it was trained on
    made.b_dec.data += 1.0
    found, said = explained(made, tmp_path, net, x)
    assert "another scale" in said
    scale = float(said.split("times ")[1].split()[0])
    found.scale /= scale
    found.scale_out /= scale
    assert 1 - (found(x) - x).square().sum() / (x - x.mean(0)).square().sum() > 0.8


def test_the_first_token(tmp_path):
    model = tiny("llama", dtype=torch.float32)
    tokens = ids(6, 9).clamp_min(2)
    tokens[:, 0] = 1
    table = model.get_input_embeddings().weight
    table.data[1] *= 1000
    one = nn.functional.normalize(table[1].detach(), dim=0)
    width = len(one)
    net = Network(model)
    made = signed(width, torch.eye(width) - torch.outer(one, one), site_in="embed")
    found, said = explained(made, tmp_path, net, tokens)
    assert found.explained_variance < 0.5
    assert float(said.split(", ")[1].split()[0]) > 0.8
    assert "first tokens may be huge" in said
    found, said = explained(
        signed(width, torch.outer(one, one), site_in="embed"), tmp_path, net, tokens
    )
    assert found.explained_variance > 0.9  # the one huge token hides that all else is lost
    assert float(said.split(", ")[1].split()[0]) < 0.5
    assert explained(signed(width, site_in="embed"), tmp_path, net, tokens)[1] == ""


def test_the_site_of_a_network(tmp_path):
    net = Network(tiny("llama", dtype=torch.float32))
    width = net.find("embed")[0].width
    made = signed(width, site_in="blocks.1.hook_resid_post")
    found = load(made.save(tmp_path / "d.safetensors"), net=net)
    assert found.site_in == found.site_out == "blocks.1.resid_post"
    seen = net.with_dictionary(found)
    assert "blocks.1.resid_post.sae" in seen.named_sites
    found = load(tmp_path / "d.safetensors", net=net, site="layers.1")  # sparsify's names
    assert found.site_in.endswith("model.layers.1")
    for site in ("blocks.99.resid_post", "blocks.*.resid_post", "blocks.0.mlp.neurons"):
        with pytest.raises(NisslError):
            load(tmp_path / "d.safetensors", net=net, site=site)
    with pytest.raises(NisslError, match="net="):
        load(tmp_path / "d.safetensors", sample=["a"])
    signed(width).save(tmp_path / "d.safetensors")
    with pytest.raises(NisslError, match="no site"):
        load(tmp_path / "d.safetensors", net=net)
