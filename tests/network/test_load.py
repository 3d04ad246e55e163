"""Loading: folders, GGUF files, modules, and files that are not whole."""

import pytest
import torch

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
