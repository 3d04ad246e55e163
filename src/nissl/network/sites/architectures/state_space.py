"""State-space decoders: one mixer a block in the place of attention and MLP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture
from nissl.network.sites.architectures.points import stream
from nissl.network.sites.hook_points import Input, Output

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["STATE_SPACE"]


def _mamba(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **stream(p),
        "mixer.neurons": Input(f"{p}.mixer.out_proj"),
        "mixer.out": Output(f"{p}.mixer"),
    }


STATE_SPACE = (
    Architecture(
        "Mamba",
        ("mamba", "falcon_mamba", "mamba2"),
        blocks="layers",
        embed="embeddings",
        final_norm="norm_f",
        block=_mamba,
        matrices=None,
        positions=False,
    ),
)
