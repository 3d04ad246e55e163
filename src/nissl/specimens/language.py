"""Language models by name, each a folder that transformers opens.

The folder holds ``config.json``, ``model.safetensors`` and the tokenizer. It is made once from the
artefact, which may be quantised, and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nissl.specimens.fetching import converted, fetch

__all__ = ["gemma3_270m", "iglm", "minilm", "mpnet", "qwen2_5_coder_1_5b", "smollm2", "stories15m"]


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
    PosixPath('.../converted/smollm2-1-...')

    Source: Allal et al. 2025, SmolLM2; Apache-2.0.
    """

    def build(folder: Path) -> None:
        from nissl.specimens.gguf_files import convert_gguf

        (weights,) = fetch("smollm2").rglob("*.gguf")
        convert_gguf(weights, folder)

    return converted("smollm2", "2", build)
