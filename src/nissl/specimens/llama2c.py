"""Models in the format of llama2.c: a header, float32 tensors, and a tokenizer of scored pieces."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError
from nissl.specimens.rotary import rotary_halves

if TYPE_CHECKING:
    import torch

__all__ = ["convert_llama2c"]

HEADER = ("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "context")


def convert_llama2c(model: bytes, tokenizer: bytes, folder: Path) -> None:
    """Write a folder for transformers from a llama2.c model and its tokenizer.

    Parameters
    ----------
    model : bytes
        Seven int32 (dim, hidden, layers, heads, kv heads, vocabulary, context), then the tensors.
    tokenizer : bytes
        An int32, then for each piece a float32 score, an int32 length, and its bytes.
    folder : Path
        Where to; it exists.

    Raises
    ------
    NisslError
        The model's length is not what its header says.

    Examples
    --------
    >>> convert_llama2c(b"", b"", Path())
    Traceback (most recent call last):
    nissl.errors.NisslError: the llama2.c model is truncated: it has no header
    """
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    if len(model) < 28:
        raise NisslError("the llama2.c model is truncated: it has no header")
    header = dict(zip(HEADER, struct.unpack("<7i", model[:28]), strict=True))
    LlamaConfig(
        hidden_size=header["dim"],
        intermediate_size=header["hidden"],
        num_hidden_layers=header["layers"],
        num_attention_heads=header["heads"],
        num_key_value_heads=header["kv_heads"],
        vocab_size=abs(header["vocab"]),
        max_position_embeddings=header["context"],
        rms_norm_eps=1e-5,
        tie_word_embeddings=header["vocab"] > 0,  # a negative size says: not tied
        bos_token_id=1,
        eos_token_id=2,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    ).save_pretrained(folder)
    weights = _weights(np.frombuffer(model, "<f4", offset=28), header)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(_pieces(tokenizer, abs(header["vocab"])), header["context"]).save_pretrained(folder)


def _weights(values: np.ndarray[Any, Any], header: dict[str, int]) -> dict[str, torch.Tensor]:
    import torch

    dim, hidden, layers = header["dim"], header["hidden"], header["layers"]
    keys = dim // header["heads"] * header["kv_heads"]
    vocab = abs(header["vocab"])
    place = 0

    def take(*shape: int) -> np.ndarray[Any, Any]:
        nonlocal place
        n = int(np.prod(shape))
        if place + n > len(values):
            raise NisslError("the llama2.c model is truncated", do="fetch it again")
        place += n
        return values[place - n : place].reshape(shape)

    found = {"model.embed_tokens": take(vocab, dim)}
    # In the order of the file: each kind of tensor for all layers, then the next kind.
    kinds: dict[str, tuple[int, ...]] = {
        "input_layernorm": (dim,),
        "self_attn.q_proj": (dim, dim),
        "self_attn.k_proj": (keys, dim),
        "self_attn.v_proj": (keys, dim),
        "self_attn.o_proj": (dim, dim),
        "post_attention_layernorm": (dim,),
        "mlp.gate_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
        "mlp.up_proj": (hidden, dim),
    }
    heads = {"self_attn.q_proj": header["heads"], "self_attn.k_proj": header["kv_heads"]}
    for kind, shape in kinds.items():
        for layer, tensor in enumerate(take(layers, *shape)):
            if kind in heads:
                tensor = rotary_halves(tensor, heads[kind])
            found[f"model.layers.{layer}.{kind}"] = tensor
    found["model.norm"] = take(dim)
    take(2, header["context"], dim // header["heads"] // 2)  # the rotary table
    if header["vocab"] < 0:
        found["lm_head"] = take(vocab, dim)
    return {f"{name}.weight": torch.from_numpy(v.copy()) for name, v in found.items()}


def _pieces(tokenizer: bytes, vocab: int) -> list[tuple[str, float]]:
    """Return the pieces with their scores, white space written as SentencePiece writes it."""
    pieces: list[tuple[str, float]] = []
    place = 4
    for _ in range(vocab):
        score, length = struct.unpack_from("<fi", tokenizer, place)
        place += 8 + length
        piece = tokenizer[place - length : place].decode("utf-8")
        pieces.append((piece.replace(" ", "\u2581"), score))
    # llama2.c writes the first three for display, and the 256 bytes as themselves.
    special = [(name, 0.0) for name in ("<unk>", "<s>", "</s>")]
    single = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    return special + single + pieces[3 + 256 :]


def _tokenizer(pieces: list[tuple[str, float]], context: int) -> Any:
    """Return a byte-pair tokenizer that merges the pair of the best score first."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {piece: number for number, (piece, _) in enumerate(pieces)}
    merges = [
        (score, piece[:cut], piece[cut:])
        for piece, score in pieces[3 + 256 :]
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    merges.sort(key=lambda merge: -merge[0])
    fast = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[(left, right) for _, left, right in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    space = "\u2581"
    fast.normalizer = normalizers.Sequence(
        [normalizers.Prepend(space), normalizers.Replace(" ", space)]
    )
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace(space, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    fast.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=context,
    )
