"""Calls of a model: what its forward function is given for a batch, and calling it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError, first_line
from nissl.network.run.early_stop import needs_head, stopping
from nissl.network.run.padding import filler_of, padded_positions, require_mask
from nissl.network.sites.arguments import names_of
from nissl.network.sites.batch import encoder_path
from nissl.network.sites.modes import evaluated, turn

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["Call", "call_model", "sequence_call", "tensor_call"]


@dataclass(frozen=True)
class Call:
    """Arguments of one call of a model.

    Parameters
    ----------
    args : tuple
        Positional arguments.
    kwargs : dict
        Arguments by name.
    mask : Tensor or None, shape (batch, position), bool
        True at real tokens; None where the inputs are not sequences.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    mask: Tensor | None = None


def sequence_call(
    net: BaseNetwork,
    ids: Sequence[np.ndarray[Any, Any]],
    *,
    padding: str = "right",
    encoder: bool = False,
) -> Call:
    """Make the call that reads several sequences of token ids at once.

    Parameters
    ----------
    net : Network
        The network.
    ids : sequence of array, each shape (length,), int64
        Token ids.
    padding : {"right", "left"}
        Where shorter ones are filled up.
    encoder : bool
        Of an encoder-decoder the encoder alone is wanted; its decoder begins, and reads nothing.

    Returns
    -------
    Call
        With mask and positions where the lengths differ, so that each reads as if it were alone.

    Raises
    ------
    NisslError
        The lengths differ and the model takes no mask, or what its decoder reads is not given.
    """
    sides = encoder_path(net.model) is not None
    if sides and not encoder:
        raise NisslError(
            f"{type(net.model).__name__} is an encoder-decoder, and what its decoder reads is not "
            "given",
            do="give {'input_ids': ..., 'decoder_input_ids': ...}, or ask for sites of its encoder",
        )
    if padding not in ("left", "right"):
        raise NisslError(f"padding is 'left' or 'right', not {padding!r}")
    longest = max(map(len, ids))
    mask = torch.zeros(len(ids), longest, dtype=torch.bool)
    rows = torch.full((len(ids), longest), filler_of(net), dtype=torch.int64)
    for row, sequence in enumerate(ids):
        where = (
            slice(0, len(sequence)) if padding == "right" else slice(longest - len(sequence), None)
        )
        rows[row, where] = torch.from_numpy(np.ascontiguousarray(sequence, dtype=np.int64))
        mask[row, where] = True
    rows, mask = rows.to(net.device), mask.to(net.device)
    takes = names_of(net.model)
    kwargs: dict[str, Any] = {}
    if sides:
        config: Any = net.model.config
        start = getattr(config, "decoder_start_token_id", None) or 0
        kwargs["decoder_input_ids"] = torch.full((len(ids), 1), start, device=net.device)
    if "use_cache" in takes:
        kwargs["use_cache"] = False
    if not bool(mask.all()):
        if "attention_mask" not in takes:
            raise NisslError(
                f"{type(net.model).__name__} takes no attention_mask, so texts of different "
                "lengths cannot be read together",
                do="give batch_size=1",
            )
        kwargs["attention_mask"] = mask.long()
        # After the text, padding moves no position.
        if padding == "left":
            require_mask(net, takes)
        if padding == "left" and "position_ids" in takes:
            kwargs |= padded_positions(net, mask)
    if "input_ids" in takes:
        return Call((), {"input_ids": rows, **kwargs}, mask)
    return Call((rows,), kwargs, mask)


def tensor_call(net: BaseNetwork, inputs: Any) -> Call:
    """Make the call for images, a tensor, or arguments by name.

    Parameters
    ----------
    net : Network
        The network, for its image transform.
    inputs : images, Tensor, array, or mapping of arguments
        One batch.

    Returns
    -------
    Call
        Tensors on the model's device.

    Raises
    ------
    NisslError
        Inputs are of a kind that no model takes.
    """
    if isinstance(inputs, Mapping):
        tensors = {
            k: torch.as_tensor(np.asarray(v, order="C")) if isinstance(v, np.ndarray) else v
            for k, v in inputs.items()
        }
        moved = {k: v.to(net.device) if isinstance(v, Tensor) else v for k, v in tensors.items()}
        mask = moved.get("attention_mask")
        return Call((), moved, mask.bool() if isinstance(mask, Tensor) else None)
    if net.transform is not None and not (
        isinstance(inputs, Tensor) and inputs.is_floating_point()
    ):
        inputs = net.transform(inputs)
    if isinstance(inputs, (np.ndarray, list, tuple)):
        try:
            inputs = torch.as_tensor(np.asarray(inputs, order="C"))
        except (TypeError, ValueError) as error:
            raise NisslError(
                f"inputs of type {type(inputs).__name__} cannot be made a tensor"
            ) from error
    if not isinstance(inputs, Tensor):
        raise NisslError(
            f"a {type(inputs).__name__} is not something this model reads",
            do="give text, token ids, images, a tensor, or a mapping of the model's arguments",
        )
    inputs = inputs.to(net.device, net.dtype if inputs.is_floating_point() else None)
    return Call((inputs,))


def call_model(
    net: BaseNetwork, call: Call, *, head: bool = True, until: Iterable[Site] | None = None
) -> Any:
    """Call the model, or as much of it as is wanted.

    Parameters
    ----------
    net : Network
        The network.
    call : Call
        What it is given.
    head : bool
        False runs the body alone, which spares the logits.
    until : iterable of Site, optional
        Run no further than these sites and the edits before them need.

    Returns
    -------
    Any
        What the module returns; with `until` nothing to be relied on.

    Raises
    ------
    NisslError
        The batch does not fit in memory.
    """
    from nissl.network.run.caches import check_cache

    check_cache(net, call.kwargs.get("past_key_values"))
    sites = None if until is None else list(until)
    whole = head if sites is None else needs_head(net, sites)
    module = net.model if whole else net.body
    try:
        with (
            evaluated(net.model) if net.model.training else turn(net.model),
            nullcontext() if sites is None else stopping(net, sites),
        ):
            return module(*call.args, **call.kwargs)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _too_big(error) from error
    except (RuntimeError, ValueError, TypeError) as error:
        if "memory" in str(error) and "alloc" in str(error):
            raise _too_big(error) from error
        raise _failed(net, call, error) from error


def _failed(net: BaseNetwork, call: Call, error: BaseException) -> NisslError:
    """Return the error of a model that does not take what it was given."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    given = [*call.args, *call.kwargs.values()]
    shapes = ", ".join(f"{x.dtype} {tuple(x.shape)}" for x in given if isinstance(x, Tensor))
    do = "see the error above it; the model may want inputs of another shape or type"
    if "padding token" in said:
        do = "set net.model.config.pad_token_id, or give batch_size=1"
    sides = encoder_path(net.model) is not None
    if sides and not any(name.startswith("decoder_") for name in call.kwargs):
        do = "give what its decoder reads, decoder_input_ids, by name beside the encoder's input"
    return NisslError(
        f"{type(net.model).__name__} failed on its inputs: {said}",
        where=shapes.replace("torch.", ""),
        do=do,
    )


def _too_big(error: BaseException) -> NisslError:
    return NisslError(
        "the batch does not fit in memory",
        where=first_line(error)[:200],
        do="give a smaller batch_size, a shorter window, or dtype='bfloat16'",
    )
