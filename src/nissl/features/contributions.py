"""Contributions of features to a later feature, a score or a logit; and circuits of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nissl.behaviour import Routes
from nissl.errors import NisslError
from nissl.features.dictionary import TrainedDictionary
from nissl.methods import method
from nissl.network import LinearDictionary
from nissl.network.edits.seen import Seen
from nissl.network.gradients import AttentionRule, NormRule, StopGradient, gradients

if TYPE_CHECKING:
    from nissl.network import Dictionary, Network

__all__ = ["contributions", "reads", "trace"]

Target = str | tuple[str, Tensor]
EDGES = ["begin", "begin_position", "end", "end_position", "unit", "kind", "contribution", "share"]


@method(system=323)
@torch.no_grad()
def contributions(
    net: Network,
    inputs: Any,
    *,
    to: Target,
    dictionaries: Iterable[Dictionary],
    position: int = -1,
) -> pd.DataFrame:
    """Say how much each feature adds to a later feature, a logit, or any direction at a site.

    Attention patterns and what norms divide by are held, so that the stream is a sum and goes on by
    a linear map; MLPs pass nothing on. What a dictionary explains is taken from its features alone:
    nothing goes through it to earlier ones.

    Parameters
    ----------
    net : Network
        A language model.
    inputs : text or token ids
        One text.
    to : str, or tuple of str and Tensor
        A feature of one of the dictionaries, ``"blocks.5.mlp.out.transcoder[77]"`` by the site that
        is decoded to or encoded; a token's logit, ``"logits[338]"``; or a site and a direction
        there, such as a key at ``blocks.5.attn.q_rot``, of an attention score.
    dictionaries : iterable of Dictionary
        Of several sites, such as a transcoder of each MLP.
    position : int
        Of what is explained.

    Returns
    -------
    DataFrame
        Largest first, a row for each feature and position: ``unit``, ``position``, ``activation``,
        ``weight``, their product ``contribution``; and without activation what a dictionary leaves
        unexplained, its bias, MLPs that have none, and the embedding. They add up to a logit, or to
        a feature before its activation, but for biases of the network.

    Raises
    ------
    NisslError
        The target is not known, or two dictionaries decode to one site.

    Notes
    -----
    Source: Dunefsky et al. 2024, section 4; He et al. 2024. What the weights alone say is `reads`
    of the later feature times `directions` of the earlier.

    Examples
    --------
    >>> contributions(net, text, to="logits[338]", dictionaries=[found])  # doctest: +SKIP
    """
    several = list(dictionaries)
    known = {net.find(one.site_out)[0].name: one for one in several}
    if len(known) < len(several):
        raise NisslError("two dictionaries decode to one site", do="ask once with each")
    site, wanted = _target(net, to, known)
    stops = sorted({s for s in net.named_sites if s.endswith(".mlp.out")} | set(known))
    into = {out: net.find(one.site_in)[0].name for out, one in known.items()}
    kept = Seen([site, *into.values()], graph=True)
    rules = [AttentionRule(), NormRule(), StopGradient(stops)]

    def metric(_: Any) -> Tensor:
        x = kept.values[site][0, position].float()
        return x[wanted] if isinstance(wanted, int) else x @ wanted.to(x)

    others = ["embed", *(stop for stop in stops if stop not in known)]
    with torch.enable_grad(), net.edit(kept), net.backward(*rules):
        found = gradients(net, inputs, sites=[*known, *others], metric=metric)
    rows = [_rest(name, found.values[name][0], found[name][0]) for name in others]
    for out, one in known.items():
        x, slope = kept.values[into[out]][0].detach(), found[out][0].float()
        features = one.encode(x.float())
        at, which = (features != 0).nonzero().T
        weight = (slope[at] * one.directions.float()[which]).sum(-1)
        active = features[at, which]
        said = {"position": at, "activation": active, "weight": weight}
        said["contribution"] = active * weight
        table = pd.DataFrame({name: x.cpu().numpy() for name, x in said.items()})
        table.insert(0, "unit", [f"{out}.{one.name}[{i}]" for i in which.tolist()])
        bias = one.decode(torch.zeros_like(features[:1])).expand_as(slope)
        error = found.values[out][0].float() - one.decode(features)
        rows += [table, _rest(f"{out} bias", bias, slope), _rest(f"{out} error", error, slope)]
    table = pd.concat(rows, ignore_index=True)
    how: Any = {"key": np.abs, "ascending": False, "kind": "stable", "ignore_index": True}
    whole: pd.DataFrame = table[table["contribution"] != 0].sort_values("contribution", **how)
    whole.attrs["target"] = float(found.metric)
    return whole


def reads(dictionary: Dictionary, feature: int) -> Tensor:
    """Return what a feature multiplies activity by, before its activation: shape (width,).

    Parameters
    ----------
    dictionary : TrainedDictionary or LinearDictionary
        The dictionary.
    feature : int
        Which.

    Returns
    -------
    Tensor
        A direction at `site_in`.
    """
    if isinstance(dictionary, TrainedDictionary):
        return (dictionary.w_enc[feature] / dictionary.scale).detach()
    if isinstance(dictionary, LinearDictionary):
        return dictionary.w_enc[:, feature]
    raise NisslError(f"{type(dictionary).__name__} does not say what its features read")


def trace(
    net: Network,
    inputs: Any,
    *,
    to: str,
    dictionaries: Iterable[Dictionary],
    position: int = -1,
    n: int = 4,
    depth: int = 3,
) -> Routes:
    """Follow contributions down: of a target the largest, of each of these the largest, and so on.

    Parameters
    ----------
    net, inputs, to, dictionaries, position
        As in `contributions`.
    n : int
        Features that are followed from each.
    depth : int
        How often.

    Returns
    -------
    Routes
        Table, graph and picture; kinds of edges are "adds" and "takes away".

    Examples
    --------
    >>> trace(net, text, to="logits[338]", dictionaries=found).plot()  # doctest: +SKIP
    """
    ids = net.tokenizer(inputs)["input_ids"] if isinstance(inputs, str) else list(inputs)
    given, edges = list(dictionaries), []
    ends: list[tuple[str, int]] = [(to, position % len(ids))]
    done: set[tuple[str, int]] = set()
    for _ in range(depth):
        following: list[tuple[str, int]] = []
        for end, at in ends:
            if (end, at) in done or "[" not in end:
                continue
            done.add((end, at))
            table = contributions(net, ids, to=end, dictionaries=given, position=at)
            size = table["contribution"].abs()
            kept = table.assign(end=end, end_position=at, share=size / size.sum())
            kept = kept[~kept["unit"].str.contains(" ")].head(n)
            edges.append(kept.assign(begin=kept["unit"], begin_position=kept["position"]))
            following += zip(kept["unit"], kept["position"], strict=True)
        ends = following
    whole = pd.concat(edges, ignore_index=True)
    kinds = np.where(whole["contribution"] > 0, "adds", "takes away")
    return Routes(whole.assign(kind=kinds)[EDGES], net.tokens(ids))


def _target(net: Network, to: Target, known: Mapping[str, Any]) -> tuple[str, Tensor | int]:
    """Return a site, and the direction or the unit there that a target is."""
    if not isinstance(to, str):
        return net.find(to[0])[0].name, to[1].float()
    site, _, index = to.removesuffix("]").partition("[")
    if not index.isdigit():
        raise NisslError(f"'{to}' is no unit", do='give one such as "logits[338]"')
    for out, one in known.items():
        into = net.find(one.site_in)[0].name
        if site in (f"{out}.{one.name}", f"{into}.{one.name}"):
            if int(index) >= one.n_features:
                raise NisslError(f"there are {one.n_features} features", where=to)
            return into, reads(one, int(index)).float()
    return net.find(site)[0].name, int(index)


def _rest(name: str, x: Tensor, slope: Tensor) -> pd.DataFrame:
    """Return rows of what is no feature, one for each position."""
    added = (x.float() * slope.float()).sum(-1).cpu().numpy()
    return pd.DataFrame({"unit": name, "position": range(len(added)), "contribution": added})
