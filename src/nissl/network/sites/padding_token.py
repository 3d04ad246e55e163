"""Models that count the positions of tokens around a padding token: RoBERTa and its kin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["padding_token_of"]


def padding_token_of(model: nn.Module) -> int | None:
    """Return the token around which a model counts its positions (RoBERTa and its kin), or None.

    Parameters
    ----------
    model : nn.Module
        The model; its first token has the position after this number, and padding has none.

    Returns
    -------
    int or None
        None where positions are counted from 0, or by a rule that is not known.
    """
    rule = "create_position_ids_from_input_ids"
    if not hasattr(type(model), "base_model_prefix") and not hasattr(model, "config"):
        return None
    for module in model.modules():
        token = getattr(module, "padding_idx", None)
        if isinstance(token, int) and (
            hasattr(type(module), rule)
            or ("mbedding" in type(module).__name__ and _module_has(type(module), rule))
        ):
            return token
    return None


def _module_has(kind: type, name: str) -> bool:
    return hasattr(sys.modules.get(kind.__module__), name)
