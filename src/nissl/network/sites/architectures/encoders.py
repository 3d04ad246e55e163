"""Encoders of text: where the names lie in their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.architectures.points import plain, stream
from nissl.network.sites.attention import Pattern, Rotated
from nissl.network.sites.hook_points import Heads, Input, Output

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


BERT = Matrices("intermediate.dense", "output.dense", activation="intermediate.intermediate_act_fn")

ENCODERS = (
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
)
