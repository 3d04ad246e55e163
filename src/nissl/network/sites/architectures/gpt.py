"""Decoders after GPT-2, most with one projection for queries, keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import (
    fused,
    grouped_sizes,
    n_key_heads,
    plain,
    separate,
)
from nissl.network.sites.hook_points import Output, ResidMid

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["GPT"]


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
        **fused(
            p, "attention", "query_key_value", "dense", config, groups=config.num_attention_heads
        ),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.attention"),
        **plain(f"{p}.mlp.dense_h_to_4h", f"{p}.mlp.dense_4h_to_h"),
        "mlp.out": Output(f"{p}.mlp"),
    }
    if config.use_parallel_residual:
        del points["resid_mid"]
    return points


def _gpt_bigcode(p: str, config: Any) -> dict[str, HookPoint]:
    many = not config.multi_query
    layout: dict[str, Any] = {"sizes": grouped_sizes(config)}
    if many:
        layout = {"groups": config.num_attention_heads}
    return {
        **fused(p, "attn", "c_attn", "c_proj", config, **layout),
        "resid_mid": ResidMid(f"{p}.ln_2", p),
        "attn.out": Output(f"{p}.attn"),
        **plain(f"{p}.mlp.c_fc", f"{p}.mlp.c_proj"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _gptj(p: str, config: Any) -> dict[str, HookPoint]:
    qkv = ("q_proj", "k_proj", "v_proj")
    return {
        **separate(p, "attn", qkv, "out_proj", config, by_name=False),
        "attn.out": Output(f"{p}.attn"),
        **plain(f"{p}.mlp.fc_in", f"{p}.mlp.fc_out"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _bloom(p: str, config: Any) -> dict[str, HookPoint]:
    a, n = "self_attention", config.num_attention_heads
    # Attention and MLP add the stream to what they give: their last matrices do not.
    return {
        **fused(p, a, "query_key_value", "dense", config, groups=n, by_name=False),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.{a}.dense"),
        **plain(f"{p}.mlp.dense_h_to_4h", f"{p}.mlp.dense_4h_to_h"),
        "mlp.out": Output(f"{p}.mlp.dense_4h_to_h"),
    }


def _mpt(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **fused(p, "attn", "Wqkv", "out_proj", config, by_name=False),
        "resid_mid": ResidMid(f"{p}.norm_2", p),
        "attn.out": Output(f"{p}.attn"),
        **plain(f"{p}.ffn.up_proj", f"{p}.ffn.down_proj"),
        "mlp.out": Output(f"{p}.ffn.down_proj"),
    }


def _falcon(p: str, config: Any) -> dict[str, HookPoint]:
    a, n, new = "self_attention", config.num_attention_heads, config.new_decoder_architecture
    d, kv = config.hidden_size // n, n_key_heads(config)
    layout: dict[str, Any] = {"groups": n}  # (head, part, unit)
    if new:  # (head of keys, its queries and they, unit)
        layout = {"groups": kv, "sizes": (n // kv * d, d, d)}
    elif config.multi_query:
        layout = {"sizes": grouped_sizes(config)}
    points: dict[str, HookPoint] = {
        **fused(p, a, "query_key_value", "dense", config, by_name=False, **layout),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.{a}"),
        **plain(f"{p}.mlp.dense_h_to_4h", f"{p}.mlp.dense_4h_to_h"),
        "mlp.out": Output(f"{p}.mlp"),
    }
    if new or config.parallel_attn:
        del points["resid_mid"]
    return points


GPT = (
    Architecture(
        "GPT-2",
        ("gpt2",),
        blocks="h",
        embed="wte",
        final_norm="ln_f",
        block=_gpt2,
        matrices=Matrices("mlp.c_fc", "mlp.c_proj", activation="mlp.act", norm=("ln_2",)),
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
            norm=("post_attention_layernorm",),
        ),
        parallel=True,
    ),
    Architecture(
        "GPT-BigCode",
        ("gpt_bigcode",),
        blocks="h",
        embed="wte",
        final_norm="ln_f",
        block=_gpt_bigcode,
        matrices=Matrices("mlp.c_fc", "mlp.c_proj", activation="mlp.act", norm=("ln_2",)),
        grows=False,
    ),
    Architecture(
        "GPT-J",
        ("gptj",),
        blocks="h",
        embed="wte",
        final_norm="ln_f",
        block=_gptj,
        matrices=Matrices("mlp.fc_in", "mlp.fc_out", activation="mlp.act", norm=("ln_1",)),
        parallel=True,
    ),
    Architecture(
        "BLOOM",
        ("bloom",),
        blocks="h",
        embed="word_embeddings_layernorm",
        final_norm="ln_f",
        block=_bloom,
        matrices=Matrices(
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
            activation="mlp.gelu_impl",
            norm=("post_attention_layernorm",),
        ),
        positions=False,
    ),
    Architecture(
        "MPT",
        ("mpt",),
        blocks="blocks",
        embed="wte",
        final_norm="norm_f",
        block=_mpt,
        matrices=Matrices("ffn.up_proj", "ffn.down_proj", activation="ffn.act", norm=("norm_2",)),
        positions=False,
    ),
    Architecture(
        "Falcon",
        ("falcon",),
        blocks="h",
        embed="word_embeddings",
        final_norm="ln_f",
        block=_falcon,
        matrices=Matrices(
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
            activation="mlp.act",
            norm=("ln_mlp", "post_attention_layernorm", "input_layernorm"),
        ),
        parallel=True,
    ),
)
