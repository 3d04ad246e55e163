"""Small language models: a transformer from its sizes, a tokenizer, and windows of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nissl.errors import NisslError, UnknownName

__all__ = ["next_token_loss", "small_language_model", "small_tokenizer", "token_windows"]

END = "<|end|>"
# What each family calls the width of its MLP and its nonlinearity, and what it must be told.
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("intermediate_size", "hidden_act", {}),
    "gpt2": (
        "n_inner",
        "activation_function",
        {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    ),
    "gpt_neox": ("intermediate_size", "hidden_act", {}),
}


def small_language_model(
    family: str = "llama",
    *,
    vocabulary: int,
    d_model: int = 128,
    n_layers: int = 4,
    n_heads: int = 4,
    d_mlp: int | None = None,
    context: int = 128,
    activation: str | None = None,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """Make a language model of transformers with fresh weights.

    Parameters
    ----------
    family : {"llama", "gpt2", "gpt_neox"}
        Its architecture; Llama's MLP is gated, the others' are not.
    vocabulary : int
        Tokens it knows.
    d_model, n_layers, n_heads : int
        Width of the residual stream, blocks, heads of a block.
    d_mlp : int, optional
        Neurons of a block; four times `d_model` by default.
    context : int
        Tokens it can read.
    activation : str, optional
        Its nonlinearity, as transformers calls it: "silu", "gelu", "relu", "relu2".
    seed : int
        Of its weights; torch's own generator is left as it was.
    **options
        More for its configuration in transformers.

    Returns
    -------
    nn.Module
        A ``...ForCausalLM`` of transformers, its embedding and unembedding tied.

    Raises
    ------
    NisslError
        The family is not known, or `d_model` is no multiple of `n_heads`.

    Examples
    --------
    >>> model = small_language_model(vocabulary=16, d_model=8, n_layers=1, n_heads=2)
    >>> sum(p.numel() for p in model.parameters())
    1176
    """
    import transformers

    if family not in FAMILIES:
        raise UnknownName("family of small models", family, FAMILIES, do=", ".join(FAMILIES))
    if d_model % n_heads:
        raise NisslError(
            f"d_model={d_model} is no multiple of n_heads={n_heads}", do="change either"
        )
    width, nonlinearity, told = FAMILIES[family]
    config = transformers.AutoConfig.for_model(
        family,
        **{
            "vocab_size": vocabulary,
            "hidden_size": d_model,
            "num_hidden_layers": n_layers,
            "num_attention_heads": n_heads,
            "max_position_embeddings": context,
            "tie_word_embeddings": True,
            "pad_token_id": None,
            "bos_token_id": None,
            "eos_token_id": 0,
            width: d_mlp or 4 * d_model,
            **({nonlinearity: activation} if activation else {}),
            **told,
            **options,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = transformers.AutoModelForCausalLM.from_config(config)
    return model


def small_tokenizer(texts: Iterable[str], *, vocabulary: int = 2048) -> Any:
    """Learn a byte-level tokenizer from texts.

    Parameters
    ----------
    texts : iterable of str
        What to learn from.
    vocabulary : int
        Tokens at most; at least the 256 bytes and the end of a text, which has id 0.

    Returns
    -------
    PreTrainedTokenizerFast
        A tokenizer of transformers.

    Raises
    ------
    NisslError
        `vocabulary` is below 257.

    Examples
    --------
    >>> tokenizer = small_tokenizer(["the cat", "the dog"] * 5, vocabulary=260)
    >>> tokenizer.decode(tokenizer("the cat")["input_ids"])
    'the cat'
    """
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocabulary < len(alphabet) + 1:
        raise NisslError(
            f"{vocabulary} tokens do not hold the {len(alphabet)} bytes and the end of a text",
            do=f"give vocabulary={len(alphabet) + 1} or more",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END
    )


def token_windows(texts: Iterable[str], tokenizer: Any, *, length: int = 128) -> Tensor:
    """Cut texts, one after the other, into windows of tokens.

    Parameters
    ----------
    texts : iterable of str
        Each is followed by the tokenizer's end of text, if it has one.
    tokenizer
        A tokenizer of transformers.
    length : int
        Tokens of a window; what is left at the end is dropped.

    Returns
    -------
    Tensor of int64, shape (n_windows, length)
        What `Batches` and `next_token_loss` take.

    Raises
    ------
    NisslError
        The texts do not fill one window.

    Examples
    --------
    >>> token_windows(["aa bb"], small_tokenizer(["aa bb"], vocabulary=257), length=3).shape
    torch.Size([2, 3])
    """
    end = getattr(tokenizer, "eos_token_id", None)
    ids: list[int] = []
    for text in texts:
        ids += tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += [] if end is None else [end]
    n_windows = len(ids) // length
    if not n_windows:
        raise NisslError(f"{len(ids)} tokens do not fill a window of {length}", do="give more text")
    return torch.tensor(ids[: n_windows * length]).view(n_windows, length)


def next_token_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Return the mean cross entropy of each next token.

    Parameters
    ----------
    model : nn.Module
        A language model of transformers.
    batch : tuple of one Tensor, shape (batch, position), int64
        Token ids.

    Returns
    -------
    Tensor, shape ()
        In nats a token.

    Examples
    --------
    >>> model = small_language_model(vocabulary=16, d_model=8, n_layers=1, n_heads=2)
    >>> next_token_loss(model, (torch.zeros(1, 4, dtype=torch.int64),)).shape
    torch.Size([])
    """
    (ids,) = batch
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
