"""Copying by weights: whether what a head writes raises the logit of the token it attends to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.edits.edges import edges_of
from nissl.network.sites.linear_map import matrix_of
from nissl.network.sites.weights import folded_unembedding

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["ov_copying"]


@method(system=236)
def ov_copying(net: Network, *, n_tokens: int = 4096, seed: int = 0) -> pd.DataFrame:
    """Return how positive the eigenvalues are of each head's map from tokens to logits.

    Parameters
    ----------
    net : Network
        A decoder with an unembedding.
    n_tokens : int
        Of how many tokens, drawn at random.
    seed : int
        Of the draw.

    Returns
    -------
    DataFrame
        One row for each head: ``unit``, ``layer``, ``head``, ``copying`` (the sum of eigenvalues
        over the sum of their sizes, from -1 to 1: 1 where every token raises its own logit) and
        ``null``, the same with the logits of other tokens.

    Raises
    ------
    NisslError
        The network has no unembedding, or its heads are no linear maps.

    Notes
    -----
    Tokens are read as the embedding has them, so that this says most of early heads.
    Source: Elhage et al. 2021, A mathematical framework for transformer circuits.

    Examples
    --------
    >>> import nissl
    >>> found = ov_copying(nissl.load("planted-previous-token"))
    >>> found.loc[found["copying"] > 0.9, "unit"].tolist()
    ['blocks.1.attn.z[head 2]']
    """
    import pandas as pd

    unembedding, edges = folded_unembedding(net), edges_of(net)
    if unembedding is None:
        raise NisslError(f"{net.name} has no unembedding", do="give a language model")
    embed = net.model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    rng = np.random.default_rng(seed)
    tokens = torch.from_numpy(rng.permutation(len(embed))[:n_tokens])
    others = tokens[torch.from_numpy(rng.permutation(len(tokens)))]
    rows = []
    for layer in range(net.n_layers):
        reads, site = edges.attention_input(layer), net.find(f"blocks.{layer}.attn.z")[0]
        values, n_heads = reads.weights["v"], site.heads or 1
        values = values.repeat_interleave(n_heads // len(values), 0).float()
        module = net.model.get_submodule(site.hook_point.path)
        like = torch.empty(0, dtype=net.dtype, device=net.device)
        matrix = matrix_of(module, site.width or 0, like, where=site.name)
        writes = matrix.detach().float().unflatten(0, (n_heads, -1))
        seen = reads.normed(embed[tokens]).float()
        found = [
            torch.linalg.eigvals(writes @ (unembedding[t].T @ seen) @ values)
            for t in (tokens, others)
        ]
        shares = [x.real.sum(-1) / x.abs().sum(-1).clamp_min(1e-12) for x in found]
        each = enumerate(torch.stack(shares, 1).tolist())
        rows += [(f"{site.name}[head {head}]", layer, head, *both) for head, both in each]
    return pd.DataFrame(rows, columns=["unit", "layer", "head", "copying", "null"])
