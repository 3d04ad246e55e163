"""Encoders of text: where the names lie in their blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import fused, gated, plain, separate, stream
from nissl.network.sites.attention import Pattern, Rotated
from nissl.network.sites.hook_points import FusedPart, Heads, Input, Output, ResidMid

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["ENCODERS"]


def _bert(p: str, config: Any) -> dict[str, HookPoint]:
    a, n = f"{p}.attention", config.num_attention_heads
    return {
        **stream(p),
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
        **plain(f"{p}.intermediate.dense", f"{p}.output.dense"),
        "mlp.out": Output(f"{p}.output.dense"),
    }


def _mpnet(p: str, config: Any) -> dict[str, HookPoint]:
    a, n = f"{p}.attention", config.num_attention_heads
    return {
        **stream(p),
        "attn.q": Output(f"{a}.attn.q"),
        "attn.k": Output(f"{a}.attn.k"),
        "attn.v": Output(f"{a}.attn.v"),
        "attn.z": Input(f"{a}.attn.o"),
        "attn.heads": Heads(f"{a}.attn.o", n),
        "attn.out": Output(f"{a}.attn.o"),
        "resid_mid": Output(f"{a}.LayerNorm"),
        **plain(f"{p}.intermediate.dense", f"{p}.output.dense"),
        "mlp.out": Output(f"{p}.output.dense"),
    }


def _esm(p: str, config: Any) -> dict[str, HookPoint]:
    return {**_bert(p, config), "resid_mid": ResidMid(f"{p}.LayerNorm", p)}


def _deberta(p: str, config: Any) -> dict[str, HookPoint]:
    a = f"{p}.attention.self"
    by_name = ("attn.q_rot", "attn.k_rot", "attn.pattern")
    return {
        **{name: point for name, point in _bert(p, config).items() if name not in by_name},
        "attn.q": Output(f"{a}.query_proj"),
        "attn.k": Output(f"{a}.key_proj"),
        "attn.v": Output(f"{a}.value_proj"),
    }


def _distilbert(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "attention", ("q_lin", "k_lin", "v_lin"), "out_lin", config),
        "attn.out": Output(f"{p}.attention"),
        "resid_mid": Output(f"{p}.sa_layer_norm"),
        **plain(f"{p}.ffn.lin1", f"{p}.ffn.lin2"),
        "mlp.out": Output(f"{p}.ffn"),
    }


def _nomic(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **separate(p, "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj", config),
        "attn.out": Output(f"{p}.self_attn"),
        "resid_mid": Output(f"{p}.post_attention_layernorm"),
        **gated(f"{p}.mlp"),
        "mlp.out": Output(f"{p}.mlp"),
    }


def _modernbert(p: str, config: Any) -> dict[str, HookPoint]:
    return {
        **fused(p, "attn", "Wqkv", "Wo", config),
        "attn.out": Output(f"{p}.attn"),
        "resid_mid": ResidMid(f"{p}.mlp_norm", p),
        "mlp.gate": FusedPart(f"{p}.mlp.Wi", 0, of=2),
        "mlp.up": FusedPart(f"{p}.mlp.Wi", 1, of=2),
        "mlp.neurons": Input(f"{p}.mlp.Wo"),
        "mlp.out": Output(f"{p}.mlp"),
    }


BERT = Matrices("intermediate.dense", "output.dense", activation="intermediate.intermediate_act_fn")

ENCODERS = (
    Architecture(
        "BERT",
        ("bert", "roberta", "xlm-roberta", "camembert", "data2vec-text", "ernie", "electra"),
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
        "ESM",
        ("esm",),
        blocks="encoder.layer",
        embed="embeddings",
        final_norm="encoder.emb_layer_norm_after",
        block=_esm,
        matrices=replace(BERT, activation="", norm=("LayerNorm",)),
    ),
    Architecture(
        "DeBERTa-v2",
        ("deberta-v2",),
        blocks="encoder.layer",
        embed="embeddings",
        final_norm=None,
        block=_deberta,
        matrices=BERT,
        post_norm=True,
    ),
    Architecture(
        "DistilBERT",
        ("distilbert",),
        blocks="transformer.layer",
        embed="embeddings",
        final_norm=None,
        block=_distilbert,
        matrices=Matrices("ffn.lin1", "ffn.lin2", activation="ffn.activation"),
        post_norm=True,
    ),
    Architecture(
        "NomicBERT",
        ("nomic_bert",),
        blocks="layers",
        embed="embeddings",
        final_norm=None,
        block=_nomic,
        matrices=Matrices(
            "mlp.up_proj", "mlp.down_proj", gate="mlp.gate_proj", activation="mlp.act_fn"
        ),
        post_norm=True,
    ),
    Architecture(
        "ModernBERT",
        ("modernbert",),
        blocks="layers",
        embed="embeddings",
        final_norm="final_norm",
        block=_modernbert,
        matrices=Matrices(
            "mlp.Wi", "mlp.Wo", gate="mlp.Wi", activation="mlp.act", norm=("mlp_norm",)
        ),
    ),
)
