"""Decoders of text: one function an architecture says where the names lie in its blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import (
    fused,
    gated,
    grouped_sizes,
    plain,
    separate,
)
from nissl.network.sites.hook_points import FusedPart, Heads, Input, Output, ResidMid

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["DECODERS", "GATED", "llama", "without_neurons"]


def llama(p: str, config: Any) -> dict[str, HookPoint]:
    """Return the hook points of a block of Llama."""
    return {
        **separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.self_attn"),
        **gated(f"{p}.mlp"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _stablelm(p: str, config: Any) -> dict[str, HookPoint]:
    points = llama(p, config)
    if config.use_parallel_residual:
        del points["resid_mid"]
    return points


def _cohere(p: str, config: Any) -> dict[str, HookPoint]:
    points = llama(p, config)
    del points["resid_mid"]
    return points


def _granite(p: str, config: Any) -> dict[str, HookPoint]:
    scale, heads = config.residual_multiplier, config.num_attention_heads
    return {
        **llama(p, config),
        "attn.heads": Heads(f"{p}.self_attn.o_proj", heads, scale=scale),
        "attn.out": Output(f"{p}.self_attn", scale=scale),
        "mlp.out": Output(f"{p}.mlp", scale=scale),
    }


def _phi(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "dense", config),
        "attn.out": Output(f"{p}.self_attn"),
        **plain(f"{p}.mlp.fc1", f"{p}.mlp.fc2"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _phi3(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **fused(p, "self_attn", "qkv_proj", "o_proj", config, sizes=grouped_sizes(config)),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.self_attn"),
        "mlp.gate": FusedPart(f"{p}.mlp.gate_up_proj", 0, of=2),
        "mlp.up": FusedPart(f"{p}.mlp.gate_up_proj", 1, of=2),
        "mlp.neurons": Input(f"{p}.mlp.down_proj"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def without_neurons(points: dict[str, HookPoint]) -> dict[str, HookPoint]:
    """Return hook points without those of a gated MLP."""
    return {k: v for k, v in points.items() if k not in ("mlp.gate", "mlp.up", "mlp.neurons")}


def _starcoder2(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **without_neurons(llama(p, config)),
        **plain(f"{p}.mlp.c_fc", f"{p}.mlp.c_proj"),
    }


def _gemma(p: str, config: Any) -> dict[str, HookPoint]:
    return _normed_after(p, config, f"{p}.pre_feedforward_layernorm")


def _olmo2(p: str, config: Any) -> dict[str, HookPoint]:
    return _normed_after(p, config, f"{p}.mlp")


def _normed_after(p: str, config: Any, reads_mid: str) -> dict[str, HookPoint]:
    after = f"{p}.post_attention_layernorm"
    return {
        **llama(p, config),
        "resid_mid": ResidMid(reads_mid, p),
        "attn.heads": Heads(f"{p}.self_attn.o_proj", config.num_attention_heads, post_norm=after),
        "attn.out": Output(after),
        "mlp.out": Output(f"{p}.post_feedforward_layernorm"),
    }


def _opt(p: str, config: Any) -> dict[str, HookPoint]:
    before = config.do_layer_norm_before
    mid: HookPoint = ResidMid(f"{p}.final_layer_norm", p, flat=True)
    return {
        **separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "out_proj", config),
        "resid_mid": mid if before else Output(f"{p}.self_attn_layer_norm"),
        "attn.out": Output(f"{p}.self_attn"),
        **plain(f"{p}.fc1", f"{p}.fc2", flat=True),
        "mlp.out": Output(f"{p}.fc2", flat=True),
    }


GATED = Matrices(
    "mlp.up_proj",
    "mlp.down_proj",
    "mlp.gate_proj",
    "mlp.act_fn",
    norm=("post_attention_layernorm",),
)
EITHER = ("post_attention_layernorm", "input_layernorm")
GEMMA_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")

DECODERS = (
    Architecture(
        "Llama-like",
        ("llama", "qwen2", "qwen3", "mistral", "smollm3", "gemma", "olmo"),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=llama,
        matrices=GATED,
    ),
    Architecture(
        "Gemma",
        ("gemma2", "gemma3_text"),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_gemma,
        matrices=replace(GATED, norm=("pre_feedforward_layernorm",)),
        norms=GEMMA_NORMS,
    ),
    Architecture(
        "OLMo-2",
        ("olmo2", "olmo3"),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_olmo2,
        matrices=replace(GATED, norm=()),
        norms=GEMMA_NORMS,
    ),
    Architecture(
        "Granite",
        ("granite",),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_granite,
        matrices=GATED,
        residual_scale="residual_multiplier",
        logit_scale="/logits_scaling",
    ),
    Architecture(
        "StableLM",
        ("stablelm",),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_stablelm,
        matrices=replace(GATED, norm=EITHER),
        parallel=True,
    ),
    Architecture(
        "Cohere",
        ("cohere", "cohere2"),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_cohere,
        matrices=replace(GATED, norm=("input_layernorm",)),
        parallel=True,
        logit_scale="logit_scale",
    ),
    Architecture(
        "Phi",
        ("phi",),
        blocks="layers",
        embed="embed_tokens",
        final_norm="final_layernorm",
        block=_phi,
        matrices=Matrices(
            "mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm=("input_layernorm",)
        ),
        parallel=True,
    ),
    Architecture(
        "Phi-3",
        ("phi3",),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_phi3,
        matrices=replace(
            GATED, read="mlp.gate_up_proj", gate="mlp.gate_up_proj", activation="mlp.activation_fn"
        ),
    ),
    Architecture(
        "StarCoder-2",
        ("starcoder2",),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_starcoder2,
        matrices=Matrices(
            "mlp.c_fc", "mlp.c_proj", activation="mlp.act", norm=("post_attention_layernorm",)
        ),
    ),
    Architecture(
        "OPT",
        ("opt",),
        blocks="decoder.layers",
        embed="decoder.embed_tokens",
        final_norm="decoder.final_layer_norm",
        block=_opt,
        matrices=Matrices("fc1", "fc2", activation="activation_fn", norm=("final_layer_norm",)),
    ),
)
