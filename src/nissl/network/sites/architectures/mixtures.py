"""Decoders whose MLPs are mixtures of experts: where the names lie in their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture
from nissl.network.sites.architectures.decoders import GATED, llama, without_neurons
from nissl.network.sites.architectures.points import mixture
from nissl.network.sites.attention import Rotated
from nissl.network.sites.hook_points import Heads, Input, Output

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["MIXTURES"]


def _mixtral(p: str, config: Any) -> dict[str, HookPoint]:
    return {**without_neurons(llama(p, config)), **mixture(f"{p}.mlp", config)}


def _qwen3_moe(p: str, config: Any) -> dict[str, HookPoint]:
    layer = _layer(p)
    sparse = (layer + 1) % config.decoder_sparse_step == 0 and config.num_experts > 0
    mixed = sparse and layer not in config.mlp_only_layers
    return _mixtral(p, config) if mixed else llama(p, config)


def _qwen2_moe(p: str, config: Any) -> dict[str, HookPoint]:
    points = _qwen3_moe(p, config)
    if "moe.router" not in points:
        return points
    return {**points, **_shared(f"{p}.mlp.shared_expert", flat=True)}


def _deepseek(p: str, config: Any) -> dict[str, HookPoint]:
    a = f"{p}.self_attn"
    query = "q_proj" if config.q_lora_rank is None else "q_b_proj"
    dense = _layer(p) < config.first_k_dense_replace
    points = llama(p, config) if dense else _mixtral(p, config)
    del points["attn.k"]  # made from a latent where it is attended to
    return {
        **points,
        "attn.q": Output(f"{a}.{query}"),
        "attn.v": Rotated(a, "value"),
        **({} if dense else _shared(f"{p}.mlp.shared_experts")),
    }


def _gpt_oss(p: str, config: Any) -> dict[str, HookPoint]:
    points = without_neurons(llama(p, config))
    return {**points, **mixture(f"{p}.mlp", config, router="router")}


def _granitemoe(p: str, config: Any) -> dict[str, HookPoint]:
    scale, heads = config.residual_multiplier, config.num_attention_heads
    return {
        **without_neurons(llama(p, config)),
        "attn.heads": Heads(f"{p}.self_attn.o_proj", heads, scale=scale),
        "attn.out": Output(f"{p}.self_attn", scale=scale),
        "mlp.out": Output(f"{p}.block_sparse_moe", scale=scale),
        **mixture(f"{p}.block_sparse_moe", config, router="router"),
    }


def _shared(mlp: str, *, flat: bool = False) -> dict[str, HookPoint]:
    return {
        "moe.shared.gate": Output(f"{mlp}.gate_proj", flat=flat),
        "moe.shared.up": Output(f"{mlp}.up_proj", flat=flat),
        "moe.shared.neurons": Input(f"{mlp}.down_proj", flat=flat),
    }


def _layer(p: str) -> int:
    return int(p.rsplit(".", 1)[1])


def _family(name: str, types: tuple[str, ...], block: Any, **more: Any) -> Architecture:
    return Architecture(
        name,
        types,
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=block,
        matrices=more.pop("matrices", None),
        **more,
    )


MIXTURES = (
    _family("Mixtral-like", ("mixtral", "olmoe"), _mixtral),
    _family("Qwen-3-MoE", ("qwen3_moe",), _qwen3_moe, matrices=GATED),
    _family("Qwen-2-MoE", ("qwen2_moe",), _qwen2_moe, matrices=GATED),
    _family("DeepSeek", ("deepseek_v2", "deepseek_v3"), _deepseek, matrices=GATED),
    _family("GPT-OSS", ("gpt_oss",), _gpt_oss),
    _family(
        "Granite-MoE",
        ("granitemoe",),
        _granitemoe,
        residual_scale="residual_multiplier",
        logit_scale="/logits_scaling",
    ),
)
