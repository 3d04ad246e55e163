"""Texts of different lengths in one batch: what fills them up, and positions of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError
from nissl.network.sites.batch import encoder_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from nissl.network.sites.base import BaseNetwork

__all__ = ["UNMASKED", "filler_of", "padded_positions", "require_mask"]

# Models that take a mask and make nothing of it, and keep one state for all items of a batch.
UNMASKED = ("rwkv",)


def filler_of(net: BaseNetwork) -> int:
    """Return the token that fills up shorter texts: the one that the model itself takes for none.

    Parameters
    ----------
    net : Network
        The network.

    Returns
    -------
    int
        A token of its vocabulary.
    """
    config: Any = getattr(net.model, "config", None)
    given = (
        net.padding_token,
        getattr(config, "pad_token_id", None),
        getattr(net.tokenizer, "pad_token_id", None),
    )
    size = net.vocabulary_size
    fits = (t for t in given if isinstance(t, int) and t >= 0 and (size is None or t < size))
    return next(fits, 0)


def require_mask(net: BaseNetwork, takes: Iterable[str]) -> None:
    """Raise where texts are not what they are alone when they are filled up on the left.

    Parameters
    ----------
    net : Network
        The network.
    takes : iterable of str
        What its model is given.

    Raises
    ------
    NisslError
        The model makes nothing of a mask, or counts positions by a rule that is not known.
    """
    moved = net.architecture is None or net.architecture.positions
    known = not moved or net.padding_token is not None
    theirs = hasattr(type(net.model), "base_model_prefix")
    goes_on = hasattr(net.model, "generate") and encoder_path(net.model) is None
    if theirs and "position_ids" not in takes and not known and not goes_on:
        raise _uncounted(net)
    kind = getattr(getattr(net.model, "config", None), "model_type", None)
    if kind in UNMASKED:
        raise NisslError(
            f"{type(net.model).__name__} makes nothing of a mask, so that texts of different "
            "lengths cannot be filled up on the left",
            do="give one at a time, or padding='right' where they are not gone on from",
        )


def padded_positions(net: BaseNetwork, mask: Tensor) -> dict[str, Tensor]:
    """Return the position of each token of texts that are filled up on the left, as an argument.

    Parameters
    ----------
    net : Network
        A network whose model takes ``position_ids``.
    mask : Tensor, shape (batch, position), bool
        True at tokens.

    Returns
    -------
    dict of str to Tensor, shape (batch, position), int64
        ``position_ids``; nothing where the model reads its positions from the tokens.

    Raises
    ------
    NisslError
        It is not known how the model counts.
    """
    if net.padding_token is not None:
        return {}
    index = (mask.long().cumsum(-1) - 1).clamp_min(0)
    tables = [b for name, b in net.model.named_buffers() if name.endswith("position_ids")]
    if tables:  # what the model itself would take, from the first on (2, ... in Nystroemformer)
        return {"position_ids": tables[0].reshape(-1)[index]}
    known = net.architecture is not None and net.architecture.positions
    if not known and not hasattr(net.model, "generate"):
        raise _uncounted(net)
    return {"position_ids": index}


def _uncounted(net: BaseNetwork) -> NisslError:
    return NisslError(
        f"how {type(net.model).__name__} counts positions is not known, so that texts of "
        "different lengths cannot be filled up on the left",
        do="give padding='right', or batch_size=1",
    )
