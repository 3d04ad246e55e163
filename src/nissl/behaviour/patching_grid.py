"""The patching grid: how much of a behaviour each layer or head restores at each position."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nissl.behaviour.exact import exact
from nissl.behaviour.patching import Patching
from nissl.errors import NisslError
from nissl.network.edits.nodes import nodes_of

if TYPE_CHECKING:
    import pandas as pd

    from nissl.behaviour.behaviour import Behaviour

__all__ = ["patching_grid"]


def patching_grid(
    behaviour: Behaviour,
    sites: str | Iterable[str] = "blocks.*.resid_post",
    *,
    heads: bool = False,
    positions: int | Iterable[int] | None = None,
) -> pd.DataFrame:
    """Patch clean activity into the corrupted run, at one site or head and position at a time.

    Parameters
    ----------
    behaviour : Behaviour
        Its pairs have to align. They are run as one batch, whatever its ``batch_size``.
    sites : str or iterable of str
        The rows of the grid.
    heads : bool
        A row for each head of each site, such as those of ``blocks.*.attn.z``.
    positions : int or iterable of int, optional
        The columns, counted from the end where negative; by default every position.

    Returns
    -------
    DataFrame, shape (n_sites or n_sites * n_heads, n_positions)
        Effects: 0 as corrupted, 1 as clean, means over the pairs. Rows are layers, or names of
        sites where one layer has several, and heads. Columns are positions with the token of the
        first clean input. ``nissl.statistics.figure.heatmap`` draws it.

    Raises
    ------
    NisslError
        Pairs do not align, a position is none of the inputs, a site has no positions or, with
        `heads`, no heads, or edits are in force.

    Notes
    -----
    Source: Meng et al. 2022; Wang et al. 2023. Several patches are one call (`Network.edit_batch`),
    which begins to copy the batch at the block that is patched. Where clean and corrupted activity
    are equal nothing is run: the effect is 0.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.behaviour import Behaviour
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> net = Network(LlamaForCausalLM(config))
    >>> grid = patching_grid(Behaviour(net, [[5, 6, 7]], [[5, 8, 7]], right=[1], wrong=[2]))
    >>> grid.round(3).loc[1].abs().tolist()
    [0.0, 0.0, 1.0]
    """
    import pandas as pd

    net, lengths = behaviour.net, [len(ids) for ids in behaviour.clean_ids]
    if lengths != [len(ids) for ids in behaviour.corrupted_ids]:
        raise NisslError("pairs of different lengths have no common positions", do="align them")
    wanted = _positions(positions, lengths)
    nodes = nodes_of(net, sites, by="head" if heads else "site")
    patching = Patching(behaviour, "denoising")
    effects = exact(patching, nodes, at=wanted)[:, wanted].double().mean(0)
    scale = behaviour.clean_value.double().mean() - behaviour.corrupted_value.double().mean()
    if not scale:
        raise NisslError("clean and corrupted inputs measure the same", do="choose others")
    layers = [site.layer for site in nodes.sites]
    by_layer = len(set(layers)) == len(layers) and None not in layers
    kind = "layer" if by_layer else "site"
    rows: pd.Index[Any] = pd.Index(nodes.table()[kind], name=kind)
    if heads:
        rows = pd.MultiIndex.from_arrays(
            [rows, [node.index for node in nodes]], names=[kind, "head"]
        )
    first = behaviour.clean_ids[lengths.index(max(lengths))]
    words = net.tokens(first)
    columns = [f"{p} {words[p].strip() or repr(words[p])}" for p in wanted]
    grid = pd.DataFrame((effects / scale).T.cpu().numpy(), index=rows, columns=columns)
    return grid.rename_axis(columns="position")


def _positions(asked: int | Iterable[int] | None, lengths: list[int]) -> list[int]:
    longest = max(lengths)
    if asked is None:
        return list(range(longest))
    wanted = [asked] if isinstance(asked, int) else [int(position) for position in asked]
    for position in wanted:
        if not -longest <= position < longest:
            raise NisslError(f"inputs of {longest} tokens have no position {position}")
    if min(wanted, default=0) < 0 and len(set(lengths)) > 1:
        raise NisslError(
            "inputs of different lengths do not end at one position",
            do="count positions from the beginning",
        )
    # One name for one place, so that no column is there twice.
    return list(dict.fromkeys(position % longest for position in wanted))
