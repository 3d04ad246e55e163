"""Attend: an edit that lets heads attend to what they are told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from nissl.address import parse
from nissl.errors import NisslError, require_known

if TYPE_CHECKING:
    from nissl.network.edits.selection import UnitsLike
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["PATTERNS", "Attend", "attend"]

Pattern: TypeAlias = Callable[[Tensor], Tensor]
"""Given token ids, shape (batch, position), returns attention, shape (batch, query, key)."""


def attend(
    heads: UnitsLike,
    to: Literal["previous_token", "induction", "first", "self", "uniform"] | Pattern,
) -> Attend:
    """Let heads attend to what they are told to.

    Parameters
    ----------
    heads : Finding, address, or iterable of addresses
        Such as ``blocks.0.attn.z[head 1]``, or the best of `head_scores`.
    to : {"previous_token", "induction", "first", "self", "uniform"} or callable
        "induction": to what followed earlier occurrences of the token, alike, and to the first
        token where there are none. "uniform": to all tokens so far. A callable is given token ids,
        shape (batch, position), and returns attention, shape (batch, query, key).

    Returns
    -------
    Attend
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        These are no heads, or no token ids are given to the model.

    Notes
    -----
    Source: Singh et al. 2024, section 4.2. Positions are counted with padding, and each call reads
    whole sequences: it is not for ``generate`` with a cache.

    Examples
    --------
    >>> from nissl.network import Network
    >>> from nissl.training import small_language_model
    >>> net = Network(small_language_model(vocabulary=16, d_model=8, n_layers=1, n_heads=2))
    >>> with net.edit(attend("blocks.0.attn.z[head 1]", "previous_token")):
    ...     found = net.run([[5, 6, 7]], sites="blocks.0.attn.pattern")
    >>> found["blocks.0.attn.pattern"][0, 2, 1].tolist()
    [0.0, 1.0, 0.0]
    """
    named: Any = getattr(heads, "units", heads)
    by_site: dict[str, list[int]] = {}
    for text in [named] if isinstance(named, str) else named:
        address = parse(str(text))
        if address.head is None or address.target is not None:
            raise NisslError(f"'{text}' is not a head", do="write blocks.3.attn.z[head 5]")
        site = address.site.rpartition(".")[0] + ".pattern"
        by_site.setdefault(site, []).append(address.head)
    if not by_site:
        raise NisslError("no head was given", do="a Finding without rows names none")
    if isinstance(to, str):
        require_known("to", to, list(PATTERNS))
    return Attend(by_site, to)


class Attend:
    """An edit that writes attention patterns: see `attend`.

    Parameters
    ----------
    heads : dict of str to list of int
        Which heads of each site ``blocks.3.attn.pattern``.
    to : str or callable
        Their pattern.
    """

    reads: tuple[str, ...] = ()

    def __init__(self, heads: dict[str, list[int]], to: str | Pattern) -> None:
        self.heads, self.to = heads, to
        self.pattern: Tensor | None = None

    def __repr__(self) -> str:
        return f"attend({', '.join(self.heads)}, {self.to!r})"

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites it changes."""
        return tuple(self.heads)

    def bind(self, net: BaseNetwork) -> Attend:
        """Return another, that has met no prompt, with the sites' full names.

        Parameters
        ----------
        net : Network
            The network.

        Returns
        -------
        Attend
            The edit.

        Raises
        ------
        UnknownName
            There is no such site.
        """
        by_name = {s.name: heads for name, heads in self.heads.items() for s in net.find(name)}
        return Attend(by_name, self.to)

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: see `nissl.network.Edit`."""
        if batch.ids is None:
            raise NisslError("what heads attend to follows from token ids", do="give token ids")
        make = PATTERNS[self.to] if isinstance(self.to, str) else self.to
        self.pattern = make(batch.ids)

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor:
        """Return the pattern with that of the heads replaced: see `nissl.network.Edit`."""
        if self.pattern is None or self.pattern.shape != (len(x), x.shape[1], x.shape[-1]):
            made = None if self.pattern is None else tuple(self.pattern.shape)
            raise NisslError(
                f"attention of shape {made} is put at {(len(x), x.shape[1], x.shape[-1])}",
                where=site,
                do="give whole sequences, without a cache: (batch, query, key)",
            )
        heads = self.heads[site]
        if max(heads) >= x.shape[2]:
            raise NisslError(f"there is no head {max(heads)} of {x.shape[2]}", where=site)
        new = self.pattern.to(x)[:, :, None].expand(-1, -1, len(heads), -1)
        return x.index_copy(2, torch.tensor(heads, device=x.device), new)


def _fixed(key: Callable[[Tensor], Tensor]) -> Pattern:
    """Return a pattern that attends to one place, whatever the tokens are."""

    def pattern(ids: Tensor) -> Tensor:
        queries = torch.arange(ids.shape[1], device=ids.device)
        made = nn.functional.one_hot(key(queries), ids.shape[1]).float()
        return made.expand(len(ids), -1, -1)

    return pattern


def _uniform(ids: Tensor) -> Tensor:
    seen = torch.ones(ids.shape[1], ids.shape[1], device=ids.device).tril()
    return (seen / seen.sum(1, keepdim=True)).expand(len(ids), -1, -1)


def _induction(ids: Tensor) -> Tensor:
    before = nn.functional.pad(ids, (1, 0), value=-1)[:, :-1]
    matches = (ids[:, :, None] == before[:, None]).float().tril()
    none = matches.sum(-1) == 0
    matches[..., 0] = torch.where(none, 1.0, matches[..., 0])
    return matches / matches.sum(-1, keepdim=True)


PATTERNS: dict[str, Pattern] = {
    "previous_token": _fixed(lambda query: (query - 1).clamp_min(0)),
    "induction": _induction,
    "first": _fixed(torch.zeros_like),
    "self": _fixed(torch.clone),
    "uniform": _uniform,
}
