"""Networks that read images, and the text side of CLIP: where the names lie in their blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import gated, plain, separate, stream
from nissl.network.sites.hook_points import Heads, Input, Output, ResidMid

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


def _clip(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "out_proj", config),
        "resid_mid": ResidMid(f"{p}.layer_norm2", p),
        "attn.out": Output(f"{p}.self_attn"),
        **plain(f"{p}.mlp.fc1", f"{p}.mlp.fc2"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _dinov2(p: str, config: Any) -> dict[str, HookPoint]:
    n, after = config.num_attention_heads, f"{p}.layer_scale1"
    swiglu = config.use_swiglu_ffn
    return {
        **separate(p, "attention", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "resid_mid": ResidMid(f"{p}.norm2", p),
        "attn.heads": Heads(f"{p}.attention.o_proj", n, post_norm=after),
        "attn.out": Output(after),
        **(gated(f"{p}.mlp") if swiglu else plain(f"{p}.mlp.fc1", f"{p}.mlp.fc2")),
        "mlp.out": Output(f"{p}.layer_scale2"),
    }


def _convnext(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        "resid_pre": Input(p, axis=1),
        **plain(f"{p}.pwconv1", f"{p}.pwconv2"),
        "mlp.out": Output(f"{p}.drop_path", axis=1),  # after the layer scale
        "resid_post": Output(p, axis=1),
    }


def _swin(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **stream(p),
        "attn.out": Output(f"{p}.drop_path"),  # put together from its windows
        "resid_mid": ResidMid(f"{p}.layernorm_after", p),
        **plain(f"{p}.mlp.fc1", f"{p}.mlp.fc2"),
        "mlp.out": Output(f"{p}.mlp"),
    }


CLIP = Architecture(
    "CLIP vision",
    ("clip_vision_model",),
    blocks="encoder.layers",
    embed="pre_layrnorm",
    final_norm=None,
    block=_clip,
    matrices=Matrices("mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm=("layer_norm2",)),
    positions=False,
)

VISION = (
    Architecture(
        "ViT",
        ("vit", "deit"),
        blocks="layers",
        embed="embeddings",
        final_norm="layernorm",
        block=_vit,
        matrices=Matrices(
            "mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm=("layernorm_after",)
        ),
        positions=False,
    ),
    CLIP,
    replace(
        CLIP,
        name="SigLIP vision",
        model_types=("siglip_vision_model",),
        embed="embeddings",
        final_norm="post_layernorm",
    ),
    replace(
        CLIP,
        name="CLIP text",
        model_types=("clip_text_model",),
        embed="embeddings",
        final_norm="final_layer_norm",
        positions=True,
    ),
    Architecture(
        "DINOv2",
        ("dinov2", "dinov2_with_registers"),
        blocks="encoder.layer",
        embed="embeddings",
        final_norm="layernorm",
        block=_dinov2,
        matrices=Matrices("mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm=("norm2",)),
        norms=("layer_scale1", "layer_scale2"),
        positions=False,
    ),
    Architecture(
        "ConvNeXt",
        ("convnext", "convnextv2"),
        blocks="encoder.stages.*.layers",
        embed="embeddings",
        final_norm=None,
        block=_convnext,
        matrices=Matrices("pwconv1", "pwconv2", activation="act"),
        positions=False,
        axis=1,
        layer_scale="layer_scale_parameter",
    ),
    Architecture(
        "Swin",
        ("swin",),
        blocks="encoder.layers.*.blocks",
        embed="embeddings",
        final_norm="layernorm",
        block=_swin,
        matrices=Matrices(
            "mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm=("layernorm_after",)
        ),
        positions=False,
    ),
)
