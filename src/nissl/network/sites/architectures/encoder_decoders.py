"""Encoder-decoders: where the names lie in the blocks of either stack."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import cross, plain, separate
from nissl.network.sites.hook_points import Input, Output, ResidMid

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["ENCODER_DECODERS"]

QKV = ("q_proj", "k_proj", "v_proj")


def _t5(p: str, config: Any, *, mlp: str = "layer.1") -> dict[str, HookPoint]:
    m = f"{p}.{mlp}.DenseReluDense"
    gate: dict[str, HookPoint] = {"mlp.gate": Output(f"{m}.wi_0"), "mlp.up": Output(f"{m}.wi_1")}
    return {
        **separate(p, "layer.0.SelfAttention", ("q", "k", "v"), "o", config),
        "attn.out": Output(f"{p}.layer.0.SelfAttention"),
        "resid_mid": Output(f"{p}.layer.0"),
        **(gate if config.is_gated_act else {"mlp.up": Output(f"{m}.wi")}),
        "mlp.neurons": Input(f"{m}.wo"),
        "mlp.out": Output(m),
    }


def _t5_decoder(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **_t5(p, config, mlp="layer.2"),
        **cross(f"{p}.layer.1.EncDecAttention", ("q", "k", "v"), "o", config),
        "resid_cross": Output(f"{p}.layer.1"),
    }


def _bart(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "self_attn", QKV, "out_proj", config),
        "attn.out": Output(f"{p}.self_attn"),
        "resid_mid": Output(f"{p}.self_attn_layer_norm"),
        **plain(f"{p}.fc1", f"{p}.fc2"),
        "mlp.out": Output(f"{p}.fc2"),
    }


def _bart_decoder(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **_bart(p, config),
        **cross(f"{p}.encoder_attn", QKV, "out_proj", config),
        "resid_cross": Output(f"{p}.encoder_attn_layer_norm"),
    }


def _mbart(p: str, config: Any) -> dict[str, HookPoint]:
    return {**_bart(p, config), "resid_mid": ResidMid(f"{p}.final_layer_norm", p)}


def _mbart_decoder(p: str, config: Any) -> dict[str, HookPoint]:
    last = f"{p}.final_layer_norm"
    return {
        **_bart_decoder(p, config),
        "resid_mid": ResidMid(f"{p}.encoder_attn_layer_norm", p, later=(last,)),
        "resid_cross": ResidMid(last, p),
    }


def _dense(layer: int, *, gated: bool) -> Matrices:
    m = f"layer.{layer}.DenseReluDense"
    return Matrices(
        f"{m}.wi_1" if gated else f"{m}.wi",
        f"{m}.wo",
        gate=f"{m}.wi_0" if gated else None,
        activation=f"{m}.act",
        norm=(f"layer.{layer}.layer_norm",),
    )


T5 = Architecture(
    "T5",
    ("t5", "mt5", "umt5"),
    blocks="encoder.block",
    embed="encoder.embed_tokens",
    final_norm="encoder.final_layer_norm",
    block=_t5,
    matrices=_dense(1, gated=False),
    positions=False,
    stack="encoder",
    then=Architecture(
        "T5",
        (),
        blocks="decoder.block",
        embed="decoder.embed_tokens",
        final_norm="decoder.final_layer_norm",
        block=_t5_decoder,
        matrices=_dense(2, gated=False),
        stack="decoder",
    ),
)
BART = Architecture(
    "BART",
    ("bart",),
    blocks="encoder.layers",
    embed="encoder.layernorm_embedding",
    final_norm=None,
    block=_bart,
    matrices=Matrices("fc1", "fc2", activation="activation_fn"),
    post_norm=True,
    stack="encoder",
    then=Architecture(
        "BART",
        (),
        blocks="decoder.layers",
        embed="decoder.layernorm_embedding",
        final_norm=None,
        block=_bart_decoder,
        matrices=Matrices("fc1", "fc2", activation="activation_fn"),
        post_norm=True,
        stack="decoder",
    ),
)


def _with(architecture: Architecture, decoder: dict[str, Any], **both: Any) -> Architecture:
    """Return an encoder-decoder that differs from another in some of both stacks."""
    then = architecture.then
    assert then is not None
    return replace(architecture, **both, then=replace(then, **(both | decoder)))


MBART = _with(
    BART,
    {"block": _mbart_decoder, "final_norm": "decoder.layer_norm"},
    name="mBART",
    block=_mbart,
    final_norm="encoder.layer_norm",
    matrices=Matrices("fc1", "fc2", activation="activation_fn", norm=("final_layer_norm",)),
    post_norm=False,
)
MBART = replace(MBART, model_types=("mbart",))

ENCODER_DECODERS = (
    replace(
        _with(T5, {"matrices": _dense(2, gated=True)}, matrices=_dense(1, gated=True)),
        name="T5, gated",
        flag="is_gated_act",
    ),
    T5,
    BART,
    replace(_with(BART, {}, name="Marian", embed=None), model_types=("marian",)),
    MBART,
    replace(_with(MBART, {}, name="Pegasus", embed=None), model_types=("pegasus",)),
    replace(_with(MBART, {}, name="Whisper", embed=None), model_types=("whisper",)),
)
