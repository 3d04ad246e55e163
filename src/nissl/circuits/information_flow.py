"""Information flow routes: from one prediction down to the tokens, found in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nissl.behaviour.routes import RESIDUAL, Routes
from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.run.windows import single_windows
from nissl.network.sites.hook_points import frozen_gain, module_at
from nissl.network.sites.linear_map import matrix_of

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network import Network

__all__ = ["information_flow"]


@method(system=271)
def information_flow(
    net: Network, inputs: Any, *, position: int = -1, threshold: float = 0.04
) -> Routes:
    r"""Find the routes by which information came to one prediction.

    From the stream at a position after the last block downwards, edges are followed whose share in
    the sum that they enter is not below a threshold: heads from each position, the MLP, and what
    the stream carries on.

    Parameters
    ----------
    net : Network
        A decoder, or another network of blocks that attend. Edits of patterns, values, the stream
        and what is added to it are seen.
    inputs : text or token ids
        One text.
    position : int
        The token after which the prediction is made; counted from the end where negative.
    threshold : float
        The least share; 0 keeps every edge that reaches the prediction at all.

    Returns
    -------
    Routes
        Table, graph and picture.

    Raises
    ------
    NisslError
        There are several texts, no such position, or a block's attention cannot be taken apart.

    Notes
    -----
    A part z is near its sum y by max(\|y\| - \|y - z\|, 0) with the L1 norm; its share is that over
    the same of all parts. Where no part is near, all share alike. The bias of the output projection
    is no part. Where attention and MLP read the same stream, all parts enter one sum.

    Source: Ferrando and Voita 2024, section 2; the measure is that of ALTI (Ferrando et al. 2022).

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> routes = information_flow(Network(LlamaForCausalLM(config)), [5, 6, 7], threshold=0)
    >>> shares = routes.table.groupby(["end", "end_position"])["contribution"].sum()
    >>> bool((shares - 1).abs().max() < 1e-5)
    True
    """
    import pandas as pd

    if not 0 <= threshold < 1:
        raise NisslError(f"a share is from 0 to 1, not {threshold}")
    ids = single_windows(net, inputs).ids
    n = len(ids[0]) if len(ids) == 1 else 0
    if not -n <= position < n:
        raise NisslError(
            f"there are {len(ids)} texts, the first of {len(ids[0])} tokens",
            do=f"give one text, with a position {position}",
        )
    parts = [_parts(net, layer) for layer in range(net.n_layers)]
    sites = [site for part in parts for site in part.values()]
    seen = {name: x[0] for name, x in net.run([ids[0].tolist()], sites=sites).items()}
    active = {position % n}
    rows: list[tuple[Any, ...]] = []
    for layer in reversed(range(net.n_layers)):
        for one in _sums(net, {k: seen[site] for k, site in parts[layer].items()}, layer):
            edges = [edge for place in sorted(active) for edge in one.edges(place, threshold)]
            rows += [(*edge, layer) for edge in edges]
            active = {edge[1] for edge in edges}
    columns = ["begin", "begin_position", "end", "end_position", "unit", "contribution", "layer"]
    table = pd.DataFrame(rows, columns=columns)
    kinds = table["unit"].map(_kind)
    return Routes(table.assign(kind=kinds, share=table["contribution"]), net.tokens(ids[0]))


def _kind(unit: str) -> str:
    return unit if unit == RESIDUAL else "attention" if "[head" in unit else "MLP"


@dataclass(frozen=True)
class _Sum:
    """A sum in the stream: what goes on at its position, and heads at every position."""

    begin: str
    end: str
    whole: Tensor  # (position, d_model), as the parts are
    own: dict[str, Tensor]
    heads: str = ""
    pattern: Tensor | None = None  # (position, head, position read)
    values: Tensor | None = None  # (position, head, d_model): what is added where attention is one
    gain: Tensor | None = None  # (position, d_model): of a norm after attention

    def edges(self, place: int, threshold: float) -> list[tuple[str, int, str, int, str, float]]:
        """Return the edges into one position whose share is not below the threshold."""
        whole, units = self.whole[place], list(self.own)
        parts = [x[place] for x in self.own.values()]
        begins = [place] * len(parts)
        each = torch.stack(parts)
        if self.pattern is not None and self.values is not None:
            weights = self.pattern[place]
            head, source = weights.nonzero(as_tuple=True)
            added = weights[head, source, None] * self.values[source, head]
            added = added if self.gain is None else added * self.gain[place]
            each = torch.cat([each, added.to(each)])
            units += [f"{self.heads}[head {h}]" for h in head.tolist()]
            begins += source.tolist()
        near = (whole.abs().sum() - (whole - each).abs().sum(-1)).clamp_min(0)
        share = near / near.sum() if near.any() else torch.ones_like(near) / len(near)
        kept = (share >= threshold).nonzero().flatten().tolist()
        return [(self.begin, begins[k], self.end, place, units[k], float(share[k])) for k in kept]


def _parts(net: Network, layer: int) -> dict[str, str]:
    """Return the sites of a block that are read, by what they are."""
    block = f"blocks.{layer}"
    names = {"stream": "resid_pre", "mlp": "mlp.out"}
    names |= {name: f"attn.{name}" for name in ("out", "pattern", "v", "z")}
    sites = {part: f"{block}.{name}" for part, name in names.items()}
    norm = getattr(_heads(net, layer), "post_norm", None)
    return sites if norm is None else {**sites, "normed": f"{norm}:in"}


def _sums(net: Network, x: Mapping[str, Tensor], layer: int) -> Iterator[_Sum]:
    """Yield the sums of a block, the last first."""
    block = f"blocks.{layer}"
    before = f"blocks.{layer - 1}.resid_post" if layer else "embed"
    mid, last, mlp = f"{block}.resid_mid", f"{block}.resid_post", {f"{block}.mlp.out": x["mlp"]}
    attended, gain = x["stream"] + x["out"], None
    if "normed" in x:
        norm = module_at(net.model, _heads(net, layer).post_norm)
        gain = frozen_gain(norm, x["normed"]).detach()
    own = {RESIDUAL: x["stream"]}
    heads = f"{block}.attn.z", x["pattern"], _values(net, layer, x), gain
    if mid in net.named_sites:
        yield _Sum(mid, last, attended + x["mlp"], {RESIDUAL: attended, **mlp})
        yield _Sum(before, mid, attended, own, *heads)
    else:
        yield _Sum(before, last, attended + x["mlp"], own | mlp, *heads)


def _values(net: Network, layer: int, x: Mapping[str, Tensor]) -> Tensor:
    """Return what heads add for each position they read, shape (position, head, d_model)."""
    point, z = _heads(net, layer), x["z"]
    groups = x["v"].unflatten(-1, (net.named_sites[f"blocks.{layer}.attn.v"].heads or 1, -1))
    each = groups.repeat_interleave(point.n_heads // groups.shape[1], 1)
    read = torch.einsum("qhk,khi->qhi", x["pattern"].to(each), each).flatten(1)
    if not torch.allclose(read, z, rtol=1e-2, atol=1e-3 * float(z.abs().max())):
        raise NisslError(
            "what heads read is not their pattern times the values",
            where=f"blocks.{layer}.attn.z",
            do="leave edits of attn.z and attn.heads, and look before them",
        )
    matrix = matrix_of(module_at(net.model, point.path), z.shape[1], z, where=point.path)
    matrix = matrix.detach().unflatten(0, (point.n_heads, -1)) * point.scale
    return torch.einsum("nhi,hid->nhd", each, matrix)


def _heads(net: Network, layer: int) -> Any:
    """Return how the heads of a block are read."""
    return net.find(f"blocks.{layer}.attn.heads")[0].hook_point
