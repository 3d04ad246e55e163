"""Language models: what was converted says what it should, and equals another way of reading it."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from nissl.errors import NisslError
from nissl.specimens import load
from nissl.specimens.gguf_files import tensors
from nissl.specimens.llama2c import convert_llama2c

from .conftest import needs


def next_tokens(folder: Path, prompt: str, n: int = 1) -> str:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    found = model.generate(**inputs, max_new_tokens=n, do_sample=False)
    return str(tokenizer.decode(found[0, inputs["input_ids"].shape[1] :]))


@pytest.mark.real
def test_smollm2_knows_paris(smollm2_folder: Path) -> None:
    assert next_tokens(smollm2_folder, "The capital of France is") == " Paris"


@pytest.mark.real
def test_smollm2_is_what_the_gguf_says(smollm2_folder: Path) -> None:
    from gguf.quants import dequantize
    from safetensors import safe_open

    from nissl.specimens import fetch

    (path,) = fetch("smollm2").rglob("*.gguf")
    raw = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    with safe_open(smollm2_folder / "model.safetensors", "np") as found:
        assert len(found.keys()) == len(raw) == 272
        up = raw["blk.7.ffn_up.weight"]
        expected = dequantize(up.data, up.tensor_type)
        np.testing.assert_array_equal(
            found.get_tensor("model.layers.7.mlp.up_proj.weight"), expected
        )
        query = raw["blk.3.attn_q.weight"]
        expected = dequantize(query.data, query.tensor_type)
        # Head 2: row i of its first half and row i of its second were neighbours.
        row = found.get_tensor("model.layers.3.self_attn.q_proj.weight")[2 * 64 + 32 + 5]
        np.testing.assert_array_equal(row, expected[2 * 64 + 2 * 5 + 1])


@pytest.mark.real
def test_smollm2_splits_digits_and_keeps_its_template(smollm2_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)
    assert tokenizer.tokenize("x\n\n12")[-3:] == ["ĊĊ", "1", "2"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert "<|im_start|>user\nHi<|im_end|>" in chat


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "prompt", "says"),
    [
        ("stories15m", "Once upon a time, there was a little", "girl"),
        ("gemma3-270m", "The three primary colours are red,", "yellow"),
        ("iglm", "[HEAVY][HUMAN]EVQLVESGGGLVQPGG", "S"),
    ],
)
def test_others_speak(name: str, prompt: str, says: str) -> None:
    needs(name)
    assert next_tokens(load(name), prompt).strip() == says


@pytest.mark.real
@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_sentences_that_mean_the_same_are_near(name: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    needs(name)
    folder = load(name)
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Stock markets fell sharply."]
    inputs = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder)(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    means = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    same, other = means[0] @ means[1], means[0] @ means[2]
    assert same > 0.5 > 0.2 > other


def tiny_gguf(path: Path, architecture: str = "llama") -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    values = np.arange(32 * 8, dtype=np.float32).reshape(8, 32)
    writer.add_tensor("token_embd.weight", values)
    writer.add_tensor("blk.0.attn_q.weight", values)
    writer.add_tensor("blk.0.attn_k.weight", values[:4])
    writer.add_tensor("rope_freqs.weight", values[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_tensors_get_their_names_and_order(tmp_path: Path) -> None:
    tiny_gguf(tmp_path / "a.gguf")
    found = dict(tensors(tmp_path / "a.gguf", torch.float32))
    assert set(found) == {
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
    }
    first = found["model.layers.0.self_attn.q_proj.weight"][:, 0] / 32
    assert first.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_gguf_that_cannot_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    tiny_gguf(path, architecture="rwkv")
    with pytest.raises(NisslError, match="architecture rwkv"):
        dict(tensors(path, torch.float32))
    tiny_gguf(path)
    whole = path.read_bytes()
    for length in (0, 3, 30, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:length])
        with pytest.raises(NisslError, match="truncated"):
            dict(tensors(path, torch.float32))


def test_llama2c_computes_what_its_file_says(tmp_path: Path) -> None:
    """A model of one layer, against a slow forward pass with rotary pairs as in llama2.c."""
    dim, hidden, heads, vocab, context = 8, 12, 2, 262, 16
    rng = np.random.default_rng(0)
    shapes = {"embed": (vocab, dim), "norm1": (dim,)}
    shapes |= dict.fromkeys(("q", "k", "v", "o"), (dim, dim))
    shapes |= {"norm2": (dim,), "gate": (hidden, dim), "down": (dim, hidden), "up": (hidden, dim)}
    shapes |= {"norm": (dim,), "rotary": (2, context, dim // heads // 2)}
    w = {name: rng.normal(size=shape).astype("<f4") for name, shape in shapes.items()}
    model = struct.pack("<7i", dim, hidden, 1, heads, heads, vocab, context)
    model += b"".join(tensor.tobytes() for tensor in w.values())
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(bytes([n]) for n in range(256))]
    pieces += [b" ", b"a", b" a"]
    tokenizer = struct.pack("<i", 8)
    # As in the real file, a single byte is its value, not always a character of its own.
    pieces[3:259] = [chr(n).encode() if n < 128 else b"?" for n in range(256)]
    for number, piece in enumerate(pieces):
        tokenizer += struct.pack("<fi", -float(number), len(piece)) + piece
    convert_llama2c(model, tokenizer, tmp_path)

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tmp_path)("aa a").input_ids
    assert tokens == [1, 261, 260, 261]
    network = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        found = network(torch.tensor([tokens])).logits[0].numpy()
    np.testing.assert_allclose(found, slow_llama(w, tokens, heads), rtol=2e-4, atol=2e-4)
    with pytest.raises(NisslError, match="truncated"):
        convert_llama2c(model[:-400], tokenizer, tmp_path)


def slow_llama(w: dict[str, np.ndarray], tokens: list[int], heads: int) -> np.ndarray:
    def norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale

    def turn(x: np.ndarray) -> np.ndarray:  # (positions, heads, d), pairs side by side
        out = np.empty_like(x)
        for position in range(x.shape[0]):
            for pair in range(x.shape[2] // 2):
                angle = position * 10_000 ** (-2 * pair / x.shape[2])
                a, b = x[position, :, 2 * pair], x[position, :, 2 * pair + 1]
                out[position, :, 2 * pair] = a * np.cos(angle) - b * np.sin(angle)
                out[position, :, 2 * pair + 1] = a * np.sin(angle) + b * np.cos(angle)
        return out

    x = w["embed"][tokens].astype(float)
    n, dim = x.shape
    y = norm(x, w["norm1"])
    q, k, v = ((y @ w[name].T).reshape(n, heads, -1) for name in "qkv")
    q, k = turn(q), turn(k)
    z = np.zeros_like(v)
    for head in range(heads):
        for at in range(n):
            scores = k[: at + 1, head] @ q[at, head] / np.sqrt(dim // heads)
            weights = np.exp(scores - scores.max())
            z[at, head] = weights @ v[: at + 1, head] / weights.sum()
    x = x + z.reshape(n, dim) @ w["o"].T
    y = norm(x, w["norm2"])
    gate = y @ w["gate"].T
    x = x + (gate / (1 + np.exp(-gate)) * (y @ w["up"].T)) @ w["down"].T
    return norm(x, w["norm"]) @ w["embed"].T
