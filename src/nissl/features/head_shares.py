"""Head shares: how much of each feature of attention output every head writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import nodes_of

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Dictionary, Network

__all__ = ["head_shares"]


@method(system=83)
def head_shares(dictionary: Dictionary, net: Network, *, threshold: float = 0.5) -> pd.DataFrame:
    """Divide the norm of each feature's direction among heads.

    Parameters
    ----------
    dictionary : Dictionary
        Of a site of the network whose units fall into heads, such as ``blocks.3.attn.z``.
    net : Network
        The network.
    threshold : float
        Above which share a feature is a head's ``own``.

    Returns
    -------
    DataFrame
        A row for each ``feature`` and ``head``: ``unit`` (the head's address), ``share``, ``own``.
        The shares of a feature add up to 1. Source: Kissane et al. 2024, section 3.

    Raises
    ------
    NisslError
        The site has no heads, or not the dictionary's units.
    """
    import pandas as pd

    heads = np.array([str(node) for node in nodes_of(net, dictionary.site_out, by="head")])
    rows = dictionary.directions.detach().float().cpu()
    if rows.shape[1] % len(heads):
        raise NisslError(f"{rows.shape[1]} units do not fall into {len(heads)} heads")
    rows = rows.unflatten(1, (len(heads), -1))
    share = (rows.norm(dim=-1) / rows.norm(dim=-1).sum(1, keepdim=True)).nan_to_num()
    feature, head = np.divmod(np.arange(share.numel()), len(heads))
    table = pd.DataFrame({"feature": feature, "head": head, "unit": heads[head]})
    return table.assign(share=share.flatten().numpy(), own=lambda x: x["share"] > threshold)
