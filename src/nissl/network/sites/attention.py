"""What the attention scores see, and the attention pattern.

No module computes them, but every current architecture of transformers hands queries and keys,
after norms and rotary positions, to an attention function chosen by name from a public registry.
While a hook point is attached the model's configuration names a function of ours, which lets
visitors read or replace queries, keys and the pattern, and then calls the function that was chosen
before; where the pattern was replaced, what it reads of the values is computed here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.sites.hook_points import module_at

if TYPE_CHECKING:
    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle, Visit

__all__ = ["BeforeSoftmax", "Pattern", "Rotated"]

PREFIX = "nissl_"
VISITORS = "_nissl_attention_visitors"
Visitor = Callable[["Scores"], None]


@dataclass
class Scores:
    """The arguments of one call of an attention function, of which visitors may replace some.

    Parameters
    ----------
    query, key, value : Tensor, each shape (batch, head, position, d_head)
        As the attention function is given them; several heads of queries may share one of keys.
    mask : Tensor or None
        Which keys are seen, boolean, or what is added to the scores.
    scaling : float or None
        Multiplies the scores; None is one over the root of d_head.
    causal : bool
        Whether no mask stands for a causal one.
    softcap : float or None
        What scores stay below, by tanh.
    sinks : Tensor or None, shape (head,)
        Scores that take part in the softmax and of which nothing is read (GPT-OSS).
    bias : Tensor or None
        What is added to the scores for positions (T5).
    written : Tensor or None, shape (batch, head, query position, key position)
        The pattern that takes the place of the one that follows from the scores.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float | None
    causal: bool
    softcap: float | None = None
    sinks: Tensor | None = None
    bias: Tensor | None = None
    written: Tensor | None = None

    def pattern(self) -> Tensor:
        """Return the pattern, shape (batch, head, query position, key position)."""
        if self.written is not None:
            return self.written
        return self.before_softmax().softmax(-1)[..., : self.key.shape[-2]].nan_to_num()

    def before_softmax(self) -> Tensor:
        """Return what the softmax is of, minus infinity where nothing is seen; sinks come last."""
        query, groups = self.query, self.query.shape[1] // self.key.shape[1]
        logits = query @ self.key.repeat_interleave(groups, 1).transpose(-1, -2)
        logits = logits * (query.shape[-1] ** -0.5 if self.scaling is None else self.scaling)
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        if self.bias is not None:
            logits = logits + self.bias
        seen = self._seen(logits)
        if seen.dtype == torch.bool:
            logits = logits.masked_fill(~seen, -torch.inf)
        else:
            logits = logits + seen
        if self.sinks is None:
            return logits
        sinks = self.sinks[:, None, None].expand(*logits.shape[:-1], 1)
        return torch.cat([logits, sinks], -1)

    def read(self, dropout: float) -> Tensor:
        """Return what the pattern reads of the values, shape (batch, query position, head, d)."""
        value = self.value
        pattern = nn.functional.dropout(self.pattern(), dropout) if dropout else self.pattern()
        value = value.repeat_interleave(pattern.shape[1] // value.shape[1], 1)
        return (pattern.to(value) @ value).transpose(1, 2).contiguous()

    def _seen(self, logits: Tensor) -> Tensor:
        """Which keys each query sees: the mask it was given, or what no mask stands for."""
        if self.mask is not None:
            return self.mask
        queries, keys = logits.shape[-2:]
        every = torch.ones(queries, keys, dtype=torch.bool, device=logits.device)
        return every.tril(keys - queries) if self.causal else every


@dataclass(frozen=True)
class Rotated:
    """Queries, keys or values as attention reads them, shape (batch, position, head x d_head).

    Parameters
    ----------
    path : str
        Path of the attention module.
    which : {"query", "key", "value"}
        Which of them.
    """

    path: str
    which: Literal["query", "key", "value"]

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Name our attention function in the configuration and register the visitor."""
        module = module_at(model, self.path)
        cache: list[Any] = []

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            cache[:] = [x for x in (*args, *kwargs.values()) if hasattr(x, "get_seq_length")]

        def visitor(scores: Scores) -> None:
            whole: Tensor = getattr(scores, self.which)
            length = scores.query.shape[-2]
            layer = None if self.which == "query" else _layer_of(cache, module)
            # Keys come with those of the cache before them, and in one of fixed size with what is
            # empty yet behind them: the site is the positions of this call.
            stop = _end(layer, whole)
            now = whole[:, :, stop - length : stop]
            view = now.transpose(1, 2).flatten(-2)
            new = visit(view)
            if new is view:
                return
            new = new.unflatten(-1, (now.shape[1], -1)).transpose(1, 2)
            parts = [whole[:, :, : stop - length], new, whole[:, :, stop:]]
            setattr(scores, self.which, new if whole.shape[-2] == length else torch.cat(parts, -2))
            if layer is not None:
                _keep(layer, f"{self.which}s", new)

        noted = module.register_forward_pre_hook(note, with_kwargs=True)
        return [noted, _Attached(model, module, visitor)]


def _layer_of(cache: list[Any], module: nn.Module) -> Any:
    """Return the part of a cache that an attention module fills; None where there is none."""
    if not cache:
        return None
    every = getattr(cache[0], "self_attention_cache", cache[0])
    index = getattr(module, "layer_idx", None)
    layer = None if index is None else every.layers[index]
    if layer is None or hasattr(layer, "_quantized_keys"):
        raise NisslError(
            f"the keys of {type(module).__name__} are kept where they cannot be reached",
            do="use_cache=False, or a cache that is not quantised",
        )
    return layer


def _end(layer: Any, kept: Tensor) -> int:
    """Return where the keys of a call end among those that are kept."""
    n = kept.shape[-2]
    return n if layer is None else min(int(layer.get_seq_length()), n)


def _keep(layer: Any, name: str, new: Tensor) -> None:
    """Put new keys or values of a call into a cache, so that later positions see them."""
    kept: Tensor = getattr(layer, name)
    if (kept.shape[1], kept.shape[-1]) != (new.shape[1], new.shape[-1]):
        raise NisslError(
            f"the cache keeps what {name} are made of, so that they cannot be replaced",
            do="give use_cache=False",
        )
    stop = _end(layer, kept)
    n = min(new.shape[-2], stop)  # a sliding window keeps the last alone
    new = new[:, :, new.shape[-2] - n :].to(kept)
    if torch.is_grad_enabled():
        setattr(layer, name, torch.cat([kept[:, :, : stop - n], new, kept[:, :, stop:]], -2))
    else:
        kept[:, :, stop - n : stop] = new


@dataclass(frozen=True)
class Pattern:
    """Attention patterns, shape (batch, query position, head, key position).

    Where one is replaced, attention is what the new pattern reads of the values. Where it is only
    read, it is computed beside the model's own attention function, which is left as it is.

    Parameters
    ----------
    path : str
        Path of the attention module.
    """

    path: str

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Name our attention function in the configuration and register the visitor."""

        def visitor(scores: Scores) -> None:
            view = scores.pattern().transpose(1, 2)
            new = visit(view)
            if new is not view:
                scores.written = new.transpose(1, 2)

        return [_Attached(model, module_at(model, self.path), visitor, last=True)]


@dataclass(frozen=True)
class BeforeSoftmax:
    """What patterns are the softmax of, shape (batch, query position, head, key position); read.

    Keys that are not seen have minus infinity; where there are sinks, they are one key more.

    Parameters
    ----------
    path : str
        Path of the attention module.
    """

    path: str

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Name our attention function in the configuration and register the visitor."""

        def visitor(scores: Scores) -> None:
            visit(scores.before_softmax().transpose(1, 2))

        return [_Attached(model, module_at(model, self.path), visitor, last=True)]


class _Attached:
    """One visitor of one attention module; removing the last restores the configuration.

    Visitors with `last` come after all others: the pattern follows from queries and keys.
    """

    def __init__(
        self, model: nn.Module, module: nn.Module, visitor: Visitor, *, last: bool = False
    ) -> None:
        self.config: Any = getattr(module, "config", nn.Module())
        self.module, self.visitor = module, (last, visitor)
        if not hasattr(self.config, "_attn_implementation"):
            raise NisslError(
                f"{type(module).__name__} does not choose its attention function by name",
                do="record attn.q and attn.k, which are projected before positions are added",
            )
        chosen = str(self.config._attn_implementation)
        self.changed = not chosen.startswith(PREFIX)
        if self.changed:
            _register(chosen)
            self.config._attn_implementation = PREFIX + chosen
        module.__dict__.setdefault(VISITORS, []).append(self.visitor)

    def remove(self) -> None:
        """Take the visitor away and put the configuration back."""
        visitors = self.module.__dict__[VISITORS]
        visitors.remove(self.visitor)
        if not visitors:
            del self.module.__dict__[VISITORS]
        if self.changed:
            name = self.config._attn_implementation
            self.config._attn_implementation = name.removeprefix(PREFIX)


def _register(chosen: str) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
    ) -> Any:
        causal = options.get("is_causal", getattr(module, "is_causal", True))
        # The function of torch knows no cap, and models that name it are computed without.
        softcap = None if chosen == "sdpa" else options.get("softcap")
        scaling, sinks = options.get("scaling"), options.get("s_aux")
        bias = options.get("position_bias")
        scores = Scores(query, key, value, mask, scaling, bool(causal), softcap, sinks, bias)
        for _, visitor in sorted(module.__dict__.get(VISITORS, ()), key=lambda each: each[0]):
            visitor(scores)
        if scores.written is not None:
            return scores.read(float(options.get("dropout") or 0.0)), scores.written
        if chosen == "eager":
            inner = sys.modules[type(module).__module__].eager_attention_forward
        else:
            inner = ALL_ATTENTION_FUNCTIONS[chosen]
        return inner(module, scores.query, scores.key, scores.value, mask, **options)

    AttentionInterface.register(PREFIX + chosen, attend)
    AttentionMaskInterface.register(PREFIX + chosen, ALL_MASK_ATTENTION_FUNCTIONS[chosen])
