"""Hook points that architectures share: the stream, attention and MLP of one block.

Each function is given the path of a block or of its part, and says which module, and which side of
it, each name means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.network.sites.attention import Pattern, Rotated
from nissl.network.sites.experts import Expert, Router
from nissl.network.sites.hook_points import FusedPart, Heads, Input, Output

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = [
    "cross",
    "expert_width",
    "fused",
    "gated",
    "grouped_sizes",
    "mixture",
    "n_experts",
    "plain",
    "scores",
    "separate",
    "stream",
]


def stream(p: str) -> dict[str, HookPoint]:
    """Return the residual stream before and after a block."""
    return {"resid_pre": Input(p), "resid_post": Output(p)}


def separate(
    p: str,
    attention: str,
    qkv: tuple[str, str, str],
    out: str,
    config: Any,
    *,
    by_name: bool = True,
) -> dict[str, HookPoint]:
    """Return the stream and an attention with one projection each for queries, keys and values."""
    a = f"{p}.{attention}"
    return {
        **stream(p),
        "attn.q": Output(f"{a}.{qkv[0]}"),
        "attn.k": Output(f"{a}.{qkv[1]}"),
        "attn.v": Output(f"{a}.{qkv[2]}"),
        **scores(a, out, config, by_name=by_name),
    }


def fused(
    p: str,
    attention: str,
    qkv: str,
    out: str,
    config: Any,
    *,
    groups: int | None = None,
    sizes: tuple[int, ...] | None = None,
    transposed: bool = False,
    by_name: bool = True,
) -> dict[str, HookPoint]:
    """Return the stream and an attention that projects queries, keys and values at once."""
    a = f"{p}.{attention}"
    parts = {
        f"attn.{name}": FusedPart(f"{a}.{qkv}", i, n_heads=groups, sizes=sizes)
        for i, name in enumerate("qkv")
    }
    between = scores(a, out, config, transposed=transposed, by_name=by_name)
    return {**stream(p), **parts, **between}


def grouped_sizes(config: Any) -> tuple[int, int, int]:
    """Return how many units queries, keys and values have where heads share keys."""
    n, kv = config.num_attention_heads, n_key_heads(config)
    d = getattr(config, "head_dim", None) or config.hidden_size // n
    return n * d, kv * d, kv * d


def n_key_heads(config: Any) -> int:
    """Return how many heads of keys and values there are."""
    if getattr(config, "new_decoder_architecture", False):  # Falcon
        return int(config.num_kv_heads)
    if hasattr(config, "multi_query"):
        return 1 if config.multi_query else int(config.num_attention_heads)
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def scores(
    a: str, out: str, config: Any, *, transposed: bool = False, by_name: bool = True
) -> dict[str, HookPoint]:
    """Return what lies between the projections and the output matrix of an attention."""
    seen: dict[str, HookPoint] = {
        "attn.q_rot": Rotated(a, "query"),
        "attn.k_rot": Rotated(a, "key"),
        "attn.pattern": Pattern(a),
    }
    return {
        # Reached where the attention function is chosen by name.
        **(seen if by_name else {}),
        "attn.z": Input(f"{a}.{out}"),
        "attn.heads": Heads(f"{a}.{out}", config.num_attention_heads, transposed=transposed),
    }


def cross(a: str, qkv: tuple[str, str, str], out: str, config: Any) -> dict[str, HookPoint]:
    """Return an attention of a decoder that reads what its encoder made."""
    read = ("attn.pattern", "attn.z", "attn.heads")
    given = scores(a, out, config)
    return {
        **{f"cross.{name}": Output(f"{a}.{path}") for name, path in zip("qkv", qkv, strict=True)},
        **{name.replace("attn", "cross"): given[name] for name in read},
        "cross.out": Output(a),
    }


def gated(mlp: str) -> dict[str, HookPoint]:
    """Return the gate, the gated and the neurons of a gated MLP."""
    return {
        "mlp.gate": Output(f"{mlp}.gate_proj"),
        "mlp.up": Output(f"{mlp}.up_proj"),
        "mlp.neurons": Input(f"{mlp}.down_proj"),
    }


def plain(up: str, down: str, *, flat: bool = False) -> dict[str, HookPoint]:
    """Return the neurons of an MLP of two matrices, before and after the nonlinearity."""
    return {"mlp.up": Output(up, flat=flat), "mlp.neurons": Input(down, flat=flat)}


def mixture(mlp: str, config: Any, *, router: str = "gate") -> dict[str, HookPoint]:
    """Return the router of a mixture of experts and the neurons of each."""
    experts = {
        f"moe.experts[{e}].neurons": Expert(f"{mlp}.experts", e) for e in range(n_experts(config))
    }
    return {"moe.router": Router(f"{mlp}.{router}"), **experts}


def n_experts(config: Any) -> int:
    """Return among how many experts a router chooses."""
    return int(getattr(config, "num_local_experts", None) or config.num_experts)


def expert_width(config: Any, *, shared: bool = False) -> int:
    """Return how many neurons an expert has, or those together that every token calls."""
    each = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    whole = getattr(config, "shared_expert_intermediate_size", None)
    n_shared = getattr(config, "n_shared_experts", None) or 1
    return int(whole or each * n_shared) if shared else int(each)
