"""Every architecture whose sites have the field's names; ``docs/sites.md`` is made from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nissl.network.sites.architectures.decoders import DECODERS
from nissl.network.sites.architectures.encoder_decoders import ENCODER_DECODERS
from nissl.network.sites.architectures.encoders import ENCODERS
from nissl.network.sites.architectures.gpt import GPT
from nissl.network.sites.architectures.mixtures import MIXTURES
from nissl.network.sites.architectures.state_space import STATE_SPACE
from nissl.network.sites.architectures.vision import VISION

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.architectures.architecture import Architecture

__all__ = ["ARCHITECTURES", "architecture_of"]

ARCHITECTURES: tuple[Architecture, ...] = (
    *DECODERS,
    *GPT,
    *MIXTURES,
    *STATE_SPACE,
    *ENCODERS,
    *ENCODER_DECODERS,
    *VISION,
)


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
    config = getattr(model, "config", None)
    kind = getattr(config, "model_type", None)
    fitting = (a for a in ARCHITECTURES if kind in a.model_types)
    return next((a for a in fitting if a.flag is None or getattr(config, a.flag, False)), None)
