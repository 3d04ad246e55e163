"""Random edits matched to given ones: what other units, heads, layers or directions would do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.network import Network

__all__ = ["matched_by", "matched_edits"]

TRIES = 10  # draws for each that is wanted: some are alike
LAYER = re.compile(r"blocks\.(\d+)(?=$|\.)")
SAID = {
    "unit": "units of the same site and about the same |activity| x output norm here",
    "head": "other heads of the same layer",
    "layer": "other layers",
}
Array = NDArray[Any]


def matched_edits(
    net: Network, edits: Sequence[Any], text: str | Sequence[int], *, n: int = 19, seed: int = 0
) -> list[list[Any]]:
    """Draw random edits that do to other units what given edits do to theirs.

    They answer whether an effect of the edits is one of these units, or one of any like them.

    Parameters
    ----------
    net : Network
        The network.
    edits : sequence of Edit
        Changes of units, heads or layers by address; of whole sites by a direction, which is added
        or taken out.
    text : str or sequence of int
        A text, or its token ids. A unit is drawn among the twenty of its site that are nearest to
        it in mean |activity| on this text x norm of output weights, and for a value to be held in
        that norm; a head among the other heads of its layer; a layer among the other layers; a
        direction among all of equal norm.
    n : int
        How many draws, of as many edits as are given; fewer where there are no more.
    seed : int
        Of the draws.

    Returns
    -------
    list of list of Edit
        The draws, each for ``net.edit(*draw)``; no two alike, and none that is what was given.
        `matched_by` says what they are.

    Raises
    ------
    NisslError
        An edit is of another kind, or has too few others to be matched with.

    Examples
    --------
    >>> import nissl, torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> _ = torch.manual_seed(0)
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> net = nissl.load(LlamaForCausalLM(config), tokenizer=None)
    >>> edits = [nissl.ablate("blocks.1.attn.z[head 0]")]
    >>> draws = matched_edits(net, edits, [5, 9, 7, 11])
    >>> [edit.units.named() for draw in draws for edit in draw]
    [['blocks.1.attn.z[head 1]']]
    >>> matched_by(net, edits)
    'other heads of the same layer'
    """
    from nissl.behaviour.prompts import token_ids
    from nissl.network.edits.edit import Change
    from nissl.network.edits.selection import Units

    ids = token_ids(net, [text])[0].tolist()
    addresses = [unit for edit in edits for unit in _named(edit)]
    groups = _groups(net, edits, ids, n * TRIES, seed)
    draws: list[list[Any]] = []
    met = {tuple(addresses)} if addresses else set()
    rng = np.random.default_rng(seed)
    for number in range(n * TRIES):
        drawn = {own: unit for group in groups for own, unit in group.draw(number)}
        key = tuple(drawn[unit] for unit in addresses)
        if (key in met and addresses) or len(draws) == n:
            continue
        met.add(key)
        made = []
        for edit in edits:
            named = _named(edit)
            if named:
                units = Units([drawn[unit] for unit in named])
                made.append(Change(units, edit.places, edit.rule, edit.name))
            else:
                made.append(_turned(net, edit, rng))
        draws.append(made)
    if not draws:
        raise NisslError("there are no other units to compare with")
    return draws


def matched_by(net: Network, edits: Sequence[Any]) -> str:
    """Say what the edits are that `matched_edits` draws.

    Parameters
    ----------
    net : Network
        The network.
    edits : sequence of Edit
        What they are matched to.

    Returns
    -------
    str
        In a few words, for a figure or a table.

    Raises
    ------
    NisslError
        An address is not one of a unit, head or layer.
    """
    kinds = dict.fromkeys(_kind(net, unit)[0] for edit in edits for unit in _named(edit))
    directions = any(not _named(edit) for edit in edits)
    said = [*(SAID[kind] for kind in kinds), *["random directions of equal norm"] * directions]
    return "; ".join(said)


def _named(edit: Any) -> list[str]:
    """Return the addresses that an edit changes; none where it is of whole sites."""
    named = getattr(getattr(edit, "units", None), "named", None)
    found: list[str] | None = None if named is None else named()
    return found or []


def _kind(net: Network, unit: str) -> tuple[str, str]:
    """Return whether an address is of a unit, head or layer, and its site; a layer has none."""
    from nissl.network.sites.site import Part

    (found, *more) = net.find(unit)
    kind = found.kind if isinstance(found, Part) else "layer"
    if more or kind == "edge":
        raise NisslError("nothing is known to compare this with", where=unit)
    return kind, found.pieces[0].site.name if isinstance(found, Part) else ""


@dataclass
class _Group:
    """Units of one site, heads of one layer, or layers, that are drawn together."""

    own: list[str]
    draws: list[list[str]]

    def draw(self, number: int) -> list[tuple[str, str]]:
        """Return what stands in for each of them in one draw."""
        return list(zip(self.own, self.draws[number], strict=True))


def _groups(
    net: Network, edits: Sequence[Any], ids: Sequence[int], n: int, seed: int
) -> list[_Group]:
    """Draw what stands in for each address."""
    from nissl.network.edits.rules import SetTo

    held = {u for e in edits if isinstance(getattr(e, "rule", 0), SetTo) for u in _named(e)}
    places: dict[str, dict[str, list[str]]] = {"unit": {}, "head": {}, "layer": {}}
    for unit in dict.fromkeys(unit for edit in edits for unit in _named(edit)):
        kind, site = _kind(net, unit)
        places[kind].setdefault(site, []).append(unit)
    groups = [_heads(net, site, own, n, seed) for site, own in places["head"].items()]
    if units := places["unit"]:
        active = net.run([list(ids)], sites=list(units))
        for site, own in units.items():
            table = _weights(net, site, active[site][0])
            columns = ("weight", "norm") if held & set(own) else ("weight",)
            groups.append(_units(table, own, columns, n, seed))
    if layers := [unit for own in places["layer"].values() for unit in own]:
        groups.append(_layers(net, layers, n, seed))
    return groups


def _weights(net: Network, site: str, x: Tensor) -> pd.DataFrame:
    """Return the units of a site with what each writes on a text, and the norm of its weights."""
    import pandas as pd

    from nissl.network.sites.weights import output_weights_of
    from nissl.statistics.matched import output_weight

    values = x[1 if len(x) > 1 else 0 :].float().cpu().numpy()  # a first token may be huge
    mean = np.nan_to_num(np.abs(values)).reshape(-1, values.shape[-1]).mean(0)
    write = output_weights_of(net, site)
    out = np.ones((len(mean), 1)) if write is None else write.cpu().numpy()
    names = [f"{site}[{i}]" for i in range(len(mean))]
    norm = output_weight(np.ones(len(mean)), out)
    return pd.DataFrame({"unit": names, "weight": output_weight(mean, out), "norm": norm})


def _units(
    table: pd.DataFrame, own: list[str], columns: tuple[str, ...], n: int, seed: int
) -> _Group:
    from nissl.statistics.matched import MatchedUnits

    rows = MatchedUnits(match_on=columns).draw(table, own, n, seed=seed)
    names = table["unit"].to_numpy()
    return _Group(own, [list(names[row]) for row in rows])


def _heads(net: Network, site: str, own: list[str], n: int, seed: int) -> _Group:
    count = net.find(site)[0].heads or 0
    taken = {int(unit.rpartition("head ")[2].rstrip("]")) for unit in own}
    free = [f"{site}[head {head}]" for head in range(count) if head not in taken]
    return _permuted(own, free, n, seed, f"{site} has {len(free)} other heads")


def _layers(net: Network, own: list[str], n: int, seed: int) -> _Group:
    """Draw other layers in place of layers, or of whole sites of them."""
    taken = {int(found.group(1)) for unit in own if (found := LAYER.search(unit))}
    if len({LAYER.sub("blocks.*", unit) for unit in own}) > 1 or not taken:
        raise NisslError("nothing is known to compare this with", where=", ".join(own[:3]))
    free = [str(k) for k in range(net.n_layers) if k not in taken]
    group = _permuted(own, free, n, seed, f"there are {len(free)} other layers")
    made = [[LAYER.sub(f"blocks.{k}", own[0], 1) for k in some] for some in group.draws]
    return _Group(own, made)


def _permuted(own: list[str], free: list[str], n: int, seed: int, few: str) -> _Group:
    if len(free) < len(own):
        raise NisslError(f"{few}: too few to compare with")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(len(free))[: len(own)] for _ in range(n)]
    # Which of them stands where is no difference: sorted, a set is drawn once.
    return _Group(own, [[free[i] for i in sorted(some)] for some in drawn])


def _turned(net: Network, edit: Any, rng: np.random.Generator) -> Any:
    """Return an edit whose directions are random ones of equal norm."""
    from nissl.network.edits.edit import Change
    from nissl.network.edits.learned import Learned, LearnedEdit, SteeringVector
    from nissl.network.edits.rules import Added, Partly, Projected
    from nissl.network.edits.values import PerUnit

    def other(rule: Any, widths: dict[str, int]) -> Any:
        if isinstance(rule, Partly):
            return Partly(other(rule.rule, widths), rule.strength)
        if isinstance(rule, Added):
            given, by = rule.by.given, {}
            for name, width in widths.items():
                own = given.get(name, 0) if isinstance(given, dict) else given
                by[name] = _random(np.broadcast_to(_array(own), (width,)), rng)
            return Added(PerUnit(by))
        if isinstance(rule, Projected):
            return Projected(_random(_array(rule.directions), rng), rule.onto)
        if isinstance(rule, Learned) and isinstance(rule.module, SteeringVector):
            return Added(PerUnit(_random(_array(rule.module.vector), rng)))
        raise NisslError(f"no random edit is known to match {edit!r:.60}")

    rule = Learned(edit.change) if isinstance(edit, LearnedEdit) else getattr(edit, "rule", None)
    widths = {}
    if isinstance(rule, Added) or (isinstance(rule, Partly) and isinstance(rule.rule, Added)):
        for name, chosen in edit.units.resolve(net).items():
            width = chosen.width if chosen.index is None else len(chosen.index)
            if width is None:
                raise NisslError("how many units this site has is not known", where=name)
            widths[name] = width
    return Change(edit.units, edit.places, other(rule, widths), "random")


def _array(given: Any) -> Array:
    from nissl.network.edits.values import as_tensor

    return np.asarray(as_tensor(given).detach().cpu().double().numpy())


def _random(directions: Array, rng: np.random.Generator) -> Any:
    import torch

    from nissl.statistics.matched import RandomDirections

    drawn = RandomDirections().draw(np.atleast_2d(directions), 1, seed=int(rng.integers(2**31)))
    return torch.as_tensor(drawn[0].reshape(directions.shape)).float()
