"""Where the field's names for sites lie in each architecture.

One function an architecture: it is given the path of a block and the model's configuration, and
says which module, and which side of it, each name means. ``docs/sites.md`` is made from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nissl.network.sites.attention import Pattern, Rotated
from nissl.network.sites.experts import Expert
from nissl.network.sites.hook_points import FusedPart, Heads, Input, Output, ResidMid

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.hook_points import HookPoint

__all__ = ["ARCHITECTURES", "Architecture", "Matrices", "architecture_of"]


@dataclass(frozen=True)
class Matrices:
    """Modules whose weights belong to the neurons of an MLP, as paths inside a block.

    Parameters
    ----------
    read : str
        What neurons read from the residual stream (``up`` in a gated MLP).
    write : str
        What neurons write into it.
    gate : str, optional
        The gate's, in a gated MLP.
    activation : str
        The module of the nonlinearity.
    norm : str, optional
        The norm through which neurons see the stream, where there is one.
    """

    read: str
    write: str
    gate: str | None = None
    activation: str | None = None
    norm: str | None = None


@dataclass(frozen=True)
class Architecture:
    """One family of models.

    Parameters
    ----------
    name : str
        The family's name.
    model_types : tuple of str
        Values of ``config.model_type`` that belong to it.
    blocks : str
        Path of the list of blocks in the model's body.
    embed, final_norm : str
        Paths in the body.
    block : callable
        ``block(path, config)`` gives the hook points of one block by the field's names.
    matrices : Matrices or None
        Weights of the MLP's neurons; None for mixtures of experts.
    norms : tuple of (str or None, str or None)
        Norms inside a block through which attention and MLP outputs pass on their way into the
        residual stream.
    post_norm : bool
        The stream itself is normed after each addition (BERT): ``resid_mid`` is
        norm(resid_pre + attn.out), and ``resid_post`` likewise.
    parallel : bool
        Attention and MLP read the same stream, so there is no ``resid_mid`` (GPT-NeoX).
    positions : bool
        The model takes ``position_ids``, so that padding on the left can be told to it.
    """

    name: str
    model_types: tuple[str, ...]
    blocks: str
    embed: str
    final_norm: str | None
    block: Callable[[str, Any], Mapping[str, HookPoint]]
    matrices: Matrices | None
    norms: tuple[str | None, str | None] = (None, None)
    post_norm: bool = False
    parallel: bool = False
    positions: bool = True


def _llama(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **_separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.self_attn"),
        **_gated(f"{p}.mlp"),
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
        **_fused(p, "attn", "c_attn", "c_proj", config, transposed=True),
        "resid_mid": ResidMid(f"{p}.ln_2", p),
        "attn.out": Output(f"{p}.attn"),
        **_plain(f"{p}.mlp.c_fc", f"{p}.mlp.c_proj"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _gpt_neox(p: str, config: Any) -> dict[str, HookPoint]:
    points: dict[str, HookPoint] = {
        **_fused(p, "attention", "query_key_value", "dense", config, interleaved=True),
        "resid_mid": ResidMid(f"{p}.post_attention_layernorm", p),
        "attn.out": Output(f"{p}.attention"),
        **_plain(f"{p}.mlp.dense_h_to_4h", f"{p}.mlp.dense_4h_to_h"),
        "mlp.out": Output(f"{p}.mlp"),
    }
    if config.use_parallel_residual:
        del points["resid_mid"]
    return points


def _opt(p: str, config: Any) -> dict[str, HookPoint]:
    before = config.do_layer_norm_before
    mid: HookPoint = ResidMid(f"{p}.final_layer_norm", p, flat=True)
    return {
        **_separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "out_proj", config),
        "resid_mid": mid if before else Output(f"{p}.self_attn_layer_norm"),
        "attn.out": Output(f"{p}.self_attn"),
        **_plain(f"{p}.fc1", f"{p}.fc2", flat=True),
        "mlp.out": Output(f"{p}.fc2", flat=True),
    }


def _bert(p: str, config: Any) -> dict[str, HookPoint]:
    a, n = f"{p}.attention", config.num_attention_heads
    return {
        **_stream(p),
        "attn.q": Output(f"{a}.self.query"),
        "attn.k": Output(f"{a}.self.key"),
        "attn.v": Output(f"{a}.self.value"),
        "attn.q_rot": Rotated(f"{a}.self", "query"),
        "attn.k_rot": Rotated(f"{a}.self", "key"),
        "attn.pattern": Pattern(f"{a}.self"),
        "attn.z": Input(f"{a}.output.dense"),
        "attn.heads": Heads(f"{a}.output.dense", n),
        "attn.out": Output(f"{a}.output.dense"),
        "resid_mid": Output(f"{a}.output"),
        **_plain(f"{p}.intermediate.dense", f"{p}.output.dense"),
        "mlp.out": Output(f"{p}.output.dense"),
    }


def _mpnet(p: str, config: Any) -> dict[str, HookPoint]:
    a, n = f"{p}.attention", config.num_attention_heads
    return {
        **_stream(p),
        "attn.q": Output(f"{a}.attn.q"),
        "attn.k": Output(f"{a}.attn.k"),
        "attn.v": Output(f"{a}.attn.v"),
        "attn.z": Input(f"{a}.attn.o"),
        "attn.heads": Heads(f"{a}.attn.o", n),
        "attn.out": Output(f"{a}.attn.o"),
        "resid_mid": Output(f"{a}.LayerNorm"),
        **_plain(f"{p}.intermediate.dense", f"{p}.output.dense"),
        "mlp.out": Output(f"{p}.output.dense"),
    }


def _vit(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **_separate(p, "attention", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "resid_mid": ResidMid(f"{p}.layernorm_after", p),
        "attn.out": Output(f"{p}.attention"),
        **_plain(f"{p}.mlp.fc1", f"{p}.mlp.fc2"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _stream(p: str) -> dict[str, HookPoint]:
    return {"resid_pre": Input(p), "resid_post": Output(p)}


def _separate(
    p: str, attention: str, qkv: tuple[str, str, str], out: str, config: Any
) -> dict[str, HookPoint]:
    a = f"{p}.{attention}"
    return {
        **_stream(p),
        "attn.q": Output(f"{a}.{qkv[0]}"),
        "attn.k": Output(f"{a}.{qkv[1]}"),
        "attn.v": Output(f"{a}.{qkv[2]}"),
        **_scores(a, out, config),
    }


def _fused(
    p: str,
    attention: str,
    qkv: str,
    out: str,
    config: Any,
    *,
    interleaved: bool = False,
    transposed: bool = False,
) -> dict[str, HookPoint]:
    a = f"{p}.{attention}"
    heads = config.num_attention_heads if interleaved else None
    parts = {f"attn.{n}": FusedPart(f"{a}.{qkv}", i, n_heads=heads) for i, n in enumerate("qkv")}
    return {**_stream(p), **parts, **_scores(a, out, config, transposed=transposed)}


def _scores(a: str, out: str, config: Any, *, transposed: bool = False) -> dict[str, HookPoint]:
    return {
        "attn.q_rot": Rotated(a, "query"),
        "attn.k_rot": Rotated(a, "key"),
        "attn.pattern": Pattern(a),
        "attn.z": Input(f"{a}.{out}"),
        "attn.heads": Heads(f"{a}.{out}", config.num_attention_heads, transposed=transposed),
    }


def _gated(mlp: str) -> dict[str, HookPoint]:
    return {
        "mlp.gate": Output(f"{mlp}.gate_proj"),
        "mlp.up": Output(f"{mlp}.up_proj"),
        "mlp.neurons": Input(f"{mlp}.down_proj"),
    }


def _plain(up: str, down: str, *, flat: bool = False) -> dict[str, HookPoint]:
    return {"mlp.up": Output(up, flat=flat), "mlp.neurons": Input(down, flat=flat)}


GATED = Matrices(
    "mlp.up_proj", "mlp.down_proj", "mlp.gate_proj", "mlp.act_fn", norm="post_attention_layernorm"
)
BERT = Matrices("intermediate.dense", "output.dense", activation="intermediate.intermediate_act_fn")
GEMMA_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")

ARCHITECTURES = (
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
    Architecture(
        "BERT",
        ("bert", "roberta"),
        blocks="encoder.layer",
        embed="embeddings",
        final_norm=None,
        block=_bert,
        matrices=BERT,
        post_norm=True,
    ),
    Architecture(
        "MPNet",
        ("mpnet",),
        blocks="encoder.layer",
        embed="embeddings",
        final_norm=None,
        block=_mpnet,
        matrices=BERT,
        post_norm=True,
        positions=False,
    ),
    Architecture(
        "ViT",
        ("vit",),
        blocks="layers",
        embed="embeddings",
        final_norm="layernorm",
        block=_vit,
        matrices=Matrices(
            "mlp.fc1", "mlp.fc2", activation="mlp.activation_fn", norm="layernorm_after"
        ),
        positions=False,
    ),
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
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    return next((a for a in ARCHITECTURES if model_type in a.model_types), None)
