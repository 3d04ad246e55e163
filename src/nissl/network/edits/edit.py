"""The Edit: a change to activity at sites while a network runs.

Anything with the members of `Edit` is one. `Change` is the common one: at chosen units and
positions it puts what a rule makes of their values; the functions of `edits` return it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.selection import Chosen, Places, Units

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["Change", "Edit", "EditsLike", "Rule"]


@runtime_checkable
class Edit(Protocol):
    """A change to activity while a network runs.

    An edit that has ``bind(net)`` too is replaced, for one ``with`` block, by what that returns:
    there it looks up sites and units in the network, and keeps apart what it learns of prompts.
    Where one says ``tokenwise = True``, what it does to a token depends on that token alone, so
    that the beginning which several prompts share may be read once for all.

    Examples
    --------
    Any class with these members is an edit:

    >>> class Negate:
    ...     reads, writes = (), ("0",)
    ...
    ...     def begin(self, batch): ...
    ...
    ...     def apply(self, site, x, positions, phase):
    ...         return -x
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Identity()))
    >>> with net.edit(Negate()):
    ...     net.model(torch.ones(1, 2)).tolist()
    [[-1.0, -1.0]]
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """Sites it is shown."""

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites it may change."""

    def begin(self, batch: Batch) -> None:
        """Begin a prompt.

        Called before each call of the model whose cache of keys and values is empty. While decoding
        it is not called, so that what was learned from the prompt holds on.

        Parameters
        ----------
        batch : Batch
            Token ids, positions and the prompt's lengths.
        """

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor | None:
        """Look at a site, or change it.

        Parameters
        ----------
        site : str
            Full name.
        x : Tensor, shape (batch, place..., unit)
            Its activity, other edits before this one applied; never to be changed in place.
        positions : Tensor or None, shape (batch, position), int64
            Position of each token, counted without padding from the beginning of the prompt, also
            while decoding; -1 at padding. None where the site has no positions.
        phase : {"prefill", "decode"}
            Whether the prompt is read or goes on.

        Returns
        -------
        Tensor or None, shape of `x`
            What takes its place, at sites that it writes; None leaves it as it is.
        """


class Bindable(Protocol):
    """What becomes an edit in a network: `LearnedEdit`."""

    def bind(self, net: BaseNetwork) -> Edit:
        """Return the edit with its sites and units looked up."""


EditsLike: TypeAlias = "Edit | Bindable | Sequence[Edit | Bindable] | None"


class Rule(Protocol):
    """What becomes of the values of the chosen units."""

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Rule:
        """Return the rule with its numbers looked up for the chosen units of each site."""

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return new values of the chosen units, shape of ``x`` (batch, place..., n_chosen)."""


class Change:
    """An edit that puts new values at chosen units and places.

    Parameters
    ----------
    units : Units
        Which units.
    places : Places
        Where.
    rule : Rule
        What becomes of them.
    name : str
        What it is called in messages.
    """

    reads: tuple[str, ...] = ()

    def __init__(self, units: Units, places: Places, rule: Rule, name: str) -> None:
        self.units = units.check()
        self.places = places
        self.rule = rule
        self.name = name
        self.chosen: dict[str, Chosen] = {}

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(self.writes[:3])}{', ...' * (len(self.writes) > 3)})"

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites it changes."""
        return tuple(self.chosen) or self.units.names()

    @property
    def missed(self) -> bool:
        """True until a chosen position of a chosen item has come by."""
        return not self.places.hit

    def bind(self, net: BaseNetwork) -> Change:
        """Return the edit with its sites and units looked up in a network.

        Parameters
        ----------
        net : Network
            The network.

        Returns
        -------
        Change
            Another, that has met no prompt.

        Raises
        ------
        NisslError
            A site or unit is not in the network.
        """
        bound = Change(self.units, self.places.fresh(), self.rule, self.name)
        bound.chosen = self.units.resolve(net)
        bound.rule = self.rule.bind(net, bound.chosen)
        return bound

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: see `Edit`."""
        self.places.begin(batch)
        begin = getattr(self.rule, "begin", None)
        self.rule = self.rule if begin is None else begin(batch)

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor | None:
        """Return the site's tensor with the chosen values replaced: see `Edit`."""
        mask = self.places.mask(x, positions, phase, site)
        if mask is not None and not bool(mask.any()):
            return None
        chosen = self.chosen[site]
        old = chosen.of(x, site)
        new = self.rule(site, old, positions).to(old).expand(old.shape)
        if mask is not None:
            new = torch.where(mask[..., None], new, old)
        elif chosen.index is None:
            # A copy: the model may go on to write into it.
            new = new.clone()
        return chosen.into(x, new)


def parts_of(edit: Any) -> list[Any]:
    """Return the edits that an edit applies (`gate`, `edit_batch`), or itself where it is one."""
    parts = getattr(edit, "parts", None)
    return [edit] if parts is None else [one for part in parts for one in parts_of(part)]


def as_edits(given: Iterable[Any]) -> list[Edit]:
    """Return edits, lists of edits flattened."""
    edits: list[Edit] = []
    for item in given:
        several = isinstance(item, (list, tuple, torch.nn.ModuleList))
        known = hasattr(item, "writes") or hasattr(item, "applied")  # of activity, of weights
        if not several and not known:
            raise NisslError(
                f"{item!r:.60} is no edit", do="make one: ablate(...), scale(...), patch(...), ..."
            )
        edits += as_edits(item) if several else [item]
    return edits
