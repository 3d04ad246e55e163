"""Visitors at sites for the length of a ``with`` block, and the proof that each was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError
from nissl.network.sites.layout import following_axes
from nissl.network.sites.shared import Caller, paths_of

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
    shared: dict[str, list[str]] = field(default_factory=dict)

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
            also = [path for name in silent for path in self.shared.get(name, ())]
            if also:
                raise NisslError(
                    f"nothing was {why} at a module that is called from elsewhere alone",
                    where=some,
                    do=f"it is also {', '.join(also[:4])}: name one of these",
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
            path = site.hook_point.path
            several = paths_of(model, path) if path else []
            caller = Caller(model, path, several) if several else None
            if caller is not None:
                handles += caller.handles
                fired.shared[site.name] = [p for p in several if p != path]
            counted = _counted(site, visit, fired, caller)
            handles += site.hook_point.attach(model, counted, batch)
            point: Any = site.hook_point
            if getattr(point, "axis", 0) is None:
                layouts.append(point.layout(model))
        with following_axes(model, layouts):
            yield fired
    finally:
        for handle in reversed(handles):
            handle.remove()


def _counted(
    site: Site,
    visit: Callable[[Site, Tensor], Tensor],
    fired: Fired,
    caller: Caller | None,
) -> Callable[[Tensor], Tensor]:
    def visitor(x: Tensor) -> Tensor:
        if caller is not None and not caller.calls_here:
            return x
        fired.calls[site.name] += 1
        return visit(site, x)

    return visitor
