"""Turn a GGUF file into a folder for transformers, its weights dequantised once.

transformers reads GGUF itself, at tens of seconds a load and without a way to save the result;
this writes what it would have read, tensor by tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nissl.errors import NisslError, first_line
from nissl.specimens.recordings.source import read_errors
from nissl.specimens.rotary import rotary_halves

if TYPE_CHECKING:
    import torch

__all__ = ["convert_gguf", "open_gguf", "tensors"]

# Names of a Llama-like block in GGUF and in transformers.
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Gemma 3 has norms after each part too, and norms the queries and keys.
GEMMA3 = {
    **BLOCK,
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
BLOCKS = {"llama": BLOCK, "qwen2": BLOCK, "gemma3": GEMMA3}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def convert_gguf(path: Path, folder: Path, *, dtype: str = "float32") -> None:
    """Write ``config.json``, ``model.safetensors`` and the tokenizer of a GGUF file.

    Parameters
    ----------
    path : Path
        The GGUF file, of the architecture llama, qwen2 or gemma3.
    folder : Path
        Where to; it exists.
    dtype : {"float32", "bfloat16", "float16"}
        Of the weights that are written.

    Raises
    ------
    NisslError
        The file is truncated or no GGUF, or of another architecture.

    Examples
    --------
    >>> convert_gguf(Path("model.gguf"), Path("model"))  # doctest: +SKIP
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoTokenizer

    weights = dict(tensors(path, getattr(torch, dtype)))
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    config.tie_word_embeddings = "lm_head.weight" not in weights
    config.dtype = dtype
    config.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer.model_max_length = config.max_position_embeddings
    if open_gguf(path).fields["tokenizer.ggml.pre"].contents() == "smollm":
        _split_digits(tokenizer)
    tokenizer.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def tensors(path: Path, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights of a GGUF file under the names of transformers, dequantised.

    Parameters
    ----------
    path : Path
        The GGUF file.
    dtype : torch.dtype
        Of the tensors.

    Yields
    ------
    name : str
        Such as ``model.layers.3.mlp.down_proj.weight``.
    tensor : torch.Tensor
        Shapes as in transformers, ``(out, in)``.

    Raises
    ------
    NisslError
        The file is truncated or no GGUF, or of another architecture.

    Examples
    --------
    >>> for name, tensor in tensors(Path("model.gguf"), torch.float32): ...  # doctest: +SKIP
    """
    import torch
    from gguf.quants import dequantize

    with read_errors(path):
        reader = open_gguf(path)
        architecture = reader.fields["general.architecture"].contents()
        if architecture not in BLOCKS:
            raise NisslError(
                f"GGUF files of the architecture {architecture} are not converted",
                where=str(path),
                do=f"give one of {', '.join(BLOCKS)}, or a folder of safetensors",
            )

        def meta(key: str) -> Any:
            return reader.fields[f"{architecture}.attention.{key}"].contents()

        for tensor in reader.tensors:
            name = _name(tensor.name, BLOCKS[architecture])
            if name is None:  # tables of rotary frequencies, which transformers computes
                continue
            values = dequantize(tensor.data, tensor.tensor_type)
            if architecture == "llama" and name.endswith("q_proj.weight"):
                values = rotary_halves(values, meta("head_count"))
            elif architecture == "llama" and name.endswith("k_proj.weight"):
                values = rotary_halves(values, meta("head_count_kv"))
            elif architecture == "gemma3" and name.endswith("norm.weight"):
                values = values - 1  # GGUF holds the factor, transformers what is added to one
            yield name, torch.from_numpy(values.copy()).to(dtype)


def _split_digits(tokenizer: Any) -> None:
    """Put SmolLM's first step back, which transformers drops: every digit stands alone.

    It shows where white space stands before a digit: two spaces and a digit are two tokens.
    """
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )


def open_gguf(path: Path) -> Any:
    """Open a GGUF file of which every tensor is there.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    gguf.GGUFReader
        With its fields and tensors.

    Raises
    ------
    NisslError
        The file is truncated, damaged or no GGUF.

    Examples
    --------
    >>> open_gguf(Path("model.gguf")).tensors  # doctest: +SKIP
    """
    import gguf

    try:
        _require_sizes(path)
        reader = gguf.GGUFReader(path)
        end = max((int(t.data_offset) + int(t.n_bytes) for t in reader.tensors), default=0)
    except Exception as error:  # a damaged header raises anything
        raise NisslError(
            f"the GGUF file is truncated or damaged: {first_line(error)}",
            where=str(path),
            do="fetch it again",
        ) from error
    if not end or end > path.stat().st_size:
        raise NisslError("the GGUF file is truncated", where=str(path), do="fetch it again")
    return reader


def _require_sizes(path: Path) -> None:
    """Refuse a header that counts more than the file holds: the library would count to the end."""
    widths = dict(enumerate((1, 1, 2, 2, 4, 4, 4, 1)))  # of the types of GGUF, by their numbers
    widths |= {10: 8, 11: 8, 12: 8}
    text, array = 8, 9
    left = path.stat().st_size
    with path.open("rb") as file:

        def number(width: int = 8) -> int:
            return int.from_bytes(file.read(width), order)

        def skip(n: int, least: int = 1) -> int:
            if n * least > left - file.tell():
                raise ValueError(f"it counts {n:,} of something where {left:,} bytes are")
            return n

        def value(kind: int, depth: int = 0) -> None:
            if kind == text:
                file.seek(skip(number()), 1)
            elif kind == array and depth < 8:
                inner, n = number(4), number()
                if inner in widths:
                    file.seek(skip(n, widths[inner]) * widths[inner], 1)
                    return
                for _ in range(skip(n, 8)):
                    value(inner, depth + 1)
            elif kind in widths:
                file.seek(widths[kind], 1)
            else:
                raise ValueError(f"there is no type {kind}")

        order: Literal["little", "big"] = "little"
        if file.read(4) != b"GGUF":
            raise ValueError("it is no GGUF")
        order = "little" if (version := number(4)) & 0xFFFF else "big"
        if version in (0, 1):
            raise ValueError(f"its version is {version}")
        n_tensors, n_fields = skip(number(), 24), skip(number(), 12)
        for _ in range(n_fields):
            value(text)
            value(number(4))
        for _ in range(n_tensors):
            value(text)
            file.seek(8 * skip(number(4), 8) + 12, 1)


def _name(gguf_name: str, block: dict[str, str]) -> str | None:
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", gguf_name)
    if found is None:
        return None
    layer, part, ending = found.groups()
    if layer is None:
        return f"{OUTSIDE[part]}.{ending}" if part in OUTSIDE else None
    return f"model.layers.{layer}.{block[part]}.{ending}" if part in block else None
