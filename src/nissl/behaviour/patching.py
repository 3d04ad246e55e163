"""Patching: one run of a behaviour, and the activity of another run that is put into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError, require_known
from nissl.network.gradients import gradients
from nissl.network.run.calls import call_model
from nissl.network.run.partial_logits import partial_logits
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from nissl.behaviour import Behaviour
    from nissl.network.gradients import Gradients
    from nissl.network.run.calls import Call
    from nissl.network.sites.site import Site

__all__ = ["HOW", "How", "Patching", "at_position", "patchings"]

TOKENS_PER_CALL = 2048
How = Literal["denoising", "noising", "zero", "mean", "resample"]
HOW = ("denoising", "noising", "zero", "mean", "resample")


class Patching:
    """One batch of a behaviour's pairs: the run that is changed, and what is put into it.

    Parameters
    ----------
    behaviour : Behaviour
        Its pairs have to align.
    how : {"denoising", "noising", "zero", "mean", "resample"}
        "denoising" puts clean activity into the corrupted run; "noising" corrupted activity into
        the clean run; the others put into the clean run zeros, the mean over all tokens of both
        prompts of all pairs, or activity in the corrupted prompt of another pair as long.
    rows : slice
        Which pairs.
    seed : int
        Of "resample".

    Attributes
    ----------
    call : Call
        The run that is changed.
    sign : int
        1 where the change restores the behaviour, -1 where it takes it away: what a change of the
        metric is multiplied by, so that whatever supports the behaviour has a positive effect.

    Examples
    --------
    >>> from nissl.behaviour import Behaviour
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Linear(2, 2))
    >>> pairs = Behaviour(net, torch.ones(3, 2), torch.zeros(3, 2), right=[0] * 3, wrong=[1] * 3)
    >>> patching = Patching(pairs, "noising")
    >>> patching.changes(":in")[":in"].tolist()
    [[-1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]]
    """

    def __init__(
        self,
        behaviour: Behaviour,
        how: How = "noising",
        *,
        rows: slice = slice(None),
        seed: int = 0,
        means: dict[str, Tensor] | None = None,
    ) -> None:
        require_known("patching", how, HOW)
        self.behaviour, self.net, self.how, self.rows = behaviour, behaviour.net, how, rows
        self.seed = seed
        self._means: dict[str, Tensor] = {} if means is None else means
        self.sign = 1 if how == "denoising" else -1
        ids = behaviour.corrupted_ids if how == "denoising" else behaviour.clean_ids
        self.call: Call = behaviour.call(ids[rows])

    def require_pairs(self) -> None:
        """Refuse before long work pairs that have no effects.

        Raises
        ------
        NisslError
            Prompts of a pair have different lengths, or the metric is the same for both.
        """
        clean, corrupted = self.behaviour.clean_ids, self.behaviour.corrupted_ids
        for number, (a, b) in enumerate(zip(clean, corrupted, strict=True)):
            if self.behaviour.sequences and len(a) != len(b):
                raise NisslError(
                    f"the clean input has {len(a)} tokens, the corrupted one {len(b)}",
                    where=f"pair {number}",
                    do="choose words of as many tokens: positions are to correspond",
                )
        same = self.behaviour.clean_value == self.behaviour.corrupted_value
        if self.how in ("denoising", "noising") and bool(same.all()):
            raise NisslError(
                "the metric is the same for the clean and the corrupted input of every pair",
                do="choose inputs that the network answers differently, or another metric",
            )

    @property
    def value(self) -> Tensor:
        """The metric of the run that is changed, shape (batch,)."""
        values = self.behaviour.clean_value
        if self.how == "denoising":
            values = self.behaviour.corrupted_value
        return values[self.rows]

    @cached_property
    def lengths(self) -> list[int]:
        """How many tokens each input has; of inputs that are no sequences, none."""
        ids = self.behaviour.clean_ids[self.rows]
        return [len(row) for row in ids] if self.behaviour.sequences else []

    def copies_per_call(self, n_positions: int | None = None) -> int:
        """Return how many copies of the batch one call is given.

        Parameters
        ----------
        n_positions : int, optional
            How many positions are run; by default all.

        Returns
        -------
        int
            At least one.
        """
        longest = max(self.lengths, default=1) if n_positions is None else n_positions
        return max(1, TOKENS_PER_CALL // (len(self.value) * longest))

    def metric(self, output: Any) -> Tensor:
        """Measure what the model returned: the metric of each pair.

        Parameters
        ----------
        output : Tensor or output of the model
            Its logits, or all of it.

        Returns
        -------
        Tensor, shape (batch,)
            With its graph.
        """
        return self.behaviour.score(output, rows=self.rows)

    def run(self, *, copies: int = 1, call: Call | None = None) -> list[Any]:
        """Run what is changed, with the edits in force.

        Parameters
        ----------
        copies : int
            How many copies of the batch the edits in force make.
        call : Call, optional
            What is left to be run of it.

        Returns
        -------
        list
            What the model returned of each copy, as far as `metric` reads it: logits of other
            tokens or positions may be left out, or be no numbers.
        """
        with torch.no_grad(), self._read(call or self.call) as call:
            output = call_model(self.net, call)
        if isinstance(output, Tensor):
            return list(output.chunk(copies))
        name = "logits" if isinstance(getattr(output, "logits", None), Tensor) else None
        name = name or "last_hidden_state"
        return [SimpleNamespace(**{name: part}) for part in getattr(output, name).chunk(copies)]

    def each(self, edits: Iterable[Any]) -> Iterator[Tensor]:
        """Measure the run that is changed under each of several edits, many in one call.

        Parameters
        ----------
        edits : iterable of Edit or None
            What is in force, one at a time.

        Yields
        ------
        Tensor, shape (batch,)
            The metric of each pair.
        """
        left = iter(edits)
        while some := list(islice(left, self.copies_per_call())):
            with self.net.edit_batch(some):
                outputs = self.run(copies=len(some))
            yield from map(self.metric, outputs)

    def total(self, output: Any) -> Tensor:
        """Return the sum of `metric` over the pairs: what ``gradients`` differentiates.

        Parameters
        ----------
        output : Tensor or output of the model
            As of `metric`.

        Returns
        -------
        Tensor, shape ()
            With its graph.

        Raises
        ------
        NisslError
            The metric has none.
        """
        total = self.metric(output).sum()
        if torch.is_grad_enabled() and not total.requires_grad:
            raise NisslError(
                "the metric has no gradient",
                do="give a metric of torch's operations on the logits, or method='exact'",
            )
        return total

    def gradients(self, sites: str | Iterable[str]) -> Gradients:
        """Return gradients of `total` at sites, in the run that is changed: see ``gradients``."""
        with self._read(self.call, self.net.find(sites)) as call:
            return gradients(self.net, call, sites=sites, metric=self.total)

    def _read(self, call: Call, sites: Iterable[Site] = ()) -> AbstractContextManager[Call]:
        """Compute inside the block what the metric reads of logits, and no more."""
        if not self.lengths:
            return nullcontext(call)
        last = max(self.lengths) - min(self.lengths) + 1
        tokens = self.behaviour.tokens_read(self.rows)
        return partial_logits(self.net, call, last=last, tokens=tokens, sites=sites)

    def base(self, sites: str | Iterable[str]) -> dict[str, Tensor]:
        """Return activity in the run that is changed, by site."""
        return self.net.run(self.call, sites=sites)

    def given(self, sites: str | Iterable[str]) -> dict[str, Tensor]:
        """Return what is put in, by site, each shape (batch, place..., unit)."""
        if self.other is not None:
            return self.net.run(self.other, sites=sites)
        base = self.base(sites)
        if self.how == "zero":
            return {name: torch.zeros_like(x) for name, x in base.items()}
        means = self._mean(list(base))
        return {name: means[name].expand_as(x) for name, x in base.items()}

    def changes(
        self,
        sites: str | Iterable[str],
        *,
        base: Mapping[str, Tensor] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return by how much activity changes, by site; zero at padding.

        Parameters
        ----------
        sites : str or iterable of str
            Where.
        base, given : mapping of site to Tensor, optional
            Activity in the run that is changed, and what is put in, where they are known.

        Returns
        -------
        dict of str to Tensor, each shape (batch, place..., unit)
            What is put in less what was there.
        """
        base = self.base(sites) if base is None else base
        given = self.given(sites) if given is None else given
        mask = self.call.mask
        changes = {name: (given[name] - x).nan_to_num_() for name, x in base.items()}
        for x in changes.values():
            if mask is not None and x.shape[1] == mask.shape[1]:
                x.masked_fill_(~mask[..., None], 0.0)
        return changes

    @property
    def other(self) -> Call | None:
        """The run whose activity is put in; None where it is zeros or means."""
        clean, corrupted = self.behaviour.clean_ids, self.behaviour.corrupted_ids
        if self.how in ("zero", "mean"):
            return None
        if self.how == "resample":
            return self.behaviour.call([corrupted[i] for i in self._others()])
        return self.behaviour.call((clean if self.how == "denoising" else corrupted)[self.rows])

    def _others(self) -> list[int]:
        """Return for each pair another one, whose prompt is as long."""
        ids = self.behaviour.corrupted_ids
        lengths = np.asarray([len(row) for row in ids])
        rng = np.random.default_rng(self.seed)
        other = np.arange(len(ids))
        for length in np.unique(lengths):
            group = rng.permutation(np.flatnonzero(lengths == length))
            if len(group) < 2:
                raise NisslError(
                    f"one pair alone has {length} tokens, so there is none to resample from",
                    do="use patching='noising', or pairs of equal length",
                )
            other[group] = np.roll(group, 1)
        return [int(i) for i in other[self.rows]]

    def _mean(self, names: list[str]) -> Mapping[str, Tensor]:
        """Return the mean of sites over real tokens of both prompts of all pairs."""
        wanted = [name for name in names if name not in self._means]
        if wanted:
            total = dict.fromkeys(wanted, torch.zeros((), dtype=torch.float64))
            count = dict.fromkeys(wanted, 0)
            every = [*self.behaviour.clean_ids, *self.behaviour.corrupted_ids]
            size = max(1, len(self.behaviour.clean_ids[self.rows]))
            for start in range(0, len(every), size):
                call = self.behaviour.call(every[start : start + size])
                for name, x in self.net.run(call, sites=wanted).items():
                    flat = x.flatten(0, -2) if call.mask is None else x[call.mask]
                    total[name] = total[name] + flat.double().sum(0).cpu()
                    count[name] += len(flat)
            self._means |= {
                name: (x / count[name]).to(self.net.device, self.net.dtype)
                for name, x in total.items()
            }
        return self._means


def patchings(
    behaviour: Behaviour,
    how: How = "noising",
    *,
    seed: int = 0,
    batch_size: int = 32,
    title: str = "Patching",
    progress: bool = True,
) -> Iterator[Patching]:
    """Yield the pairs of a behaviour, some at a time.

    Parameters
    ----------
    behaviour, how, seed
        As in `Patching`.
    batch_size : int
        Pairs of each.
    title : str
        What the bar says.
    progress : bool
        Show it.

    Yields
    ------
    Patching
        Of pairs that have been checked.
    """
    Patching(behaviour, how, rows=slice(1)).require_pairs()
    means: dict[str, Tensor] = {}
    with progress_bar(title, total=len(behaviour), unit="pairs", progress=progress) as advance:
        for start in range(0, len(behaviour), batch_size):
            rows = slice(start, start + batch_size)
            one = Patching(behaviour, how, rows=rows, seed=seed, means=means)
            yield one
            advance(len(one.value))


def at_position(x: Tensor, position: int, lengths: list[int]) -> Tensor:
    """Return what lies at one position of each input.

    Parameters
    ----------
    x : Tensor, shape (batch, position, unit)
        Inputs padded on the right.
    position : int
        Counted from the end of each input where negative.
    lengths : list of int
        How many tokens each has.

    Returns
    -------
    Tensor, shape (batch, unit)
        The values.

    Raises
    ------
    NisslError
        An input has no such position.
    """
    places = [position + n if position < 0 else position for n in lengths]
    if not places or not all(0 <= p < n for p, n in zip(places, lengths, strict=True)):
        raise NisslError(
            f"inputs of {min(lengths, default=0)} tokens have none at position {position}"
        )
    return x[torch.arange(len(x)), torch.tensor(places)]
