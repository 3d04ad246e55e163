"""Random edits matched to given ones, and how far edits move the next-token distribution."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.network import Network

__all__ = ["divergences", "matched_edits"]

TRIES = 10  # draws for each that is wanted: some are alike
BYTES = 200e6  # of the logits of the copies that are run at once
LAYER = re.compile(r"blocks\.(\d+)(?=$|\.)")
Array = NDArray[Any]


def matched_edits(
    net: Network, edits: Sequence[Any], ids: Sequence[int], *, n: int = 19, seed: int = 0
) -> tuple[list[list[Any]], str]:
    """Draw random edits that do to other units what given edits do to theirs.

    Parameters
    ----------
    net : Network
        The network.
    edits : sequence of Edit
        Changes of units, heads or layers by address; of whole sites by a direction, which is added
        or taken out.
    ids : sequence of int
        A text. A unit is drawn among the twenty of its site that are nearest to it in mean
        |activity| on this text x norm of output weights, and for a value to be held in that norm;
        a head among the other heads of its layer; a layer among the other layers; a direction among
        all of equal norm.
    n : int
        How many draws, of as many edits as are given; fewer where there are no more.
    seed : int
        Of the draws.

    Returns
    -------
    draws : list of list of Edit
        No two alike, and none that is what was given.
    against : str
        What they are.

    Raises
    ------
    NisslError
        An edit is of another kind, or has too few others to be matched with.

    Examples
    --------
    >>> draws, _ = matched_edits(net, [ablate(UNIT)], ids)  # doctest: +SKIP
    """
    from nissl.network.edits.edit import Change
    from nissl.network.edits.selection import Units

    addresses = [unit for edit in edits for unit in _named(edit)]
    others = _Others(net, edits, ids, n * TRIES, seed) if addresses else None
    draws: list[list[Any]] = []
    met = {tuple(addresses)} if addresses else set()
    rng = np.random.default_rng(seed)
    for number in range(n * TRIES):
        drawn = others.draw(number, rng) if others else {}
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
    return draws, _said(others, any(not _named(edit) for edit in edits))


def divergences(
    net: Network,
    prompt: Sequence[int],
    new: Sequence[int],
    edits: Sequence[Any],
    *,
    tell: Callable[[int], None] = lambda done: None,
) -> Array:
    """Return how far edits move the distribution of each next token from that without them.

    Parameters
    ----------
    net : Network
        A language model; no edits are in force.
    prompt, new : sequence of int
        Tokens that are read, and those that it went on with.
    edits : sequence of edits, or lists of them
        Each is measured by itself; several are run in one call (`Network.edit_batch`).
    tell : callable
        Is given how many are done after each call; what it raises ends the work.

    Returns
    -------
    array of float64, shape (n_edits, n_new)
        Kullback-Leibler divergence in nats of what is said under the edit from what is said without
        it, at the prompt's end and at every new token but the last.

    Examples
    --------
    >>> divergences(net, ids, new, [ablate(UNIT)]).shape  # doctest: +SKIP
    (1, 40)
    """
    ids, n = [*prompt, *new][:-1], len(new)
    before = _log_probabilities(net, ids, [None], n, len(prompt))
    size = before[0].numel() * before.element_size()
    at_once = max(1, int(BYTES // size))
    found = np.zeros((len(edits), n))
    for first in range(0, len(edits), at_once):
        some = list(edits[first : first + at_once])
        after = _log_probabilities(net, ids, some, n, len(prompt))
        fall = (before.exp() * (before - after).nan_to_num()).sum(-1)
        found[first : first + len(some)] = fall.double().clamp_min(0).cpu().numpy()
        tell(first + len(some))
    return found


def _log_probabilities(
    net: Network, ids: list[int], edits: list[Any], n: int, n_prompt: int
) -> Tensor:
    """Return log probabilities at the last n positions under each edit."""
    import torch

    from nissl.network.run.calls import call_model, sequence_call
    from nissl.network.run.partial_logits import partial_logits

    net.prompt_lengths.append(torch.tensor([n_prompt], device=net.device))
    try:
        with torch.inference_mode(), net.edit_batch(edits):
            call = sequence_call(net, [np.array(ids)])
            with partial_logits(net, call, last=n, tokens=None) as partial:
                logits: Tensor = call_model(net, partial).logits[:, -n:]
    finally:
        net.prompt_lengths.pop()
    return logits.float().log_softmax(-1)


def _named(edit: Any) -> list[str]:
    """Return the addresses that an edit changes; none where it is of whole sites."""
    named = getattr(getattr(edit, "units", None), "named", None)
    found: list[str] | None = None if named is None else named()
    return found or []


@dataclass
class _Group:
    """Units of one site, heads of one layer, or layers, that are drawn together."""

    own: list[str]
    draws: list[list[str]]


class _Others:
    """What may be drawn in place of each address."""

    def __init__(
        self, net: Network, edits: Sequence[Any], ids: Sequence[int], n: int, seed: int
    ) -> None:
        from nissl.network.edits.rules import SetTo
        from nissl.network.sites.site import Part

        held = {u for e in edits if isinstance(getattr(e, "rule", 0), SetTo) for u in _named(e)}
        self.kinds: dict[str, int] = {}
        units: dict[str, list[str]] = {}
        heads: dict[str, list[str]] = {}
        layers: list[str] = []
        for unit in dict.fromkeys(unit for edit in edits for unit in _named(edit)):
            (found, *more) = net.find(unit)
            kind = found.kind if isinstance(found, Part) else "layer"
            if more or kind == "edge":
                raise NisslError("nothing is known to compare this with", where=unit)
            site = found.pieces[0].site.name if isinstance(found, Part) else ""
            if kind == "unit":
                units.setdefault(site, []).append(unit)
            elif kind == "head":
                heads.setdefault(site, []).append(unit)
            else:
                layers.append(unit)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.groups = [_heads(net, site, own, n, seed) for site, own in heads.items()]
        if units:
            active = net.run([list(ids)], sites=list(units))
            for site, own in units.items():
                table = _weights(net, site, active[site][0])
                columns = ("weight", "norm") if held & set(own) else ("weight",)
                self.groups.append(_units(table, own, columns, n, seed))
        if layers:
            self.groups.append(_layers(net, layers, n, seed))

    def draw(self, number: int, rng: np.random.Generator) -> dict[str, str]:
        """Return what stands in for each address in one draw."""
        return {
            own: drawn
            for group in self.groups
            for own, drawn in zip(group.own, group.draws[number], strict=True)
        }


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


def _said(others: _Others | None, directions: bool) -> str:
    """Say what the draws are."""
    words = {
        "unit": "units of the same site and about the same |activity| x output norm here",
        "head": "other heads of the same layer",
        "layer": "other layers",
    }
    kinds = [words[kind] for kind in others.kinds] if others else []
    return "; ".join([*kinds, *["random directions of equal norm"] * directions])
