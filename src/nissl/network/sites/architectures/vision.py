"""Networks that read images: where the names lie in their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import plain, separate
from nissl.network.sites.hook_points import Output, ResidMid

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["VISION"]


def _vit(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "attention", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "resid_mid": ResidMid(f"{p}.layernorm_after", p),
        "attn.out": Output(f"{p}.attention"),
        **plain(f"{p}.mlp.fc1", f"{p}.mlp.fc2"),
        "mlp.out": Output(f"{p}.mlp"),
    }


VISION = (
    Architecture(
        "ViT",
        ("vit",),
        blocks="layers",
        embed="embeddings",
        final_norm="layernorm",
        block=_vit,
        matrices=Matrices(
            "mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm=("layernorm_after",)
        ),
        positions=False,
    ),
)
