"""Loading: folders, GGUF files, modules, and files that are not whole."""

import json
import socket
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import nissl
from nissl import NisslError
from tiny import ids, tiny


def test_a_folder_gives_the_same_network(tmp_path):
    model = tiny("llama", dtype=torch.float32)
    model.save_pretrained(tmp_path)
    net = nissl.load(tmp_path)
    assert net.architecture.name == "Llama-like"
    assert net.weights_hash == nissl.load(model).weights_hash
    found = net.run(ids(), sites="logits")["logits"]
    assert torch.equal(found, model(ids()).logits)


def test_a_spread_model_is_recorded_and_edited(tmp_path):
    model = tiny("llama", dtype=torch.float32)
    model.save_pretrained(tmp_path)
    net = nissl.load(tmp_path, device_map={"": "cpu"})
    plain = nissl.load(tmp_path)
    a = net.run(ids(), sites="blocks.1.mlp.neurons")["blocks.1.mlp.neurons"]
    assert torch.equal(a, plain.run(ids(), sites="blocks.1.mlp.neurons")["blocks.1.mlp.neurons"])


def test_truncated_weights_are_refused(tmp_path):
    tiny("llama").save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(NisslError, match="cannot be loaded"):
        nissl.load(tmp_path)


def test_a_truncated_gguf_is_refused(tmp_path):
    import gguf
    import numpy as np

    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tensor("token_embd.weight", np.ones((64, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(NisslError, match="GGUF"):
        nissl.load(path)


def changed(folder, **config):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_a_model_of_which_weights_are_missing_is_refused(tmp_path, family):
    tiny(family).save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    whole = load_file(weights)
    assert nissl.load(tmp_path).n_parameters
    lost = [n for n in whole if "norm" in n.lower() or "ln" in n][-1]
    save_file({n: t for n, t in whole.items() if n != lost}, weights, {"format": "pt"})
    with pytest.raises(NisslError, match=f"1 weights of the model are in none .*{lost}"):
        nissl.load(tmp_path)
    save_file(whole, weights, {"format": "pt"})
    n = "n_layer" if family == "gpt2" else "num_hidden_layers"
    changed(tmp_path, **{n: 5})
    with pytest.raises(NisslError, match=r"in none of its files"):
        nissl.load(tmp_path)
    changed(tmp_path, **{n: 1})
    with pytest.warns(UserWarning, match="are of no part of the model"):
        nissl.load(tmp_path)


def gguf_of(path, model, leave=()):
    """Write a tiny Llama as llama.cpp's converter does, by the names of its tensors."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        short = names.get_name(name, (".weight", ".bias"))
        if short and short not in leave:
            writer.add_tensor(short, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_of_which_a_tensor_is_missing_is_refused(tmp_path):
    model = tiny("llama", dtype=torch.float32)
    gguf_of(tmp_path / "whole.gguf", model)
    assert nissl.load(tmp_path / "whole.gguf").n_parameters
    gguf_of(tmp_path / "model.gguf", model, leave=("blk.1.ffn_down.weight",))
    with pytest.raises(NisslError, match=r"none of its files: .*layers\.1\.mlp\.down_proj"):
        nissl.load(tmp_path / "model.gguf")


def test_code_beside_weights_is_neither_run_nor_asked_about(tmp_path, monkeypatch):
    tiny("llama").save_pretrained(tmp_path)
    changed(tmp_path, model_type="mine", auto_map={"AutoConfig": "evil.Config"})
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    with pytest.raises(NisslError, match="cannot be loaded"):
        nissl.load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "config", ["[]", "null", '{"model_type": 3}', '{"model_type": "llama", "hidden_size": "x"}',
               '{"model_type": "llama", "architectures": {"a": 1}}', "[" * 100000, "\x00"]
)  # fmt: skip
def test_a_config_of_other_types_is_refused(tmp_path, config):
    tiny("llama").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(NisslError):
        nissl.load(tmp_path)


def test_what_is_no_model_says_so(tmp_path):
    with pytest.raises(NisslError, match=r"no config\.json"):
        nissl.load(tmp_path)
    with pytest.raises(NisslError, match="did you mean 'smollm2'"):
        nissl.load("smolm2")
    with pytest.raises(NisslError, match="not a network"):
        nissl.load("haxby")
    tiny("llama").save_pretrained(tmp_path)
    with pytest.raises(NisslError, match="no number type"):
        nissl.load(tmp_path, dtype="float33")


def test_a_name_that_is_no_specimen_is_asked_of_the_hub_unless_it_is_near_one(monkeypatch):
    asked = []

    def hub(source, *rest, **options):
        asked.append(source)
        return torch.nn.Linear(2, 2), None

    # By the module: the package hands out the function of the same name.
    monkeypatch.setattr(sys.modules["nissl.network.load"], "_pretrained", hub)
    for name in ("gpt2", "bert-base-uncased", "openai-community/gpt2"):
        assert nissl.load(name).n_parameters == 6
    assert asked == ["gpt2", "bert-base-uncased", "openai-community/gpt2"]
    with pytest.raises(NisslError, match="did you mean 'smollm2'"):
        nissl.load("smolm2")
    for path in ("./mine", "~/mine", "a/b/mine", "mine.gguf", "mine.csv"):
        with pytest.raises(NisslError, match="no such file or folder"):
            nissl.load(path)
    assert len(asked) == 3


@pytest.fixture
def closed_port(monkeypatch):
    """A hub that is a port of this machine where nobody listens, and what is asked of it."""
    from huggingface_hub import constants, get_session

    with socket.socket() as held:  # bound and not listening: refused, and given to nobody else
        held.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{held.getsockname()[1]}")
        tried = []
        send = get_session().send

        def counted(request, **options):
            tried.append(str(request.url))
            return send(request, **options)

        monkeypatch.setattr(get_session(), "send", counted)
        yield tried


def test_a_hub_that_cannot_be_reached_is_not_tried_again_and_said(closed_port, capfd):
    with pytest.raises(NisslError, match=r"hub cannot be reached \(http://127.+not in its cache"):
        nissl.load("owner/no-such-model")
    assert not any("no-such-model" in url for url in closed_port)
    assert "etry" not in "".join(capfd.readouterr())


def test_a_model_in_the_cache_of_the_hub_loads_without_a_connection(
    closed_port, monkeypatch, tmp_path
):
    from huggingface_hub import constants

    model = tiny("llama")
    kept = tmp_path / "models--owner--tiny"
    model.save_pretrained(kept / "snapshots" / "0a1b")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0a1b")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    net = nissl.load("owner/tiny")
    assert not any("tiny" in url for url in closed_port)
    assert all(map(torch.equal, model.state_dict().values(), net.model.state_dict().values()))
