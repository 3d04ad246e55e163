"""What one call of a model is given: which tokens, at which positions, prompt or continuation.

Hook points and edits see activity only; the batch tells them which position of which item each row
is. It is read from the arguments of the call itself, so that it is right in the user's own calls of
the model, in generation with a cache, and with padding on either side.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from nissl.network.sites.arguments import bound, inner_model, names_of
from nissl.network.sites.layout import reads_time_first
from nissl.network.sites.modes import refuse_other_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

__all__ = ["CONTINUES", "Batch", "Phase", "encoder_path", "is_filled", "watch_batch"]

# An attribute of caches that hold the beginning of the prompt which the call goes on reading.
CONTINUES = "_nissl_continues"
# An attribute of caches: how many tokens of each item they hold. State-space models do not tell,
# and where padding lies is not told to a cache of fixed size.
SEEN = "_nissl_seen"
# What models call the state that they go on from: keys and values, Mamba's state, RWKV's.
CACHES = ("past_key_values", "cache_params", "state")
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
        The cache of keys and values, or the state, that the call was given.
    prompt : Tensor or None, shape (batch,), int64
        How many tokens of each item are its prompt, where that is told: a generation without a
        cache gives prompt and continuation together.
    size : int or None
        How many items there are, where that is known.
    n_prompts : int or None
        How many prompts `generate` was given, of which each may have several rows (beams).
    decoder : Batch or None
        Of an encoder-decoder, what its decoder is given; the rest is what its encoder is given.
    """

    ids: Tensor | None
    positions: Tensor | None
    phase: Phase
    cache: Any = None
    prompt: Tensor | None = None
    size: int | None = None
    n_prompts: int | None = None
    decoder: Batch | None = None

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
        Called with the `Batch`, once a call. `generate` calls the encoder of an encoder-decoder by
        itself.

    Yields
    ------
    None
        The watching ends with the block.
    """
    inside: list[nn.Module] = []
    now: list[Batch] = []
    # A state that takes no attribute (RWKV's list of tensors), and how many tokens it has read.
    last: list[tuple[Any, Tensor]] = []
    encoder = encoder_path(model)
    inner = inner_model(model)[1]  # which `generate` of a wrapper calls
    watched = dict.fromkeys((model, inner, body))
    if encoder is not None:
        watched[model.get_submodule(encoder)] = None

    owner = threading.get_ident()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        refuse_other_threads(owner)
        if not inside:
            given = bound(module, args, kwargs)
            sided = encoder is not None and module in (model, inner, body)
            seen = next((ends for state, ends in last if state is given.get("state")), None)
            now[:] = [_both_sides(module, given) if sided else _batch_of(module, given, seen=seen)]
            begin(now[0])
        inside.append(module)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not inside:
            return
        inside.pop()
        if inside or now[0].positions is None:
            return
        cache = getattr(output, "cache_params", None)
        state = getattr(output, "state", None)
        if cache is None:
            cache = now[0].cache
        if hasattr(cache, "get_seq_length"):
            setattr(cache, SEEN, now[0].positions.amax(1) + 1)
        elif isinstance(state, list):
            last[:] = [(state, now[0].positions.amax(1) + 1)]

    handles = []
    try:
        for module in watched:
            handles += [
                module.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
                # Also when the call fails, or the next one would count as part of it.
                module.register_forward_hook(after, always_call=True),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def encoder_path(model: nn.Module) -> str | None:
    """Return the path of the encoder of an encoder-decoder; None for other models."""
    config: Any = getattr(model, "config", None)
    get_encoder: Any = getattr(model, "get_encoder", None)
    if not getattr(config, "is_encoder_decoder", False) or get_encoder is None:
        return None
    encoder = get_encoder()
    return next((path for path, module in model.named_modules() if module is encoder), None)


def is_filled(cache: Any) -> bool:
    """Tell whether a cache of keys and values, or a state, holds tokens."""
    if not hasattr(cache, "get_seq_length"):
        return isinstance(cache, list)
    length = _length_of(cache)
    return bool(cache.has_previous_state()) if length is None else length > 0


def _length_of(cache: Any) -> int | None:
    """Return how many tokens a cache holds; None where it does not tell."""
    try:
        length = int(cache.get_seq_length())
    except ValueError:  # of a model without attention
        return None
    # The first layer may be one that keeps a state, and counts nothing.
    layers = getattr(cache, "layers", ()) if not length else ()
    counts = [int(each.get_seq_length()) for each in layers if hasattr(each, "get_seq_length")]
    return max([length, *counts])


def _both_sides(module: nn.Module, given: Mapping[str, Any]) -> Batch:
    """Return the batch of an encoder-decoder."""
    encoder = {name: x for name, x in given.items() if name not in CACHES}
    start = len("decoder_")
    decoder = {name[start:]: x for name, x in given.items() if name.startswith("decoder_")}
    if not {"input_ids", "inputs_embeds"} & set(decoder):
        # The decoder is given the encoder's tokens, moved by one (BART).
        decoder |= {n: x for n, x in encoder.items() if n in ("input_ids", "inputs_embeds")}
    decoder |= {name: x for name, x in given.items() if name in CACHES}
    told = _batch_of(module, decoder)
    return replace(_batch_of(module, encoder), phase=told.phase, cache=told.cache, decoder=told)


def _batch_of(module: nn.Module, arguments: Mapping[str, Any], *, seen: Any = None) -> Batch:
    """Return the batch of a call whose arguments are known by name."""
    given: Any = arguments.get("input_ids")
    if given is None:
        given = arguments.get("inputs_embeds")
    if given is None and "input_ids" not in names_of(module):
        given = next(iter(arguments.values()), None)
    of_items = isinstance(given, torch.Tensor) and given.ndim and not reads_time_first(module)
    size = len(given) if of_items else None
    none = Batch(None, None, "prefill", size=size)
    if not isinstance(given, torch.Tensor) or given.ndim < 2:
        return none
    ids = given if given.ndim == 2 and not given.is_floating_point() else None
    if ids is None and arguments.get("inputs_embeds") is None:
        return none
    cache = next((arguments[n] for n in CACHES if arguments.get(n) is not None), None)
    decode = is_filled(cache) and not getattr(cache, CONTINUES, False)
    length = given.shape[1]
    past = _length_of(cache) if hasattr(cache, "get_seq_length") else None
    seen = getattr(cache, SEEN, seen)
    if seen is not None and past is not None and int(seen.max()) > past:
        seen = None  # it was cut short
    mask = arguments.get("attention_mask")
    if isinstance(mask, Mapping):  # one for each kind of layer
        mask = next((m for m in mask.values() if m is not None), None)
    real = _real(mask, length, prefill=not is_filled(cache)) if cache is not None else None
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        real = mask.bool()
    positions: Tensor | None
    if real is not None:
        positions = (real.long().cumsum(-1) - 1).masked_fill(~real, -1)[:, -length:]
    elif is_filled(cache) and seen is not None and len(seen) == len(given):
        positions = seen.to(given.device)[:, None] + torch.arange(length, device=given.device)
    elif is_filled(cache) and past is None:
        positions = None
    else:
        positions = torch.arange((past or 0), (past or 0) + length, device=given.device)
        positions = positions.expand(given.shape[0], length)
    return Batch(ids, positions, "decode" if decode else "prefill", cache, size=size)


def _real(mask: Any, length: int, *, prefill: bool) -> Tensor | None:
    """Return which tokens of a prompt a mask of four dimensions takes as real, (batch, position).

    `generate` makes one for caches of fixed size: a real token sees itself.
    """
    fits = isinstance(mask, torch.Tensor) and mask.ndim == 4 and min(mask.shape[-2:]) >= length
    if not fits or not prefill:
        return None
    own: Tensor = mask[:, 0].diagonal(dim1=-2, dim2=-1)[:, :length]
    return own if own.dtype == torch.bool else own == 0
