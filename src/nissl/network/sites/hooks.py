"""Visitors at sites for the length of a ``with`` block, and the proof that each was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nissl.errors import NisslError
from nissl.network.sites.layout import following_axes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle
    from nissl.network.sites.site import Site

__all__ = ["Fired", "visiting"]


@dataclass
class Fired:
    """How often each site was computed while it was visited."""

    calls: dict[str, int] = field(default_factory=dict)

    def require(self, *, why: str) -> None:
        """Raise where a site was never computed.

        Parameters
        ----------
        why : str
            What was to be done there: "recorded", "edited".

        Raises
        ------
        NisslError
            Names the sites, and why that can be.
        """
        silent = [name for name, calls in self.calls.items() if not calls]
        if silent:
            some = ", ".join(silent[:3]) + (
                f" and {len(silent) - 3} more" if len(silent) > 3 else ""
            )
            raise NisslError(
                f"{len(silent)} of {len(self.calls)} sites never fired, so nothing was {why} there",
                where=some,
                do="the module is not called in this pass: a compiled model keeps no hooks (give "
                "the model from before torch.compile), and a fused one (MultiheadAttention) "
                "computes its parts without calling them (name the fused module instead)",
            )


@contextmanager
def visiting(
    model: nn.Module,
    visits: Iterable[tuple[Site, Callable[[Site, Tensor], Tensor]]],
    *,
    batch: Callable[[], Batch | None],
) -> Iterator[Fired]:
    """Call visitors whenever their sites are computed inside the block.

    Parameters
    ----------
    model : nn.Module
        The model.
    visits : iterable of (Site, callable)
        ``visit(site, x)`` with x of shape (batch, place..., unit) returns x, or what replaces it.
    batch : callable
        Gives the batch of the call under way.

    Yields
    ------
    Fired
        Counts the calls of each site.

    Raises
    ------
    NisslError
        A site is not in the model.
    """
    fired = Fired()
    handles: list[Handle] = []
    layouts = []
    try:
        for site, visit in visits:
            fired.calls.setdefault(site.name, 0)
            handles += site.hook_point.attach(model, _counted(site, visit, fired), batch)
            if hasattr(site.hook_point, "layout"):
                layouts.append(site.hook_point.layout(model))
        with following_axes(model, layouts):
            yield fired
    finally:
        for handle in reversed(handles):
            handle.remove()


def _counted(
    site: Site, visit: Callable[[Site, Tensor], Tensor], fired: Fired
) -> Callable[[Tensor], Tensor]:
    def visitor(x: Tensor) -> Tensor:
        fired.calls[site.name] += 1
        return visit(site, x)

    return visitor
