"""Gate: an edit that acts only where a condition on another site holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.edit import Edit, EditsLike, as_edits

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["ActivityAbove", "Gate", "gate"]


def gate(
    edits: EditsLike,
    *,
    reads: str,
    when: Callable[[Tensor], Tensor],
    over: Literal["position", "prompt"] = "position",
) -> Gate:
    """Apply an edit only where a condition on a site holds.

    Parameters
    ----------
    edits : Edit, LearnedEdit, or sequence of them
        What is applied.
    reads : str
        The site whose activity decides; it is computed before those that are written, or is one.
    when : callable
        Given that site's activity, shape (batch, place..., unit), returns booleans of shape
        (batch, place...), or (batch,) for whole items. `ActivityAbove` can be saved.
    over : {"position", "prompt"}
        With "position" the condition is asked in every call and decides place by place. With
        "prompt" it is asked of the prompt alone: where it holds at any of an item's tokens, the
        edit acts on that item, and goes on while decoding.

    Returns
    -------
    Gate
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        Inside the block: the site that is read is computed after one that is written.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network, ablate
    >>> net = Network(nn.Sequential(nn.Identity(), nn.Identity()))
    >>> edit = gate(ablate(sites="1"), reads="0", when=lambda x: x[:, 0] > 0)
    >>> with net.edit(edit):
    ...     net.model(torch.tensor([[1.0, 2.0], [-1.0, 2.0]])).tolist()
    [[0.0, 0.0], [-1.0, 2.0]]
    """
    if over not in ("position", "prompt"):
        raise NisslError(f"over is 'position' or 'prompt', not {over!r}")
    return Gate(as_edits([edits]), reads, when, over)


@dataclass(frozen=True)
class ActivityAbove:
    """A condition of a gate: a unit, or activity along a direction, is above a threshold.

    Parameters
    ----------
    threshold : float
        Above which the gate is open.
    unit : int, optional
        Which unit of the site.
    direction : Tensor, shape (n_units,), optional
        What the site's activity is multiplied by instead, and summed.

    Raises
    ------
    NisslError
        Neither or both of unit and direction are given.

    Examples
    --------
    >>> ActivityAbove(0.5, unit=1)(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [True, False]
    """

    threshold: float
    unit: int | None = None
    direction: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.unit is None) == (self.direction is None):
            raise NisslError("a condition is given either a unit or a direction")

    def __call__(self, x: Tensor) -> Tensor:
        """Return where it holds, shape (batch, place...)."""
        if self.direction is None:
            return x[..., self.unit] > self.threshold
        return x @ self.direction.to(x) > self.threshold


class Gate:
    """An edit that applies others where a condition holds: see `gate`.

    Parameters
    ----------
    edits : list of Edit
        What is applied.
    read : str
        The site whose activity decides.
    when : callable
        The condition.
    over : {"position", "prompt"}
        Of what it is asked.
    """

    def __init__(
        self, edits: list[Edit], read: str, when: Callable[[Tensor], Tensor], over: str
    ) -> None:
        self.edits, self.read, self.when, self.over = edits, read, when, over
        # Full names of the sites that each edit reads and writes.
        self.sites: list[tuple[set[str], set[str]]] = []
        self.lengths: Tensor | None = None
        self.open: Tensor | None = None
        self.asked = False

    def __repr__(self) -> str:
        return f"gate({', '.join(map(repr, self.edits))} where {self.read})"

    @property
    def reads(self) -> tuple[str, ...]:
        """The site that decides, and those that the edits read."""
        return (self.read, *(name for edit in self.edits for name in edit.reads))

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites that the edits change."""
        return tuple(name for edit in self.edits for name in edit.writes)

    @property
    def parts(self) -> list[Edit]:
        """The edits that it applies."""
        return self.edits

    def bind(self, net: BaseNetwork) -> Gate:
        """Return the gate and its edits with their sites looked up in a network.

        Parameters
        ----------
        net : Network
            The network.

        Returns
        -------
        Gate
            Another, that has met no prompt.

        Raises
        ------
        NisslError
            Several sites would decide.
        """
        found = net.find(self.read)
        if len(found) > 1:
            raise NisslError(
                f"{len(found)} sites would decide", where=self.read, do="name one, with its block"
            )
        edits: list[Any] = [e.bind(net) if hasattr(e, "bind") else e for e in self.edits]
        bound = Gate(edits, found[0].name, self.when, self.over)
        for edit in edits:  # a site may go by a short name
            names = [[s.name for s in net.find(n)] if n else [] for n in (edit.reads, edit.writes)]
            bound.sites.append((set(names[0]), set(names[1])))
        return bound

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: see `Edit`."""
        self.lengths, self.open, self.asked = batch.prompt_lengths, None, False
        for edit in self.edits:
            edit.begin(batch)

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor | None:
        """Ask the condition, or apply the edits where it holds: see `Edit`."""
        if site == self.read and not (self.over == "prompt" and self.asked):
            self.open = self._ask(x, positions, site)
            self.asked = True
        new = x
        for edit, (read, written) in zip(self.edits, self.sites, strict=True):
            if site in written or site in read:
                changed = edit.apply(site, new, positions, phase)
                new = new if changed is None or site not in written else changed
        if new is x:
            return None
        if self.open is None:
            raise NisslError(
                "the site that a gate reads is computed after the one that it changes",
                where=f"reads {self.read}, writes {site}",
                do="read an earlier site",
            )
        return torch.where(_fitted(self.open, x, site), new, x)

    def _ask(self, x: Tensor, positions: Tensor | None, site: str) -> Tensor:
        holds = self.when(x.detach()).bool()
        if holds.shape not in (x.shape[:1], x.shape[:-1]):
            raise NisslError(
                f"the condition has shape {tuple(holds.shape)}",
                where=site,
                do=f"return {tuple(x.shape[:-1])}, or {tuple(x.shape[:1])} for whole items",
            )
        if self.over == "position" or holds.ndim == 1:
            return holds
        if positions is not None and self.lengths is not None:
            prompt = (positions >= 0) & (positions < self.lengths.to(positions.device)[:, None])
            holds = holds & prompt.reshape(*prompt.shape, *[1] * (holds.ndim - prompt.ndim))
        return holds.flatten(1).any(1)


def _fitted(holds: Tensor, x: Tensor, site: str) -> Tensor:
    """Return where the gate is open, to be broadcast to a site's tensor."""
    holds = holds.to(x.device)
    if holds.ndim == 1:
        return holds.reshape(-1, *[1] * (x.ndim - 1))
    if x.ndim > 2 and holds.shape[1] > x.shape[1]:
        holds = holds[:, -x.shape[1] :]  # the last logits alone
    if holds.shape != x.shape[:-1]:
        raise NisslError(
            f"a condition of shape {tuple(holds.shape)} does not fit {tuple(x.shape[:-1])}",
            where=site,
            do="decide for whole items, or at a site of the same places",
        )
    return holds[..., None]
