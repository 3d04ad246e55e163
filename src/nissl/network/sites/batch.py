"""What one call of a model is given: which tokens, at which positions, prompt or continuation.

Hook points and edits see activity only; the batch tells them which position of which item each row
is. It is read from the arguments of the call itself, so that it is right in the user's own calls of
the model, in generation with a cache, and with padding on either side.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

__all__ = ["CONTINUES", "Batch", "Phase", "watch_batch"]

# An attribute of caches that hold the beginning of the prompt which the call goes on reading.
CONTINUES = "_nissl_continues"
Phase = Literal["prefill", "decode"]


@dataclass(frozen=True, eq=False)
class Batch:
    """One call of the model.

    Parameters
    ----------
    ids : Tensor or None, shape (batch, position), int64
        Token ids; None where the model was given something else.
    positions : Tensor or None, shape (batch, position), int64
        Position of each token among the real tokens of its item, counted from the beginning of the
        prompt, also while decoding; -1 at padding. None where the inputs are not sequences.
    phase : {"prefill", "decode"}
        Whether the cache of keys and values was empty.
    cache : object or None
        The cache of keys and values the call was given.
    prompt : Tensor or None, shape (batch,), int64
        How many tokens of each item are its prompt, where that is told: a generation without a
        cache gives prompt and continuation together.
    """

    ids: Tensor | None
    positions: Tensor | None
    phase: Phase
    cache: Any = None
    prompt: Tensor | None = None

    @property
    def prompt_lengths(self) -> Tensor | None:
        """How many tokens the prompt of each item has, shape (batch,)."""
        if self.prompt is not None or self.positions is None:
            return self.prompt
        return self.positions.amax(1) + 1

    @property
    def mask(self) -> Tensor | None:
        """True at real tokens, shape (batch, position); None where the inputs are no sequences."""
        return None if self.positions is None else self.positions >= 0


@contextmanager
def watch_batch(
    model: nn.Module, body: nn.Module, begin: Callable[[Batch], None]
) -> Iterator[None]:
    """Call ``begin`` with the batch before each call of a model, or of its body alone.

    Parameters
    ----------
    model : nn.Module
        The whole model.
    body : nn.Module
        The part of it that is run where no head is wanted. Some models call the body, others its
        parts, so watching the body alone would miss calls.
    begin : callable
        Called with the `Batch`, once a call.

    Yields
    ------
    None
        The watching ends with the block.
    """
    inside: list[nn.Module] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not inside:
            begin(_batch_of(args, kwargs))
        inside.append(module)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if inside:
            inside.pop()

    handles = []
    try:
        for module in dict.fromkeys((model, body)):
            handles += [
                module.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
                # Also when the call fails, or the next one would count as part of it.
                module.register_forward_hook(after, always_call=True),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _batch_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
    given: Any = kwargs.get("input_ids")
    if given is None:
        given = kwargs.get("inputs_embeds", args[0] if args else None)
    if not isinstance(given, torch.Tensor) or given.ndim < 2:
        return Batch(None, None, "prefill")
    ids = given if given.ndim == 2 and not given.is_floating_point() else None
    if ids is None and kwargs.get("inputs_embeds") is None:
        return Batch(None, None, "prefill")
    cache: Any = kwargs.get("past_key_values")
    past = 0 if cache is None else int(cache.get_seq_length())
    length = given.shape[1]
    mask = kwargs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        real = mask.bool()
        positions = (real.long().cumsum(-1) - 1).masked_fill(~real, -1)[:, -length:]
    else:
        positions = torch.arange(past, past + length, device=given.device)
        positions = positions.expand(given.shape[0], length)
    decode = past > 0 and not getattr(cache, CONTINUES, False)
    return Batch(ids, positions, "decode" if decode else "prefill", cache)
