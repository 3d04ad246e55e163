"""Features of a dictionary that lie along what a neuron writes, and neurons along a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.address import read
from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["nearest_directions"]

NEAREST, DRAWS = 8, 200
NEURONS = "blocks.*.mlp.neurons"
BEFORE_MLP = ("resid_pre", "attn.", "resid_mid")


def nearest_directions(net: Network, unit: str, *, seed: int = 0) -> dict[str, Any]:
    """Find the directions that lie nearest to what a unit writes.

    Parameters
    ----------
    net : Network
        With the dictionaries that are asked.
    unit : str
        The address of a neuron of an MLP, or of a feature.
    seed : int
        Of the random directions.

    Returns
    -------
    dict
        ``of``, what was looked through, features for a neuron and neurons for a feature; how many
        (``n``) of how many numbers (``d``); ``nearest``, each with ``unit`` and ``cosine``, the
        largest sizes first; ``null``, mean and 95th percentile of the largest size of a cosine of
        200 random directions with the same ``n``; and ``p``, the share of them that reach as far.
        ``why`` nothing could be looked through, else empty.

    Raises
    ------
    NisslError
        There is no such unit, or nothing is known of what it writes.

    Examples
    --------
    >>> nearest_directions(net, "blocks.3.mlp.neurons[812]")["nearest"][0]  # doctest: +SKIP
    {'unit': 'blocks.15.resid_post.sae[77]', 'cosine': 0.41}
    """
    import torch

    from nissl.network.sites.weights import dictionary_of, output_weights_of

    (address,) = read([unit])
    if address is None or address.index is None:
        raise NisslError(f"'{unit}' is no unit", do="give an address such as " + NEURONS[:-1])
    site = unit.rpartition("[")[0]
    feature = dictionary_of(net, site) is not None
    weights = output_weights_of(net, site)
    if weights is None or not 0 <= address.index < len(weights):
        raise NisslError("nothing is known of what this unit writes", where=unit)
    own = torch.nn.functional.normalize(weights[address.index].float().cpu(), dim=0)
    told: dict[str, Any] = {"of": "neurons" if feature else "features", "nearest": [], "why": ""}
    places = _neurons(net, site) if feature else _features(net, site)
    drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal((DRAWS, len(own))))
    drawn = torch.nn.functional.normalize(drawn.float(), dim=1)
    largest, names, cosines = torch.zeros(DRAWS), list[str](), list[torch.Tensor]()
    for place in places:
        there = output_weights_of(net, place)
        if there is None or there.shape[1] != len(own):
            continue
        there = torch.nn.functional.normalize(there.detach().float().cpu(), dim=1)
        largest = torch.maximum(largest, (there @ drawn.T).abs().amax(dim=0))
        cosines.append(there @ own)
        names += [f"{place}[{i}]" for i in range(len(there))]
    if not cosines:
        return told | {"why": _why(feature)}
    cosine = torch.cat(cosines)
    best = cosine.abs().topk(min(NEAREST, len(cosine))).indices.tolist()
    reach = int((largest >= cosine[best[0]].abs()).sum())
    return told | {
        "n": len(cosine),
        "d": len(own),
        "nearest": [{"unit": names[i], "cosine": _four(cosine[i])} for i in best],
        "null": [_four(largest.mean()), _four(largest.quantile(0.95))],
        "p": (1 + reach) / (1 + DRAWS),
    }


def _why(feature: bool) -> str:
    if feature:
        return "No neurons of an MLP write into the stream before this feature is read."
    return (
        "No dictionary is at hand that is read after this unit writes; "
        "`nissl view ATLAS --dictionary FILE` adds one."
    )


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


def _four(x: Any) -> float:
    return float(f"{float(x):.4g}")
