"""The dictionaries of an explorer: those that its atlas names, and those that are given."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.atlas import Atlas
    from nissl.network import Network

__all__ = [
    "OtherFeatures",
    "feature_logits",
    "feature_sites",
    "missing_features",
    "other_features",
    "with_features",
]

GIVE = "`nissl view ATLAS --dictionary FILE` takes it from elsewhere"
LOGITS = 5  # tokens at each end
UNNAMED = "the atlas does not name the file of their dictionary"


def with_features(
    net: Network, atlas: Atlas, files: Sequence[str | Path] = ()
) -> tuple[Network, str]:
    """Put the features of an atlas, and others, on its network.

    Parameters
    ----------
    net : Network
        The network.
    atlas : Atlas
        Its ``atlas.json`` names dictionaries by hash, and the files they were read from.
    files : sequence of str or Path
        Others; one at a site of the atlas stands in for the file that the atlas names.

    Returns
    -------
    net : Network
        With a site for each dictionary.
    lacking : str
        Which features of the atlas are not there, why, and what to do; empty where all are.

    Raises
    ------
    NisslError
        A file that was given cannot be read, or is of another network.

    Examples
    --------
    >>> with_features(net, atlas, ["sae.safetensors"])  # doctest: +SKIP
    """
    from nissl.features import load
    from nissl.network.sites.dictionary import dictionary_hash

    named = _named(atlas)
    lacking: dict[str, str] = {}
    given = [load(file, net=net) for file in files]
    there = {f"{made.site_in}.{made.name}" for made in given} | set(net.named_sites)
    for site, line in named.items():
        if site not in there and line.get("file"):
            try:
                given.append(load(atlas.path / line["file"], net=net))
            except NisslError as error:
                lacking[site] = f"their dictionary cannot be read: {error.what}"
    for made in given:
        site = f"{made.site_in}.{made.name}"
        if site in named and dictionary_hash(made) != named[site]["hash"]:
            file = vars(made).get("file", "the file")
            lacking[site] = f"{file} is another dictionary than that of the atlas"
        else:
            net = net.with_dictionary(made)
    away = [site for site in feature_sites(atlas.about) if site not in net.named_sites]
    return net, _said({site: lacking.get(site, UNNAMED) for site in away})


@dataclass(frozen=True)
class OtherFeatures:
    """The features of a dictionary of which the atlas tells nothing.

    Parameters
    ----------
    site, out : str
        Their site, and the one to which they are decoded.
    norm : array of float32, shape (n_features,)
        The length of each one's direction.
    """

    site: str
    out: str
    norm: NDArray[np.float32]


def other_features(net: Network, sites: Collection[str]) -> list[OtherFeatures]:
    """Return the features of a network that are not of its atlas.

    Parameters
    ----------
    net : Network
        With dictionaries, or without.
    sites : collection of str
        Those of the atlas.

    Returns
    -------
    list of OtherFeatures
        One of each dictionary.
    """
    from nissl.network.sites.weights import dictionary_of

    found = []
    for site in net.named_sites:
        made = None if site in sites else dictionary_of(net, site)
        if made is not None:
            norm = made.directions.detach().float().norm(dim=1).cpu().numpy()
            found.append(OtherFeatures(site, net.find(made.site_out)[0].name, norm))
    return found


def feature_logits(net: Network, unit: str) -> dict[str, Any]:
    """Return what the direction of a feature does to the logits.

    Parameters
    ----------
    net : Network
        With the dictionary.
    unit : str
        The feature's address.

    Returns
    -------
    dict
        ``promoted`` and ``suppressed``: five tokens each with its logit for an activity of one,
        before the final norm divides; empty where the direction is not in the residual stream.

    Raises
    ------
    NisslError
        There is no such feature.
    """
    from nissl.network.sites.site import Part
    from nissl.network.sites.weights import folded_unembedding, output_weights_of

    (named, *_) = net.find(unit)
    site = named.pieces[0].site.name if isinstance(named, Part) else unit
    write, unembedding = output_weights_of(net, site), folded_unembedding(net)
    number = unit.rpartition("[")[2].rstrip("]")
    if write is None or unembedding is None or not number.isdecimal():
        return {"promoted": [], "suppressed": []}
    if write.shape[1] != unembedding.shape[1]:
        return {"promoted": [], "suppressed": []}
    logits = unembedding.float() @ write[int(number)].to(unembedding.device)
    found = {}
    for name, sign in (("promoted", 1), ("suppressed", -1)):
        best = (sign * logits).topk(LOGITS)
        values = [sign * float(f"{x:.4g}") for x in best.values.tolist()]
        found[name] = [*zip(net.tokens(best.indices.tolist()), values, strict=True)]
    return found


def feature_sites(about: dict[str, Any]) -> list[str]:
    """Return which sites of an atlas are features of a dictionary.

    Parameters
    ----------
    about : dict
        What ``atlas.json`` holds.

    Returns
    -------
    list of str
        Their names. Of atlases that name no dictionary, those that are called as features are.
    """
    named = [line["site"] for line in about.get("dictionaries", [])]
    ends = (".sae", ".transcoder")
    return named or [site for site in about.get("sites", []) if site.endswith(ends)]


def missing_features(atlas: Atlas, files: Sequence[str | Path] = ()) -> str:
    """Say which features cannot fire, as far as it is seen without reading a dictionary.

    Parameters
    ----------
    atlas : Atlas
        The atlas.
    files : sequence of str or Path
        Dictionaries that are given.

    Returns
    -------
    str
        Empty where none is known to be missing.
    """
    if files:
        return ""
    named, gone = _named(atlas), {}
    for site in feature_sites(atlas.about):
        file = named.get(site, {}).get("file")
        if not file:
            gone[site] = UNNAMED
        elif not (atlas.path / file).exists():
            gone[site] = f"their dictionary is not at {file}, seen from the atlas"
    return _said(gone)


def _named(atlas: Atlas) -> dict[str, dict[str, str]]:
    return {line["site"]: line for line in atlas.about.get("dictionaries", [])}


def _said(lacking: dict[str, str]) -> str:
    """Say of each site why its features do not fire, and what to do."""
    told = "; ".join(f"{site}: {why}" for site, why in lacking.items())
    return f"Features that cannot fire: {told}. {GIVE}." if told else ""
