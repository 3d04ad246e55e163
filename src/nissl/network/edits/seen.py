"""Seen: an edit that changes nothing and keeps what sites hold, in a run that is made anyway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["Seen"]


class Seen:
    """An edit that changes nothing and keeps what sites hold, edits before it included.

    Parameters
    ----------
    sites : iterable of str
        Full names of sites.
    graph : bool
        Keep the tensors themselves, with their graph; else copies without it.

    Attributes
    ----------
    values : dict of str to Tensor
        What each held in the last run.
    """

    writes: tuple[str, ...] = ()

    def __init__(self, sites: Iterable[str], *, graph: bool = False) -> None:
        self.reads, self.graph = tuple(dict.fromkeys(sites)), graph
        self.values: dict[str, Tensor] = {}

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: nothing to do."""

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> None:
        """Keep the site's tensor."""
        self.values[site] = x if self.graph else x.detach().clone()
