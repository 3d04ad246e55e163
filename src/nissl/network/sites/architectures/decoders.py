"""Decoders of text: one function an architecture says where the names lie in its blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import fused, gated, plain, separate
from nissl.network.sites.experts import Expert
from nissl.network.sites.hook_points import Heads, Output, ResidMid

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["DECODERS"]


def _llama(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.self_attn"),
        **gated(f"{p}.mlp"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _gemma(p: str, config: Any) -> dict[str, HookPoint]:
    after = f"{p}.post_attention_layernorm"
    return {
        **_llama(p, config),
        "resid_mid": ResidMid(f"{p}.pre_feedforward_layernorm", p),
        "attn.heads": Heads(f"{p}.self_attn.o_proj", config.num_attention_heads, post_norm=after),
        "attn.out": Output(after),
        "mlp.out": Output(f"{p}.post_feedforward_layernorm"),
    }


def _mixtral(p: str, config: Any) -> dict[str, HookPoint]:
    dense = ("mlp.gate", "mlp.up", "mlp.neurons")
    experts = {
        f"moe.experts[{e}].neurons": Expert(f"{p}.mlp.experts", e)
        for e in range(config.num_local_experts)
    }
    return {
        **{name: point for name, point in _llama(p, config).items() if name not in dense},
        "moe.router": Output(f"{p}.mlp.gate", 0, flat=True),
        **experts,
    }


def _gpt2(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **fused(p, "attn", "c_attn", "c_proj", config, transposed=True),
        "resid_mid": ResidMid(f"{p}.ln_2", p),
        "attn.out": Output(f"{p}.attn"),
        **plain(f"{p}.mlp.c_fc", f"{p}.mlp.c_proj"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _gpt_neox(p: str, config: Any) -> dict[str, HookPoint]:
    points: dict[str, HookPoint] = {
        **fused(p, "attention", "query_key_value", "dense", config, interleaved=True),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.attention"),
        **plain(f"{p}.mlp.dense_h_to_4h", f"{p}.mlp.dense_4h_to_h"),
        "mlp.out": Output(f"{p}.mlp"),
    }
    if config.use_parallel_residual:
        del points["resid_mid"]
    return points


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
    "mlp.up_proj", "mlp.down_proj", "mlp.gate_proj", "mlp.act_fn", norm="post_attention_layernorm"
)
GEMMA_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")

DECODERS = (
    Architecture(
        "Llama-like",
        ("llama", "qwen2", "qwen3", "mistral", "smollm3"),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_llama,
        matrices=GATED,
    ),
    Architecture(
        "Gemma",
        ("gemma2", "gemma3_text"),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_gemma,
        matrices=replace(GATED, norm="pre_feedforward_layernorm"),
        norms=GEMMA_NORMS,
    ),
    Architecture(
        "Mixtral-like",
        ("mixtral",),
        blocks="layers",
        embed="embed_tokens",
        final_norm="norm",
        block=_mixtral,
        matrices=None,
    ),
    Architecture(
        "GPT-2",
        ("gpt2",),
        blocks="h",
        embed="wte",
        final_norm="ln_f",
        block=_gpt2,
        matrices=Matrices("mlp.c_fc", "mlp.c_proj", activation="mlp.act", norm="ln_2"),
    ),
    Architecture(
        "GPT-NeoX",
        ("gpt_neox",),
        blocks="layers",
        embed="embed_in",
        final_norm="final_layer_norm",
        block=_gpt_neox,
        matrices=Matrices(
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
            activation="mlp.act",
            norm="post_attention_layernorm",
        ),
        parallel=True,
    ),
    Architecture(
        "OPT",
        ("opt",),
        blocks="decoder.layers",
        embed="decoder.embed_tokens",
        final_norm="decoder.final_layer_norm",
        block=_opt,
        matrices=Matrices("fc1", "fc2", activation="activation_fn", norm="final_layer_norm"),
    ),
)
