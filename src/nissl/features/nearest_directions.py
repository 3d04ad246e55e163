"""Features of a dictionary that lie along what a neuron writes, and neurons along a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.address import read
from nissl.errors import NisslError
from nissl.statistics import Finding

if TYPE_CHECKING:
    import torch

    from nissl.network import Network

__all__ = ["nearest_directions"]

NEURONS = "blocks.*.mlp.neurons"
BEFORE_MLP = ("resid_pre", "attn.", "resid_mid")


def nearest_directions(net: Network, unit: str, *, n_draws: int = 200, seed: int = 0) -> Finding:
    """Find the directions that lie nearest to what a unit writes.

    Parameters
    ----------
    net : Network
        With the dictionaries that are asked (`Network.with_dictionary`).
    unit : str
        The address of a neuron of an MLP, or of a feature.
    n_draws : int
        Random directions in place of the unit's.
    seed : int
        Of these.

    Returns
    -------
    Finding
        A row for each feature that is read after a neuron writes, or for each neuron of an MLP
        that writes before a feature is read, the largest sizes of ``cosine`` first. ``p`` is the
        share of all directions of that ``width`` whose cosine is as large, ``q`` the share of the
        draws whose largest is, and never below p. The provenance has ``of``, what was looked
        through, and the mean and the 95th percentile of the largest of a draw,
        ``largest_by_chance`` and ``largest_95``. No rows where there is nothing to look through.

    Raises
    ------
    NisslError
        There is no such unit, or nothing is known of what it writes.

    Notes
    -----
    Directions that were learned lie closer together than random ones, so that the null is lenient.

    Examples
    --------
    >>> import nissl, torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> net = nissl.load(LlamaForCausalLM(config), tokenizer=None)
    >>> sae = nissl.features.TrainedDictionary(
    ...     nissl.features.ReLU(), 8, 16, site_in="blocks.0.resid_post")
    >>> sae.w_dec.data[5] = -3 * net.output_weights("blocks.0.mlp.neurons")[2]
    >>> found = nearest_directions(net.with_dictionary(sae), "blocks.0.mlp.neurons[2]")
    >>> found.units[0], float(found.table["cosine"].round(3)[0])
    ('blocks.0.resid_post.sae[5]', -1.0)
    """
    from nissl.network.sites.weights import dictionary_of, output_weights_of

    (address,) = read([unit])
    if address is None or address.index is None:
        raise NisslError(
            f"'{unit}' is no unit", do="give an address such as blocks.3.mlp.neurons[812]"
        )
    site = unit.rpartition("[")[0]
    feature = dictionary_of(net, site) is not None
    weights = output_weights_of(net, site)
    if weights is None or not 0 <= address.index < len(weights):
        raise NisslError("nothing is known of what this unit writes", where=unit)
    own = weights[address.index].detach().float().cpu()
    directions = {}
    for place in _neurons(net, site) if feature else _features(net, site):
        there = output_weights_of(net, place)
        if there is not None and there.shape[1] == len(own):
            directions[place] = there.detach().float().cpu()
    of = {"of": "neurons" if feature else "features", "to": unit}
    return _compared(own, directions, n_draws, seed, of)


def _compared(
    own: torch.Tensor,
    directions: dict[str, torch.Tensor],
    n_draws: int,
    seed: int,
    about: dict[str, Any],
) -> Finding:
    """Return the cosines with a direction, against those with random ones."""
    import pandas as pd
    import torch
    from scipy.stats import beta

    from nissl.statistics import RandomDirections

    null, width = RandomDirections(), len(own)
    drawn = torch.from_numpy(null.draw(own[None].numpy(), n_draws, seed=seed)[:, 0]).float()
    own, drawn = (torch.nn.functional.normalize(x, dim=-1) for x in (own, drawn))
    largest, names, cosines = torch.zeros(n_draws), list[str](), [np.empty(0)]
    for place, there in directions.items():  # one site at a time: all draws of all would be large
        there = torch.nn.functional.normalize(there, dim=1)
        largest = torch.maximum(largest, (there @ drawn.T).abs().amax(dim=0))
        cosines.append((there @ own).double().numpy())
        names += [f"{place}[{i}]" for i in range(len(there))]
    cosine = np.concatenate(cosines)
    size = np.abs(cosine)
    p = beta.sf(np.minimum(size, 1) ** 2, 0.5, (width - 1) / 2)
    reach = n_draws - np.searchsorted(np.sort(largest.double().numpy()), size)
    table = pd.DataFrame(
        {
            "unit": names,
            "cosine": cosine,
            "effect": cosine,
            "null_mean": 0.0,
            "null_sd": width**-0.5,
            "p": p,
            "q": np.maximum(p, (1 + reach) / (1 + n_draws)),
        }
    )
    order = np.argsort(-size, kind="stable")
    about |= {"n": len(names), "width": width, "n_draws": n_draws, "seed": seed}
    if names:
        about["largest_by_chance"] = float(largest.mean())
        about["largest_95"] = float(largest.quantile(0.95))
    table = table.iloc[order].reset_index(drop=True)
    return Finding(table, "nearest_directions", null.name, about, "cosine")


def _neurons(net: Network, of: str) -> list[str]:
    """Name the sites of neurons that write before the features of a site are read."""
    try:
        sites = [site.name for site in net.find(NEURONS)]
    except NisslError:
        return []
    return [site for site in sites if _writes_before(site, of)]


def _features(net: Network, of: str) -> list[str]:
    """Name the sites of features that are read after the units of a site write."""
    from nissl.network.sites.weights import dictionary_of

    named = [site for site in net.named_sites if dictionary_of(net, site) is not None]
    return [site for site in named if _writes_before(of, site)]


def _writes_before(neurons: str, features: str) -> bool:
    at, read_at = read([neurons, features])
    if at is None or read_at is None or at.layer is None:
        return False
    if read_at.layer is None:
        return features.startswith("final_norm")
    early = any(word in features for word in BEFORE_MLP)
    return at.layer < read_at.layer or (at.layer == read_at.layer and not early)
