"""Every architecture whose sites have the field's names; ``docs/sites.md`` is made from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nissl.network.sites.architectures.decoders import DECODERS
from nissl.network.sites.architectures.encoders import ENCODERS
from nissl.network.sites.architectures.mixtures import MIXTURES
from nissl.network.sites.architectures.vision import VISION

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.architectures.architecture import Architecture

__all__ = ["ARCHITECTURES", "architecture_of"]

ARCHITECTURES: tuple[Architecture, ...] = (*DECODERS, *MIXTURES, *ENCODERS, *VISION)


def architecture_of(model: nn.Module) -> Architecture | None:
    """Return the architecture whose names a model's sites have, or None.

    Parameters
    ----------
    model : nn.Module
        A model; those of transformers are told by their configuration.

    Returns
    -------
    Architecture or None
        None where only module paths name the sites.

    Examples
    --------
    >>> from torch import nn
    >>> architecture_of(nn.Linear(2, 2)) is None
    True
    """
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    return next((a for a in ARCHITECTURES if model_type in a.model_types), None)
