"""Skipping layers token by token: those that are voids of it, or as many at random."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError, require_known
from nissl.methods import method
from nissl.network.edits.skip_rules import Counted, Random, Rule, Voids, one_call

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch

__all__ = ["SkipLayers", "skip_random", "skip_voids"]

PHASES = ("prompt", "response")


@method(system=103)
def skip_voids(
    *, alpha: float = 0.8, phases: Sequence[str] = PHASES, stream: str = "skipped"
) -> SkipLayers:
    """Skip, for each token, the layers that are voids of it.

    Parameters
    ----------
    alpha : float
        A layer is a void of a token where it changes the norm of the stream by less than this share
        of the range of the changes that earlier layers made to the token's.
    phases : sequence of {"prompt", "response"}
        Of which tokens.
    stream : {"skipped", "whole"}
        What a layer reads. With "skipped" what earlier layers left, the voids among them skipped.
        With "whole" what they would have left had none been skipped; only what leaves the last
        layer is changed, to what the token's last activated layer left.

    Returns
    -------
    SkipLayers
        An edit for ``net.edit``; afterwards its `usage` says which layers were used.

    Raises
    ------
    NisslError
        `alpha` is negative.
    UnknownName
        A phase or stream is not known.

    Notes
    -----
    A token that skips a layer still has keys and values there, made from what it would have read,
    so that later tokens can attend to it. The time is not saved: layers are computed and dropped.

    Source: Shemiranifar 2025. Its text speaks of skipping; its code does what "whole" does, which
    is to leave the network early.

    Examples
    --------
    >>> with net.edit(skip_voids(alpha=0.1)):  # doctest: +SKIP
    ...     net.generate("The capital of France is")
    """
    if not alpha >= 0:
        raise NisslError(f"alpha={alpha} is no share", do="give alpha=0 or more")
    return SkipLayers(Voids(alpha), phases, stream)


def skip_random(like: SkipLayers, *, match: str = "number", seed: int = 0) -> SkipLayers:
    """Skip, for each token, as many random layers as an edit that has run skipped.

    The null of `skip_voids`. What is drawn comes from the tokens that the edit met at the same
    position and phase (the nearest position, where it met none).

    Parameters
    ----------
    like : SkipLayers
        Has run in a ``with`` block.
    match : {"number", "layers"}
        With "number" one of those tokens tells how many layers are skipped, and chance which. With
        "layers" it tells which: the layers are skipped as often as they were, by other tokens.
    seed : int
        The seed. What is drawn depends on it, the item and the position alone.

    Returns
    -------
    SkipLayers
        An edit for ``net.edit``, of the same phases and stream.

    Raises
    ------
    NisslError
        The edit has not run.
    UnknownName
        `match` is not known.

    Examples
    --------
    >>> with net.edit(skip_random(edit)):  # doctest: +SKIP
    ...     net.generate("The capital of France is")
    """
    require_known("match", match, ("number", "layers"))
    if not like.skipped:
        raise NisslError(
            "the edit has skipped nothing yet, so how many is not known",
            where=repr(like),
            do="run the network under it first: with net.edit(edit): ...",
        )
    return SkipLayers(Random(like.skipped, match, seed), like.phases, like.stream)


class SkipLayers:
    """An edit by which tokens skip layers by a rule: see `skip_voids` and `skip_random`.

    Where prompts share their beginning, its tokens may be read, and counted, once for all.
    """

    tokenwise = True

    def __init__(self, rule: Rule, phases: Sequence[str] = PHASES, stream: str = "skipped") -> None:
        for phase in phases:
            require_known("phase", phase, PHASES)
        require_known("stream", stream, ("skipped", "whole"))
        self.rule, self.phases, self.stream = rule, tuple(phases), stream
        self.reads: tuple[str, ...] = ("blocks.0.resid_pre",)
        self.writes: tuple[str, ...] = ("resid_post",)
        # What every call skipped, shared with the copies that are bound.
        self.skipped: list[Counted] = []
        self.lengths: Tensor | None = None
        self.left: Any = None  # what leaves the layers so far, shape (batch, position, unit)
        self.size: Any = None  # norm of what the next layer reads, shape (batch, position)
        self.may: Any = None  # which tokens may skip
        self.call: Any = None  # which are of the response, and their positions
        self.chosen: Any = None  # which skip which layer, shape (batch, position, layer)

    def __repr__(self) -> str:
        return f"skip_layers({type(self.rule).__name__.lower()}, {self.stream})"

    def bind(self, net: BaseNetwork) -> SkipLayers:
        """Return another with its layers looked up in a network; what it skips is counted here."""
        bound = SkipLayers(copy.copy(self.rule), self.phases, self.stream)
        bound.writes = tuple(site.name for site in net.find("resid_post"))
        bound.skipped = self.skipped
        return bound

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: see `Edit`."""
        self.lengths = batch.prompt_lengths

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: str) -> Tensor | None:
        """Put what went into a layer in the place of what came out: see `Edit`."""
        wide = torch.promote_types(x.dtype, torch.float32)
        size = torch.linalg.vector_norm(x.detach(), dim=-1, dtype=wide)
        if site in self.reads:
            self._begin_call(x, size, positions)
            return None
        layer = self.writes.index(site)
        skips = self.rule(layer, size - self.size.to(size.device)) & self.may.to(size.device)
        self.chosen[..., layer] = skips
        left = torch.where(skips[..., None], self.left.to(x.device), x)
        self.left = left
        last = layer == len(self.writes) - 1
        if last:
            self._count()
        if self.stream == "whole":
            self.size = size
            return left if last else None
        self.size = torch.where(skips, self.size.to(size.device), size)
        return left

    def usage(self) -> pd.DataFrame:
        """Return how often each layer was used.

        Returns
        -------
        DataFrame, one row for each phase that came by and each layer
            ``phase``, ``layer``, ``used`` (the share of tokens that did not skip it), ``n_tokens``.

        Raises
        ------
        NisslError
            The edit has not run.
        """
        import pandas as pd

        if not self.skipped:
            raise NisslError("the edit has not run", do="with net.edit(edit): ...")
        response, _, skips = one_call(self.skipped)
        rows = []
        for phase, wanted in zip(PHASES, (False, True), strict=True):
            own = skips[response == wanted]
            rows += [
                (phase, layer, float(1 - share), len(own))
                for layer, share in enumerate(own.mean(axis=0) if len(own) else ())
            ]
        return pd.DataFrame(rows, columns=["phase", "layer", "used", "n_tokens"])

    def _begin_call(self, x: Tensor, size: Tensor, positions: Tensor | None) -> None:
        if positions is None or self.lengths is None:
            raise NisslError(
                "layers are skipped token by token, and the tokens have no positions here",
                do="give the network text or token ids",
            )
        response = positions >= self.lengths.to(positions.device)[:, None]
        wanted = [torch.tensor(phase in self.phases, device=x.device) for phase in PHASES]
        self.may = torch.where(response, wanted[1], wanted[0]) & (positions >= 0)
        self.left, self.size = x, size
        self.call = response, positions
        shape = (*positions.shape, len(self.writes))
        self.chosen = torch.zeros(shape, dtype=torch.bool, device=x.device)
        self.rule.begin(positions, response, len(self.writes))

    def _count(self) -> None:
        response, positions = self.call
        real = positions >= 0
        self.skipped.append(
            (
                response[real].cpu().numpy(),
                positions[real].cpu().numpy(),
                self.chosen[real].cpu().numpy(),
            )
        )
